import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { Followers } from "../listening/followers.ts";
import { untilWritten } from "../written.ts";
import { duplicate, listenOn } from "./connection.ts";
import { byServer, isOver, isRefusal, plain } from "./library.ts";
import type { BunClient } from "./library.ts";

/** Asked by a script, because Bun sends nothing behind an INFO until that is answered. */
const WHO = ["EVAL", "return redis.call('INFO', 'server')", "0"];

function ignore(): void {}

/**
 * Bun's client connects again by itself, tells nobody but its user, and sends nothing twice: what was out when the
 * connection broke is rejected. So each rejection that is not the server's counts as a loss.
 */
export class BunDriver extends HearingDriver implements Driver {
  readonly client = "bun";
  readonly isCluster = false;
  readonly keyPrefix = "";
  readonly #bun: BunClient;
  /** Ends the connection if it is ours. */
  readonly #end: (() => void) | undefined;
  readonly #channels: Followers;
  #watchesServer = false;
  #runId: string | undefined;
  /** Why the server lets nobody in, if it said so: Bun tells once, and then gives up. */
  #refusal: unknown;

  /** @param end given if the connection is ours to end */
  constructor(bun: BunClient, end?: () => void) {
    super();
    this.#bun = bun;
    this.#end = end;
    this.#channels = new Followers(
      {
        ownerOf: () => "the server",
        refresh: () => Promise.resolve(),
        listenOn: (_, events) => listenOn(bun, events),
      },
      { sharded: false },
    );
  }

  /** A connection of ours that broke stays so. */
  override get drops(): number {
    const isBroken = this.#end !== undefined && !this.#bun.connected;
    return this.health.drops + (isBroken ? 1 : 0);
  }

  watchServer(): void {
    this.#watchesServer = true;
  }

  async send(command: readonly string[]): Promise<unknown> {
    // In the same write, so that a restart is noticed before the answer counts.
    if (this.#watchesServer) this.#look().catch(ignore);
    return this.#call(command);
  }

  /** What is sent in one turn of the event loop leaves on one connection, or is rejected with it. */
  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const replies = await Promise.all(commands.map((command) => this.#call(command).catch((error: unknown) => error)));
    const isLoss = (reply: unknown): boolean => reply instanceof Error && (isRefusal(reply) || !byServer(reply));
    const lost = replies.find((reply) => isLoss(reply));
    if (lost) throw lost;
    return replies;
  }

  together(run: () => void): void {
    // What is sent in one turn of the event loop leaves in one write.
    run();
  }

  /** Bun waits for the reply to MULTI before it sends the rest, which may leave on another connection then. */
  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const replies = await this.inOrder([["MULTI"], ...commands, ["EXEC"]]);
    const done = replies.at(-1);
    if (!(done instanceof Error)) return done as unknown[] | null;
    if (done.message.includes("without MULTI")) throw new Error("Connection was lost between two commands");
    // What EXEC says of a command that was refused is only that some command was.
    throw replies.find((reply) => reply instanceof Error);
  }

  written(): Promise<void> {
    const isWritten = (): boolean => this.#bun.connected && this.#bun.bufferedAmount === 0;
    return untilWritten(() => isWritten() || isOver(this.complaint), 1);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = await duplicate(this.#bun, () => {});
    return new BunDriver(connection, () => connection.close());
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#end?.();
  }

  async #call([name = "", ...args]: readonly string[]): Promise<unknown> {
    try {
      const reply = plain(await this.#bun.send(name, args));
      if (this.complaint !== undefined) {
        this.health.ready();
        this.#channels.hurry();
      }
      return reply;
    } catch (error) {
      if (isRefusal(error)) this.#refusal = error;
      else if (byServer(error)) throw error;
      const reason = isOver(error) ? (this.#refusal ?? error) : error;
      this.health.lost();
      this.health.failed(reason);
      throw reason;
    }
  }

  /** Between two commands a server may be restarted, and nothing fails: only its run id tells. */
  async #look(): Promise<void> {
    const info = await this.#call(WHO);
    const runId = /^run_id:(\w+)/m.exec(String(info))?.[1];
    if (runId === undefined) return;
    if (this.#runId !== undefined && this.#runId !== runId) this.health.lost();
    this.#runId = runId;
  }
}
