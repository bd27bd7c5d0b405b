import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { untilWritten } from "../written.ts";
import { NodeRedisDriver } from "./client.ts";
import { destroy, listenOn, openSession } from "./connection.ts";
import { send, sendInOrder, transact } from "./library.ts";
import type { NodeRedisClient, NodeRedisSentinel } from "./library.ts";
import { Unwritten } from "./unwritten.ts";

function ignore(): void {}

export class NodeRedisSentinelDriver extends HearingDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #sentinel: NodeRedisSentinel;
  readonly #channels: Followers;
  /** Connections to the primary whose losses are counted. */
  readonly #watched = new Set<NodeRedisClient>();
  /** The connection that was used last. */
  #primary: NodeRedisClient | undefined;
  /** How many of our calls have no answer yet. */
  #out = 0;
  /** How many of them no connection has been found for so far. */
  #unsent = 0;
  /** Until the first of them has its lease. */
  #leasing: Promise<void> | undefined;
  readonly #unwritten = new Unwritten();

  constructor(sentinel: NodeRedisSentinel, keyPrefix: string) {
    super();
    this.#sentinel = sentinel;
    this.keyPrefix = keyPrefix;
    this.health.watch(sentinel, { lost: ["reconnecting"], failed: ["error"], ready: ["ready"] });
    this.health.on(sentinel, "topology-change", (change) => this.#changed(change as { readonly type?: string }));
    this.#channels = new Followers(
      {
        ownerOf: () => this.#address(),
        refresh: () => this.send(["PING"]),
        listenOn: async (_, events) => listenOn(await this.#connected(), events),
      },
      { sharded: false },
    );
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#run((primary) => send(primary, command, this.#unwritten.options));
  }

  inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    return this.#run(async (primary) => {
      const { drops } = this;
      const replies = await sendInOrder(primary, commands, this.#unwritten.options);
      // If this is thrown, the client finds the current primary and sends everything there.
      if (drops !== this.drops || !primary.isReady) throw new Error("Connection was lost between two commands");
      const refusal = replies.find((reply) => reply instanceof Error && reply.message.startsWith("READONLY"));
      if (refusal) throw refusal;
      return replies;
    });
  }

  together(run: () => void): void {
    // What is sent in one turn of the event loop leaves in one write.
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#run((primary) => transact(primary, commands));
  }

  written(): Promise<void> {
    const isWritten = (): boolean =>
      this.#unsent === 0 && this.#unwritten.count === 0 && this.#primary?.isReady === true;
    // The client first finds the primary, in a turn of its own.
    return untilWritten(() => !this.#sentinel.isOpen || isWritten(), 2);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = await openSession(await this.#connected());
    return new NodeRedisDriver(connection, "", () => destroy(connection));
  }

  ownerOf(): string {
    return this.#address();
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.health.leave();
    this.#watched.clear();
  }

  #address(): string {
    const node = this.#sentinel.getMasterNode();
    return node ? `${node.host}:${node.port}` : "";
  }

  #changed({ type }: { readonly type?: string }): void {
    if (type !== "MASTER_CHANGE") return;
    for (const primary of this.#watched) this.health.leave(primary);
    this.#watched.clear();
    // It is answered as soon as the client stands there; what listens elsewhere need not wait for its next look.
    this.send(["PING"]).then(() => this.#channels.hurry(), ignore);
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
    this.#unsent++;
    let isSent = false;
    const sent = (): void => {
      if (!isSent) this.#unsent--;
      isSent = true;
    };
    while (this.#leasing) await this.#leasing;
    let leased = ignore;
    if (this.#out === 0) {
      this.#leasing = new Promise((resolve) => {
        leased = () => {
          this.#leasing = undefined;
          resolve();
          leased = ignore;
        };
      });
    }
    try {
      return await this.#execute((primary) => {
        this.#out++;
        leased();
        const result = run(primary);
        sent();
        return result.finally(() => this.#out--);
      });
    } finally {
      sent();
      leased();
    }
  }

  /** Commands that are run a second time may have been done twice. */
  async #execute<T>(run: (primary: NodeRedisClient) => Promise<T>): Promise<T> {
    let attempts = 0;
    try {
      if (!this.#sentinel.isOpen) throw new Error("The client is closed");
      const result = await this.#sentinel._execute(false, (primary) => {
        if (attempts++ > 0) this.health.lost();
        this.#watch(primary);
        return run(primary);
      });
      this.health.ready();
      return result;
    } catch (error) {
      // What fails because there are no connections any more does so in words of its own.
      throw this.#sentinel.isOpen ? error : new Error("The client is closed", { cause: error });
    }
  }

  /** A connection that is lost and comes back before anybody asks for it is not told of by the Sentinel client. */
  #watch(primary: NodeRedisClient): void {
    this.#primary = primary;
    if (this.#watched.has(primary)) return;
    this.#watched.add(primary);
    this.health.watch(primary, { lost: ["reconnecting"], failed: [], ready: [] });
  }
}
