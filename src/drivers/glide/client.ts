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
 * GLIDE reconnects without reporting it, and sends nothing twice: a command without an answer when the connection broke
 * is rejected, as is one that took longer than the client's `requestTimeout`. So each of these counts as a loss.
 */
export class GlideDriver extends HearingDriver implements Driver {
  readonly client = "glide";
  readonly isCluster: boolean = false;
  readonly keyPrefix = "";
  protected readonly glide: GlideClient;
  #viaBatch: boolean;
  /** What is sent together while this runs. */
  #gathered: Gathered[] | undefined;
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

  send(command: readonly string[], key?: string): Promise<unknown> {
    const gathered = this.#gathered;
    if (!gathered || key === undefined) return this.#sendAlone(command, key);
    return new Promise((resolve, reject) => gathered.push({ command, key, resolve, reject }));
  }

  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    return this.#pipeline(commands, key);
  }

  /** Commands to one server become one batch, because GLIDE's work for each command costs more than the rest. */
  together(run: () => void): void {
    const gathered: Gathered[] = [];
    this.#gathered = gathered;
    try {
      run();
    } finally {
      this.#gathered = undefined;
    }
    const byServer = new Map<string, Gathered[]>();
    for (const each of gathered) {
      const server = this.ownerOf(each.key);
      const others = byServer.get(server);
      if (others) others.push(each);
      else byServer.set(server, [each]);
    }
    for (const group of byServer.values()) void this.#sendGroup(group);
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

  /** Sends something, and counts a failure of the connection as a loss. */
  protected async carry<T>(call: () => Promise<T>): Promise<T> {
    try {
      const reply = await call();
      this.health.ready();
      return reply;
    } catch (error) {
      const said = new Said(error);
      if (!said.byServer) {
        this.health.lost();
        // A client that its user has closed does not reconnect, so there is nothing to wait for.
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

  async #sendAlone(command: readonly string[], key: string | undefined): Promise<unknown> {
    if (!this.#viaBatch) {
      return plain(await this.carry(() => this.glide.customCommand(command as string[], this.#options(key))));
    }
    const [reply] = await this.#batch([command], key);
    if (reply instanceof Error) throw reply;
    return reply;
  }

  async #sendGroup(group: readonly Gathered[]): Promise<void> {
    const [first] = group as [Gathered];
    const alone = ({ command, key, resolve, reject }: Gathered): Promise<void> =>
      this.#sendAlone(command, key).then(resolve, reject);
    if (group.length === 1) return alone(first);
    try {
      const commands = group.map(({ command }) => command);
      const replies = await this.#batch(commands, first.key);
      group.forEach((each, i) => {
        const reply = replies[i];
        if (!(reply instanceof Error)) each.resolve(reply);
        // GLIDE knows what to do about these, but not in a batch.
        else if (/^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message)) void alone(each);
        else each.reject(reply);
      });
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }

  /** A command that failed is an Error in the result. */
  async #batch(commands: readonly (readonly string[])[], key: string | undefined): Promise<unknown[]> {
    if (!this.#watchesServer) return this.#pipeline(commands, key);
    const [info, ...replies] = await this.#pipeline([["INFO", "server"], ...commands], key);
    this.#note(info);
    return replies;
  }

  /** A server may be restarted between two commands without an error: only its run id shows it. */
  #note(info: unknown): void {
    const runId = /^run_id:(\w+)/m.exec(String(info))?.[1];
    if (runId === undefined) return;
    if (this.#runId !== undefined && this.#runId !== runId) this.health.lost();
    this.#runId = runId;
  }
}

/** A command, and the callbacks for its reply. */
interface Gathered {
  readonly command: readonly string[];
  readonly key: string;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
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
