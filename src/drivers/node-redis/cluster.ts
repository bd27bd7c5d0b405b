import slotOf from "cluster-key-slot";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { Followers } from "../listening/followers.ts";
import { duplicate, listenOn, NodeRedisDriver, sendInOrder, transact } from "./client.ts";
import type { NodeRedisClient } from "./client.ts";
import { untilAccepted, untilSettled } from "../redirects.ts";

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

  send(command: readonly string[], key?: string): Promise<unknown> {
    return untilSettled(() => this.#cluster.sendCommand(key, false, command as string[]));
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const send = async (): Promise<unknown[]> => {
      const { drops } = this;
      const replies = await sendInOrder(await this.#clientAt(this.ownerOf(key)), commands);
      if (drops !== this.drops) throw new Error("Connection was lost between two commands");
      return replies;
    };
    return untilAccepted(send, () => this.send(["EXISTS", key], key));
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
