import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { databaseOf } from "../info.ts";
import { Followers } from "../listening/followers.ts";
import { messageOf } from "../server-errors.ts";
import { untilWritten } from "../written.ts";
import { duplicate, listenOn, serverOf, straightTo } from "./connection.ts";
import { Database } from "./database.ts";
import { exec, isWritten, plainCall } from "./library.ts";
import type { IoredisClient } from "./library.ts";

function ignore(): void {}

export class IoredisDriver extends HearingDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #redis: IoredisClient;
  /** Ends the connection if it is ours. */
  readonly #end: (() => void) | undefined;
  readonly #call: (command: readonly string[]) => Promise<unknown>;
  readonly #database: Database;
  readonly #channels: Followers;

  /** @param end given if the connection is ours to end */
  constructor(redis: IoredisClient, keyPrefix = "", end?: () => void) {
    super();
    this.#redis = redis;
    this.#call = plainCall(redis);
    this.#end = end;
    this.keyPrefix = keyPrefix;
    this.#channels = new Followers(
      {
        ownerOf: () => serverOf(redis),
        refresh: () => Promise.resolve(),
        listenOn: (server, events) => listenOn(redis, events, straightTo(redis, server)),
      },
      { sharded: false },
    );
    this.health.watch(redis, { lost: ["close"], failed: ["error"], ready: ["ready"] });
    // Once this connection has found the server, the others need not wait for their own next attempt.
    this.health.on(redis, "ready", () => this.#channels.hurry());
    this.health.on(redis, "end", () => this.#revive());
    this.#database = new Database(redis, this.health);
  }

  send(command: readonly string[]): Promise<unknown> {
    if (this.#database.isRight) return this.#call(command);
    return this.#database.assertRight().then(() => this.#call(command));
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    if (!this.#database.isRight) await this.#database.assertRight();
    const { drops } = this;
    const replies = await Promise.all(commands.map((command) => this.#call(command).catch((error: unknown) => error)));
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    const { stream } = this.#redis;
    stream?.cork?.();
    try {
      run();
    } finally {
      stream?.uncork?.();
    }
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    if (!this.#database.isRight) await this.#database.assertRight();
    return exec(this.#redis, commands);
  }

  written(): Promise<void> {
    return untilWritten(() => isWritten(this.#redis), 0);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const db = await databaseOf(this.#call);
    const connection = duplicate(this.#redis, db === undefined ? {} : { db });
    await connection.connect();
    return new IoredisDriver(connection, "", () => connection.disconnect());
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.health.leave();
    this.#end?.();
  }

  /**
   * ioredis ends a client permanently if it hears of a failover just while it asks a Sentinel for the primary. Only
   * then does it report this error; it does not if somebody closed the client.
   */
  #revive(): void {
    if (!this.#end && messageOf(this.complaint) === "Connection is closed.") this.#redis.connect?.().catch(ignore);
  }
}
