import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { duplicate, listenOn, NodeRedisDriver, sendInOrder, transact } from "./client.ts";
import type { NodeRedisClient } from "./client.ts";
import { Followers } from "../listening/followers.ts";

/** What is used of a node-redis Sentinel client (package `redis`, 5 or 6). It follows the primary by itself. */
export interface NodeRedisSentinel {
  readonly isOpen: boolean;
  getMasterNode(): { readonly host: string; readonly port: number } | undefined;
  /** Not documented, but what its own commands go through: only here it shows that a command was sent again. */
  _execute<T>(isReadonly: boolean, run: (primary: NodeRedisClient) => Promise<T>): Promise<T>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

export function isNodeRedisSentinel(client: object): client is NodeRedisSentinel {
  const seen = client as Partial<NodeRedisSentinel>;
  return (
    typeof seen._execute === "function" && typeof seen.getMasterNode === "function" && typeof seen.isOpen === "boolean"
  );
}

export class NodeRedisSentinelDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #sentinel: NodeRedisSentinel;
  readonly #channels: Followers;
  /** Connections to the primary whose losses are counted. */
  readonly #watched = new Set<NodeRedisClient>();
  /** So many of our calls are out. */
  #out = 0;
  /** Until the first of them has its lease. */
  #leasing: Promise<void> | undefined;
  drops = 0;
  complaint: unknown;

  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
  };
  readonly #onReconnecting = (): void => {
    this.drops++;
  };
  readonly #onTopology = (change: unknown): void => {
    if ((change as { readonly type?: string }).type !== "MASTER_CHANGE") return;
    this.#unwatch();
    // It is answered as soon as the client stands there; what listens elsewhere need not wait for its next look.
    this.send(["PING"]).then(() => this.#channels.hurry(), ignore);
  };

  constructor(sentinel: NodeRedisSentinel, keyPrefix: string) {
    this.#sentinel = sentinel;
    this.keyPrefix = keyPrefix;
    sentinel.on("error", this.#onError);
    sentinel.on("ready", this.#onReady);
    sentinel.on("reconnecting", this.#onReconnecting);
    sentinel.on("topology-change", this.#onTopology);
    this.#channels = new Followers(
      {
        ownerOf: () => this.#primary(),
        refresh: () => this.send(["PING"]),
        listenOn: async (_, events) => listenOn(await this.#connected(), events),
      },
      { sharded: false },
    );
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#run((primary) => primary.sendCommand(command as string[]));
  }

  inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    return this.#run(async (primary) => {
      const { drops } = this;
      const replies = await sendInOrder(primary, commands);
      // Thrown, the client finds out who is the primary now, and all of it is sent there.
      if (drops !== this.drops || !primary.isReady) throw new Error("Connection was lost between two commands");
      const refusal = replies.find((reply) => reply instanceof Error && reply.message.startsWith("READONLY"));
      if (refusal) throw refusal;
      return replies;
    });
  }

  together(run: () => void): void {
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#run((primary) => {
      const multi = primary.multi();
      for (const command of commands) multi.addCommand([...command]);
      return transact(multi);
    });
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = duplicate(await this.#connected(), false);
    await connection.connect();
    connection.unref();
    return new NodeRedisDriver(connection, { owned: true });
  }

  ownerOf(): string {
    return this.#primary();
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#sentinel.off("error", this.#onError);
    this.#sentinel.off("ready", this.#onReady);
    this.#sentinel.off("reconnecting", this.#onReconnecting);
    this.#sentinel.off("topology-change", this.#onTopology);
    this.#unwatch();
  }

  #primary(): string {
    const node = this.#sentinel.getMasterNode();
    return node ? `${node.host}:${node.port}` : "";
  }

  /** Connected to what is the primary now. Whatever else is done there that may hang is not to keep the lease. */
  #connected(): Promise<NodeRedisClient> {
    return this.#run((primary) => Promise.resolve(primary));
  }

  /**
   * The client's own commands share a lease of its connection once one of them has it. Those that come while the first
   * is still taking it would each wait for one of their own, until nothing at all is out any more.
   */
  async #run<T>(run: (primary: NodeRedisClient) => Promise<T>): Promise<T> {
    while (this.#leasing) await this.#leasing;
    let leased = (): void => {};
    if (this.#out === 0) {
      this.#leasing = new Promise((resolve) => {
        leased = () => {
          this.#leasing = undefined;
          resolve();
          leased = () => {};
        };
      });
    }
    try {
      return await this.#execute((primary) => {
        this.#out++;
        leased();
        return run(primary).finally(() => this.#out--);
      });
    } finally {
      leased();
    }
  }

  /** Whatever is run a second time may have been done twice. */
  async #execute<T>(run: (primary: NodeRedisClient) => Promise<T>): Promise<T> {
    let attempts = 0;
    try {
      if (!this.#sentinel.isOpen) throw new Error("The client is closed");
      const result = await this.#sentinel._execute(false, (primary) => {
        if (attempts++ > 0) this.drops++;
        this.#watch(primary);
        return run(primary);
      });
      this.complaint = undefined;
      return result;
    } catch (error) {
      // What fails because there are no connections any more does so in words of its own.
      throw this.#sentinel.isOpen ? error : new Error("The client is closed", { cause: error });
    }
  }

  /** A connection that is lost and comes back before anybody asks for it is not told of by the Sentinel client. */
  #watch(primary: NodeRedisClient): void {
    if (this.#watched.has(primary)) return;
    this.#watched.add(primary);
    primary.on("reconnecting", this.#onReconnecting);
  }

  #unwatch(): void {
    for (const primary of this.#watched) primary.off("reconnecting", this.#onReconnecting);
    this.#watched.clear();
  }
}

function ignore(): void {}
