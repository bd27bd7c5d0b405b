import slotOf from "cluster-key-slot";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { asking, ofServer, untilAccepted, withoutAsking } from "../redirects.ts";
import { untilWritten } from "../written.ts";
import { IoredisDriver } from "./client.ts";
import { duplicate, listenOn } from "./connection.ts";
import { exec, isWritten, plainCall } from "./library.ts";
import type { IoredisClient, IoredisCluster } from "./library.ts";

function ignore(): void {}

export class IoredisClusterDriver extends HearingDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = true;
  readonly keyPrefix: string;
  readonly #cluster: IoredisCluster;
  readonly #call: (command: readonly string[]) => Promise<unknown>;
  readonly #channels: Followers;
  readonly #quieted = new Map<object, () => void>();

  constructor(cluster: IoredisCluster, keyPrefix: string) {
    super();
    this.#cluster = cluster;
    this.#call = plainCall(cluster);
    this.keyPrefix = keyPrefix;
    for (const node of cluster.nodes("all")) this.#meet(node);
    this.health.on(cluster, "+node", (node) => this.#meet(node as IoredisClient));
    this.health.on(cluster, "-node", (node) => this.#part(node as IoredisClient));
    this.health.watch(cluster, { lost: [], failed: ["error", "node error"], ready: ["ready"] });
    this.#channels = new Followers(
      {
        ownerOf: (channel) => this.ownerOf(channel),
        refresh: (channel) => this.send(["EXISTS", channel], channel),
        listenOn: async (server, events) => listenOn(this.#nodeAt(server), events),
      },
      { sharded: true },
    );
  }

  send(command: readonly string[], _key?: string): Promise<unknown> {
    return this.#call(command);
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const send = async (asked?: string): Promise<unknown[]> => {
      const { drops } = this;
      const replies = await (asked === undefined ? this.#pipeline(commands) : this.#ask(asked, commands));
      if (!replies || drops !== this.drops) throw new Error("Connection was lost between two commands");
      return replies;
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

  written(key: string): Promise<void> {
    const isThere = (): boolean => {
      if (this.#cluster.status === "end") return true;
      const node = this.#find(this.ownerOf(key));
      return this.#cluster.status === "ready" && node !== undefined && isWritten(node);
    };
    return untilWritten(isThere, 0);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(key: string): Promise<Driver> {
    const connection = duplicate(this.#nodeAt(this.ownerOf(key)));
    await connection.connect();
    return new IoredisDriver(connection, "", () => connection.disconnect());
  }

  ownerOf(key: string): string {
    return this.#cluster.slots[slotOf(key)]?.[0] ?? "";
  }

  /** Of each server that keeps slots, also one that the client has abandoned: it fails instead of being left out. */
  async servers(): Promise<readonly Send[]> {
    if (this.#cluster.slots.length === 0) await this.send(["PING"]); // answered when the client is connected
    if (this.#owners().some((owner) => !this.#find(owner))) await this.#refresh();
    return this.#owners().map((owner) => async (command: readonly string[]) => {
      try {
        return await plainCall(this.#nodeAt(owner))(command);
      } catch (error) {
        throw ofServer(error, this.#cluster.status !== "end");
      }
    });
  }

  close(): void {
    this.health.leave();
    for (const restore of this.#quieted.values()) restore();
    this.#quieted.clear();
  }

  async #pipeline(commands: readonly (readonly string[])[]): Promise<unknown[] | undefined> {
    const pipeline = this.#cluster.pipeline([]);
    const add = plainCall(pipeline);
    for (const command of commands) void add(command);
    const replies = await pipeline.exec();
    return replies?.map(([error, value]) => error ?? value);
  }

  async #ask(server: string, commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const call = plainCall(this.#nodeAt(server));
    const asked = asking(commands);
    const replies = await Promise.all(asked.map((command) => call(command).catch((error: unknown) => error)));
    return withoutAsking(replies, asked);
  }

  #meet(node: IoredisClient): void {
    this.health.watch(node, { lost: ["close"], failed: [], ready: [] });
    if (!this.#quieted.has(node)) this.#quieted.set(node, quietAsking(node));
  }

  #part(node: IoredisClient): void {
    this.health.leave(node);
    this.#quieted.get(node)?.();
    this.#quieted.delete(node);
  }

  /** The servers that keep slots, as far as the client knows. */
  #owners(): string[] {
    return [...new Set(this.#cluster.slots.flatMap((servers) => servers?.[0] ?? []))];
  }

  /** Makes the client ask which server keeps which slots; it reports it if none answers. */
  #refresh(): Promise<void> {
    return new Promise((resolve) => this.#cluster.refreshSlotsCache(() => resolve()));
  }

  #nodeAt(server: string): IoredisClient {
    const found = this.#find(server);
    if (!found) throw new Error(`The cluster has no server at ${server || "an unknown address"}.`);
    return found;
  }

  #find(server: string): IoredisClient | undefined {
    return this.#cluster.nodes("all").find((node) => {
      const { host, port } = node.options as { readonly host?: string; readonly port?: number };
      return `${host}:${port}` === server;
    });
  }
}

interface AskingClient extends IoredisClient {
  asking?: () => Promise<unknown>;
}

/**
 * Before what a server redirects with ASK, ioredis sends ASKING to the other one, and drops its promise: if that
 * connection breaks, the rejection would end the process. The command itself fails as well, and is heard.
 *
 * @returns undoes it
 */
function quietAsking(node: AskingClient): () => void {
  const original = node.asking;
  if (typeof original !== "function") return ignore;
  const quiet = (): Promise<unknown> => {
    const asked = Reflect.apply(original, node, []);
    asked.catch(ignore);
    return asked;
  };
  node.asking = quiet;
  return () => {
    if (node.asking === quiet) delete node.asking;
  };
}
