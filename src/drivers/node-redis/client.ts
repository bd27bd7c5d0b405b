import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { untilWritten } from "../written.ts";
import { Unwritten } from "./unwritten.ts";
import { Database } from "./database.ts";
import { destroy, listenOn, openSession } from "./connection.ts";
import { explained, send, sendInOrder, transact } from "./library.ts";
import type { NodeRedisClient } from "./library.ts";

export class NodeRedisDriver extends HearingDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #redis: NodeRedisClient;
  /** Ends the connection if it is ours. */
  readonly #end: (() => void) | undefined;
  readonly #channels: Followers;
  readonly #database: Database;
  readonly #unwritten = new Unwritten();

  /** @param end given if the connection is ours to end */
  constructor(redis: NodeRedisClient, keyPrefix = "", end?: () => void) {
    super();
    this.#redis = redis;
    this.#end = end;
    this.keyPrefix = keyPrefix;
    this.#channels = new Followers(
      {
        ownerOf: () => "the server",
        refresh: () => Promise.resolve(),
        listenOn: (_, events) => listenOn(redis, events),
      },
      { sharded: false },
    );
    this.health.watch(redis, { lost: ["reconnecting"], failed: ["error"], ready: ["ready"] });
    this.health.on(redis, "ready", () => this.#channels.hurry());
    this.#database = new Database(redis, this.health);
  }

  send(command: readonly string[]): Promise<unknown> {
    if (this.#database.isRight) return this.#send(command);
    return this.#database.assertRight().then(() => this.#send(command));
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    if (!this.#database.isRight) await this.#database.assertRight();
    const { drops } = this;
    const replies = await sendInOrder(this.#redis, commands, this.#unwritten.options);
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    // Everything sent in one turn of the event loop leaves in one write.
    run();
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    if (!this.#database.isRight) await this.#database.assertRight();
    return transact(this.#redis, commands);
  }

  written(): Promise<void> {
    return untilWritten(() => !this.#redis.isOpen || (this.#redis.isReady && this.#unwritten.count === 0), 1);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = await openSession(this.#redis);
    return new NodeRedisDriver(connection, "", () => destroy(connection));
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

  #send(command: readonly string[]): Promise<unknown> {
    return send(this.#redis, command, this.#unwritten.options).catch((error: unknown) => {
      throw explained(error, this.complaint);
    });
  }
}
