import slotOf from "cluster-key-slot";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { Followers } from "../listening/followers.ts";
import { duplicate, exec, IoredisDriver, listenOn } from "./client.ts";
import type { IoredisClient, IoredisCommands, Own } from "./client.ts";
import { untilAccepted } from "../redirects.ts";

/** What is used of an ioredis Cluster (5 or 6). It redirects, and finds out who keeps what, by itself. */
export interface IoredisCluster extends IoredisCommands {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options: object;
  /** By slot: the addresses of its servers, the primary first. */
  readonly slots: readonly (readonly string[] | undefined)[];
  nodes(role: "all" | "master"): IoredisClient[];
  duplicate(startupNodes: [], override: object): IoredisCluster;
  disconnect(): void;
  pipeline(commands: string[][]): { exec(): Promise<[Error | null, unknown][] | null> };
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

export function isIoredisCluster(client: object): client is IoredisCluster {
  const seen = client as Partial<IoredisCluster>;
  return seen.isCluster === true && typeof seen.call === "function" && typeof seen.nodes === "function";
}

export class IoredisClusterDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = true;
  readonly keyPrefix: string;
  readonly #owned: boolean;
  readonly #cluster: IoredisCluster;
  readonly #channels: Followers;
  /** Connections whose losses are counted. */
  readonly #watched = new Set<IoredisClient>();
  drops = 0;
  complaint: unknown;

  readonly #onClose = (): void => {
    this.drops++;
  };
  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
  };
  readonly #onNode = (node: unknown): void => {
    this.#watched.add(node as IoredisClient);
    (node as IoredisClient).on("close", this.#onClose);
  };
  readonly #onNodeGone = (node: unknown): void => {
    this.#watched.delete(node as IoredisClient);
    (node as IoredisClient).off("close", this.#onClose);
  };

  constructor(cluster: IoredisCluster, { owned = false, keyPrefix = "" }: Own = {}) {
    this.#cluster = cluster;
    this.#owned = owned;
    this.keyPrefix = keyPrefix;
    for (const node of cluster.nodes("all")) this.#onNode(node);
    cluster.on("+node", this.#onNode);
    cluster.on("-node", this.#onNodeGone);
    cluster.on("error", this.#onError);
    cluster.on("node error", this.#onError);
    cluster.on("ready", this.#onReady);
    this.#channels = new Followers(
      {
        ownerOf: (channel) => this.ownerOf(channel),
        refresh: (channel) => this.send(["EXISTS", channel], channel),
        listenOn: async (server, events) => listenOn(this.#nodeAt(server), events),
      },
      { sharded: true },
    );
  }

  send([command = "", ...args]: readonly string[], _key?: string): Promise<unknown> {
    return this.#cluster.call(command, args);
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const send = async (): Promise<unknown[]> => {
      const { drops } = this;
      const calls = commands.map(([name = "", ...args]) => ["call", name, ...args]);
      const replies = await this.#cluster.pipeline(calls).exec();
      if (!replies || drops !== this.drops) throw new Error("Connection was lost between two commands");
      return replies.map(([error, value]) => error ?? value);
    };
    return untilAccepted(send, () => this.send(["EXISTS", key], key));
  }

  together(run: () => void): void {
    const streams = this.#cluster.nodes("master").map(({ stream }) => stream);
    for (const stream of streams) stream?.cork?.();
    try {
      run();
    } finally {
      for (const stream of streams) stream?.uncork?.();
    }
  }

  transaction(commands: readonly (readonly string[])[], _key?: string): Promise<unknown[] | null> {
    return exec(this.#cluster, commands);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(key: string): Promise<Driver> {
    const connection = duplicate(this.#nodeAt(this.ownerOf(key)));
    await connection.connect();
    return new IoredisDriver(connection, { owned: true });
  }

  ownerOf(key: string): string {
    return this.#cluster.slots[slotOf(key)]?.[0] ?? "";
  }

  servers(): Promise<readonly Send[]> {
    const primaries = this.#cluster.nodes("master");
    if (primaries.length === 0)
      return Promise.reject(new Error("Connection is closed: no server of the cluster is known."));
    return Promise.resolve(
      primaries.map(
        (node) =>
          ([command = "", ...args]) =>
            node.call(command, args),
      ),
    );
  }

  close(): void {
    for (const node of this.#watched) node.off("close", this.#onClose);
    this.#cluster.off("+node", this.#onNode);
    this.#cluster.off("-node", this.#onNodeGone);
    this.#cluster.off("error", this.#onError);
    this.#cluster.off("node error", this.#onError);
    this.#cluster.off("ready", this.#onReady);
    if (this.#owned) this.#cluster.disconnect();
  }

  #nodeAt(server: string): IoredisClient {
    const found = this.#cluster.nodes("all").find((node) => {
      const { host, port } = node.options as { readonly host?: string; readonly port?: number };
      return `${host}:${port}` === server;
    });
    if (!found) throw new Error(`The cluster has no server at ${server || "an unknown address"}.`);
    return found;
  }
}
