import type { Driver, Send, Subscription } from "../driver.ts";
import { AS_STRINGS, batchOf, closeOwn, plain, plainAll, Said } from "./library.ts";
import type { OwnGlideClient } from "./library.ts";
import { builtin } from "../../runtime.ts";

/** If replies cannot be compared, they count as changed, and nothing is written. */
const isSame = builtin("node:util")?.isDeepStrictEqual ?? ((): boolean => false);

/**
 * Our own connection to one server, for WATCH. GLIDE silently replaces a broken connection, and the new one
 * has forgotten the WATCH. So what was read under a WATCH is only remembered, and read again in the same write that
 * watches and begins the MULTI; if that finds what was found before, EXEC follows. On a new connection there is no
 * MULTI, and EXEC does nothing but fail.
 */
export class GlideSession implements Driver {
  readonly client = "glide";
  readonly isCluster = false;
  readonly keyPrefix = "";
  readonly drops = 0;
  readonly complaint = undefined;
  readonly scripts: Map<string, Set<string>> = new Map();
  readonly #glide: OwnGlideClient;
  /** Every call waits for the one before, because any command within a transaction would become part of it. */
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;
  #watched: string[] = [];
  #read: { readonly command: readonly string[]; readonly reply: unknown }[] = [];

  constructor(glide: OwnGlideClient) {
    this.#glide = glide;
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#inTurn(async () => {
      const [name = "", ...args] = command;
      if (name === "WATCH") {
        this.#watched.push(...args);
        return "OK";
      }
      if (name === "UNWATCH") {
        this.#forget();
        return "OK";
      }
      const reply = plain(await this.#call(() => this.#glide.customCommand([...command], AS_STRINGS)));
      if (this.#watched.length > 0) this.#read.push({ command, reply });
      return reply;
    });
  }

  inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    return this.#inTurn(() => this.#pipeline(commands));
  }

  together(run: () => void): void {
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#inTurn(async () => {
      const watch = this.#watched.length > 0 ? [["WATCH", ...this.#watched]] : [];
      const read = this.#read;
      this.#forget();
      const replies = await this.#pipeline([...watch, ...read.map((each) => each.command), ["MULTI"], ...commands]);
      const again = replies.slice(watch.length);
      const changed = read.some(({ reply }, i) => !isSame(reply, again[i]));
      const failure = replies.find((reply) => reply instanceof Error);
      if (failure || changed) await this.#pipeline([["DISCARD"]]);
      if (failure) throw failure;
      return changed ? null : this.#execute();
    });
  }

  written(): Promise<void> {
    return Promise.resolve();
  }

  subscribe(): Subscription {
    throw new Error("A session is only for commands.");
  }

  session(): Promise<Driver> {
    return Promise.resolve(this);
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command: readonly string[]) => this.send(command)]);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeOwn(this.#glide);
  }

  async #execute(): Promise<unknown[] | null> {
    const [reply] = await this.#pipeline([["EXEC"]]);
    if (reply instanceof Error) {
      this.close();
      throw new Error("Connection was lost between WATCH and EXEC", { cause: reply });
    }
    return reply === null ? null : plainAll(reply as unknown[]);
  }

  #forget(): void {
    this.#watched = [];
    this.#read = [];
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => {});
    return result;
  }

  async #pipeline(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const replies = await this.#call(() => this.#glide.exec(batchOf(commands, false), false, AS_STRINGS));
    return plainAll(replies ?? []);
  }

  /** After a failure nobody knows whether the connection is in a MULTI: it must not be used again. */
  async #call<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error("Connection for WATCH was closed");
    try {
      return await call();
    } catch (error) {
      const said = new Said(error);
      if (!said.byServer) this.close();
      throw said;
    }
  }
}
