import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { HearingDriver } from "../health.ts";
import { databaseOf } from "../info.ts";
import { COMMAND_LIMIT } from "../time-limit.ts";
import { untilWritten } from "../written.ts";
import { AS_STRINGS, batchOf, looksLikeGlide, openLike, plain, plainAll, Said } from "./library.ts";
import type { GlideClient, Route } from "./library.ts";
import { GlideListener } from "./listener.ts";
import { GlideSession } from "./session.ts";

export function isGlide(client: object): client is GlideClient {
  return looksLikeGlide(client) && !("ssubscribe" in client);
}

/**
 * GLIDE connects again by itself, tells nobody, and sends nothing twice: what was out when the connection broke is
 * rejected, as is what took longer than the client's `requestTimeout`. So each of these counts as a loss.
 */
export class GlideDriver extends HearingDriver implements Driver {
  readonly client = "glide";
  readonly isCluster: boolean = false;
  readonly keyPrefix = "";
  protected readonly glide: GlideClient;
  #viaBatch: boolean;
  #watchesServer = false;
  #runId: string | undefined;
  #listener: GlideListener | undefined;

  constructor(glide: GlideClient) {
    super();
    this.glide = glide;
    const { config } = glide as unknown as { readonly config: { readonly readFrom?: string } };
    // A batch goes to the primary; a single command that only reads may go to a replica, if the user wants it so.
    this.#viaBatch = (config.readFrom ?? "primary") !== "primary";
  }

  watchServer(): void {
    this.#watchesServer = true;
    this.#viaBatch = true;
  }

  async send(command: readonly string[], key?: string): Promise<unknown> {
    if (this.#viaBatch) return this.#sendInBatch(command, key);
    return plain(await this.carry(() => this.glide.customCommand(command as string[], this.#options(key))));
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    return this.#pipeline(commands, key);
  }

  together(run: () => void): void {
    run();
  }

  async transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null> {
    const replies = await this.carry(() => this.glide.exec(batchOf(commands, true), false, this.#options(key)));
    return replies && plainAll(replies);
  }

  /** With its native part, which writes while the event loop is blocked. */
  written(_key: string): Promise<void> {
    return untilWritten(() => !(this.glide as Writing).writeInProgress, 1);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    this.#listener ??= this.listener();
    return this.#listener.subscribe(channel, events);
  }

  async session(_key: string): Promise<Driver> {
    const databaseId = await databaseOf((command) => this.send(command));
    return new GlideSession(await openLike(this.glide, databaseId === undefined ? {} : { databaseId }));
  }

  ownerOf(_key: string): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command: readonly string[]) => this.send(command)]);
  }

  close(): void {
    this.#listener?.close();
  }

  protected listener(): GlideListener {
    return new GlideListener((settings) => openLike(this.glide, settings));
  }

  protected routeOf(_key: string | undefined): Route | undefined {
    return undefined;
  }

  /** Send something, and count a failure of the way there or back. */
  protected async carry<T>(call: () => Promise<T>): Promise<T> {
    try {
      const reply = await call();
      this.health.ready();
      return reply;
    } catch (error) {
      const said = new Said(error);
      if (!said.byServer) {
        this.health.lost();
        // A client that its user has closed does not come back; there is nothing to wait for.
        if (!said.isClosed) this.health.failed(said);
      }
      throw said;
    }
  }

  #options(key: string | undefined): object {
    const route = this.routeOf(key);
    return route === undefined ? AS_STRINGS : { ...AS_STRINGS, route };
  }

  async #pipeline(commands: readonly (readonly string[])[], key: string | undefined): Promise<unknown[]> {
    const replies = await this.carry(() =>
      this.glide.exec(batchOf(commands, false), false, { ...this.#options(key), ...(blocks(commands) && LONG) }),
    );
    return plainAll(replies ?? []);
  }

  async #sendInBatch(command: readonly string[], key: string | undefined): Promise<unknown> {
    const watches = this.#watchesServer;
    const first = watches ? [["INFO", "server"]] : [];
    const replies = await this.#pipeline([...first, command], key);
    if (watches) this.#note(replies[0]);
    const reply = replies.at(-1);
    if (reply instanceof Error) throw reply;
    return reply;
  }

  /** Between two commands a server may be restarted, and nothing fails: only its run id tells. */
  #note(info: unknown): void {
    const runId = /^run_id:(\w+)/m.exec(String(info))?.[1];
    if (runId === undefined) return;
    if (this.#runId !== undefined && this.#runId !== runId) this.health.lost();
    this.#runId = runId;
  }
}

/** True while commands wait here until those before them are with the native part. */
interface Writing {
  readonly writeInProgress?: boolean;
}

/** GLIDE adds to its time limit what a command waits for by itself, but not where it is part of a batch. */
function blocks(commands: readonly (readonly string[])[]): boolean {
  return commands.some(([name]) => name === "WAIT" || name === "WAITAOF");
}
const LONG = { timeout: COMMAND_LIMIT };
