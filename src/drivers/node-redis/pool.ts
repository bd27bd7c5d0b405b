import { backoff } from "../backoff.ts";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { untilWritten } from "../written.ts";
import { NodeRedisDriver } from "./client.ts";
import { Database } from "./database.ts";
import { destroy, duplicate, listenOn, openSession } from "./connection.ts";
import type { OwnConnection } from "./connection.ts";
import { send, sendInOrder, transact } from "./library.ts";
import type { NodeRedisPool } from "./library.ts";
import { Unwritten } from "./unwritten.ts";

/**
 * Of a pool, one connection of our own, opened like its members: on several, what is sent later could be done earlier,
 * and a lock be released before it is taken. It ends with the pool.
 */
export class NodeRedisPoolDriver extends HearingDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #pool: NodeRedisPool;
  readonly #channels: Followers;
  #opening: Promise<OwnConnection> | undefined;
  #connection: OwnConnection | undefined;
  #database: Database | undefined;
  /** How many calls wait for the connection. */
  #queued = 0;
  #isClosed = false;
  readonly #unwritten = new Unwritten();

  constructor(pool: NodeRedisPool, keyPrefix: string) {
    super();
    this.#pool = pool;
    this.keyPrefix = keyPrefix;
    this.#channels = new Followers(
      {
        ownerOf: () => "the server",
        refresh: () => Promise.resolve(),
        // While all members are busy there is none to open another like; that is tried again.
        listenOn: async (_, events) => listenOn(await this.#open(), events),
      },
      { sharded: false },
    );
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#use((connection) => send(connection, command, this.#unwritten.options));
  }

  inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    return this.#use(async (connection) => {
      const { drops } = this;
      const replies = await sendInOrder(connection, commands, this.#unwritten.options);
      if (drops !== this.drops) throw new Error("Connection was lost between two commands");
      return replies;
    });
  }

  together(run: () => void): void {
    // What is sent in one turn of the event loop leaves in one write.
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#use((connection) => transact(connection, commands));
  }

  written(): Promise<void> {
    const isWritten = (): boolean => this.#connection?.isReady === true && this.#unwritten.count === 0;
    return untilWritten(() => this.#isClosed || !this.#pool.isOpen || isWritten(), 1);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = await openSession(await this.#open());
    return new NodeRedisDriver(connection, "", () => destroy(connection));
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  /** At once if that is possible, so that what is sent in a turn leaves with it; else behind those that wait already. */
  async #use<T>(run: (connection: OwnConnection) => Promise<T>): Promise<T> {
    let connection = this.#connection;
    if (this.#queued > 0 || !connection || !this.#pool.isOpen || !this.#database?.isRight) {
      this.#queued++;
      try {
        connection = await this.#open();
        await this.#database?.assertRight();
      } finally {
        this.#queued--;
      }
    }
    return run(connection);
  }

  #open(): Promise<OwnConnection> {
    if (!this.#pool.isOpen || this.#isClosed) {
      this.#drop();
      return Promise.reject(new Error("The client is closed"));
    }
    if (this.#opening) return this.#opening;
    const opening = this.#connect();
    this.#opening = opening;
    opening.then(
      (connection) => (this.#connection = connection),
      () => (this.#opening = undefined),
    );
    return opening;
  }

  async #connect(): Promise<OwnConnection> {
    const reconnectStrategy = (attempt: number): number | false =>
      this.#pool.isOpen && !this.#isClosed && backoff(attempt);
    const connection = await this.#pool.execute((member) => duplicate(member, { reconnectStrategy }));
    this.health.watch(connection, { lost: ["reconnecting"], failed: ["error"], ready: ["ready"] });
    this.health.on(connection, "ready", () => this.#channels.hurry());
    this.#database = new Database(connection, this.health);
    await connection.connect();
    if (this.#isClosed) this.#drop(connection);
    return connection;
  }

  #drop(connection: OwnConnection | undefined = this.#connection): void {
    this.#connection = undefined;
    this.#opening = undefined;
    this.health.leave();
    if (connection) destroy(connection);
  }
}
