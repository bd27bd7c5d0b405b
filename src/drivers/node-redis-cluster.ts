import { setTimeout as sleep } from "node:timers/promises";
import slotOf from "cluster-key-slot";
import { messageOf } from "../driver.ts";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { Followers } from "./followers.ts";
import { duplicate, listenOn, NodeRedisDriver, sendInOrder, transact } from "./node-redis.ts";
import type { NodeRedisClient } from "./node-redis.ts";

/** What is used of a node-redis cluster client (package `redis`, 5 or 6). It follows MOVED and ASK by itself. */
export interface NodeRedisCluster {
  readonly isOpen: boolean;
  readonly slots: readonly ({ readonly master: ClusterNode } | undefined)[];
  readonly masters: readonly ClusterNode[];
  readonly nodeByAddress: ReadonlyMap<string, unknown>;
  nodeClient(node: ClusterNode): Promise<NodeRedisClient>;
  sendCommand(key: string | undefined, isReadonly: boolean, args: string[]): Promise<unknown>;
  multi(key?: string): {
    addCommand(key: string | undefined, isReadonly: boolean, args: string[]): unknown;
    exec(): Promise<unknown>;
  };
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

interface ClusterNode {
  readonly address: string;
}

export function isNodeRedisCluster(client: object): client is NodeRedisCluster {
  const seen = client as Partial<NodeRedisCluster>;
  return (
    typeof seen.sendCommand === "function" &&
    typeof seen.nodeClient === "function" &&
    Array.isArray(seen.slots) &&
    Array.isArray(seen.masters)
  );
}

/** What was refused for a moment, and so was not done, is sent again so often; as ioredis does it. */
const MOST_ATTEMPTS = 16;
const PAUSE = 100;

export class NodeRedisClusterDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = true;
  readonly keyPrefix: string;
  readonly #cluster: NodeRedisCluster;
  readonly #channels: Followers;
  drops = 0;
  complaint: unknown;

  readonly #onDrop = (): void => {
    this.drops++;
  };
  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
  };

  constructor(cluster: NodeRedisCluster, keyPrefix: string) {
    this.#cluster = cluster;
    this.keyPrefix = keyPrefix;
    cluster.on("node-reconnecting", this.#onDrop);
    cluster.on("node-disconnect", this.#onDrop);
    cluster.on("node-error", this.#onError);
    cluster.on("error", this.#onError);
    cluster.on("node-ready", this.#onReady);
    this.#channels = new Followers(
      {
        ownerOf: (channel) => this.ownerOf(channel),
        refresh: (channel) => this.send(["EXISTS", channel], channel),
        listenOn: async (server, events) => listenOn(await this.#clientAt(server), events),
      },
      { sharded: true },
    );
  }

  async send(command: readonly string[], key?: string): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#cluster.sendCommand(key, false, command as string[]);
      } catch (error) {
        if (attempt === MOST_ATTEMPTS || !/^(TRYAGAIN|CLUSTERDOWN)\b/.test(messageOf(error))) throw error;
        await sleep(PAUSE, undefined, { ref: false });
      }
    }
  }

  /** On the client of one server, which does not redirect: where it must, the cluster does so, and it is tried again. */
  async inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    for (let attempt = 1; ; attempt++) {
      const { drops } = this;
      const client = await this.#clientAt(this.ownerOf(key));
      const replies = await sendInOrder(client, commands);
      if (drops !== this.drops) throw new Error("Connection was lost between two commands");
      const refusal = replies.find((reply) => /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(messageOf(reply)));
      if (!refusal || attempt === MOST_ATTEMPTS) return replies;
      await this.send(["EXISTS", key], key);
    }
  }

  together(run: () => void): void {
    run();
  }

  transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null> {
    const multi = this.#cluster.multi(key);
    for (const command of commands) multi.addCommand(key, false, [...command]);
    return transact(multi);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(key: string): Promise<Driver> {
    const connection = duplicate(await this.#clientAt(this.ownerOf(key)), false);
    await connection.connect();
    connection.unref();
    return new NodeRedisDriver(connection, { owned: true });
  }

  ownerOf(key: string): string {
    return this.#cluster.slots[slotOf(key)]?.master.address ?? "";
  }

  async servers(): Promise<readonly Send[]> {
    const clients = await Promise.all(this.#cluster.masters.map((node) => this.#cluster.nodeClient(node)));
    if (clients.length === 0) throw new Error("The client is closed: no server of the cluster is known.");
    return clients.map((client) => (command) => client.sendCommand(command as string[]));
  }

  close(): void {
    this.#cluster.off("node-reconnecting", this.#onDrop);
    this.#cluster.off("node-disconnect", this.#onDrop);
    this.#cluster.off("node-error", this.#onError);
    this.#cluster.off("error", this.#onError);
    this.#cluster.off("node-ready", this.#onReady);
  }

  async #clientAt(server: string): Promise<NodeRedisClient> {
    const node = this.#cluster.masters.find(({ address }) => address === server);
    if (!node) throw new Error(`The cluster has no server at ${server || "an unknown address"}.`);
    return this.#cluster.nodeClient(node);
  }
}
