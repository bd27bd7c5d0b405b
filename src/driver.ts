/** What every driver does: send commands and scripts, listen, open connections of its own. A driver knows no lock. */
import type { Clock, Timer } from "./clock.ts";
import { SchemeError } from "./errors.ts";
import type { SchemeErrorCode } from "./errors.ts";

/** Strings that come once in a script call, and those that come with each item of its batch. */
export interface ScriptStrings {
  call: string[];
  item: string[];
}

/** A Lua script that works on a batch of items, each with keys and arguments of its own. See scripts/generate-lua.ts. */
export interface Script<Keys extends ScriptStrings, Args extends ScriptStrings> {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
  /** Only for the compiler: what a call is made of. */
  readonly shape?: { keys: Keys; args: Args };
}

export type ClientLibrary = "ioredis" | "node-redis" | "glide";

/** A channel being listened to, over a connection of its own. */
export interface Subscription {
  /** True while messages arrive. */
  readonly up: boolean;
  /** The id of the server that they come from, where that is known: eight hexadecimal digits. */
  readonly server?: string | undefined;
  close(): void;
}

export interface SubscriptionEvents {
  message(text: string): void;
  /** The subscription stands: for the first time, or again after a loss. */
  up(): void;
}

/**
 * The adapter to one client library. Rejections are the client's own errors. Where a call takes a `key`, it is one of
 * those that the command names: a Cluster finds its server by it. Without one the command goes to any server.
 */
export interface Driver {
  readonly client: ClientLibrary;
  /** Several servers share the keys, by slots: all keys of one call, and the channels it publishes to, share a slot. */
  readonly isCluster: boolean;
  /** What the client's user wants before every key. The driver itself puts nothing there. */
  readonly keyPrefix: string;
  send(command: readonly string[], key?: string): Promise<unknown>;
  /**
   * All on one connection, one right behind the other. A command that failed is an Error in the result; rejects where
   * it cannot be told whether one connection carried them all.
   */
  inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]>;
  /** What is sent in the course of `run` leaves in one write, where the client does not see to that by itself. */
  together(run: () => void): void;
  /** MULTI … EXEC. Null when a watched key has changed. A command that failed inside is an Error in the result. */
  transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null>;
  /** How often the connection was lost. If it grew during a call, the client may have sent the call twice. */
  readonly drops: number;
  /** What the connection last complained of. */
  readonly complaint: unknown;
  /**
   * Listen on a connection of our own. Comes back by itself after a loss; never rejects. In a Cluster it listens on the
   * server that keeps the channel's slot, and moves with the slot.
   */
  subscribe(channel: string, events: SubscriptionEvents): Subscription;
  /** A connection of our own to the server that keeps the key, never silently replaced, for WATCH. */
  session(key: string): Promise<Driver>;
  /** Which server keeps the key, as far as the client knows; one that is there alone is "". */
  ownerOf(key: string): string;
  /** Each server that keeps keys, for what concerns all of them. */
  servers(): Promise<readonly Send[]>;
  /** Take our listeners off the user's client; close what is ours. */
  close(): void;
}

/** Sends one command. @param key one of its keys */
export type Send = (command: readonly string[], key?: string) => Promise<unknown>;

/** A command that has not been answered for this long has failed: clients queue for ever while they reconnect. */
export const COMMAND_LIMIT = 5_000;

/** Bounds the time that calls may take, with one timer for all of them. */
export class TimeLimit {
  readonly #clock: Clock;
  readonly #driver: Driver;
  /** In the order of their deadlines, which is the order in which they were added. */
  readonly #calls = new Set<{ readonly end: number; readonly fail: (error: unknown) => void }>();
  #timer: Timer | undefined;

  constructor(clock: Clock, driver: Driver) {
    this.#clock = clock;
    this.#driver = driver;
  }

  /** Settles as the call does, or rejects with a SchemeError when the call fails or takes too long. */
  guard<T>(call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => reject(schemeError(error));
      const entry = { end: this.#clock.now() + COMMAND_LIMIT, fail };
      this.#calls.add(entry);
      this.#arm();
      call.then(
        (value) => {
          this.#calls.delete(entry);
          resolve(value);
        },
        (error: unknown) => {
          this.#calls.delete(entry);
          fail(error === this.#driver.complaint ? complained(error) : error);
        },
      );
    });
  }

  /** Each server that keeps keys; what is sent to it is bounded, too. */
  async servers(): Promise<Send[]> {
    const servers = await this.guard(this.#driver.servers());
    return servers.map((send) => (command, key) => this.guard(send(command, key)));
  }

  /** Keep no timer: calls that are still out are not bounded any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const [first] = this.#calls;
    if (this.#timer || !first) return;
    this.#timer = this.#clock.after(first.end - this.#clock.now(), () => {
      this.#timer = undefined;
      for (const call of this.#calls) {
        if (call.end > this.#clock.now()) break;
        this.#calls.delete(call);
        call.fail(this.#driver.complaint ?? new Error(`no answer within ${COMMAND_LIMIT} ms`));
      }
      this.#arm();
    });
  }
}

/**
 * Run a script on a batch of items; a server that does not know it yet is sent its source.
 *
 * @param items the keys and arguments of all items, one after the other
 */
export async function runScript<K extends ScriptStrings, A extends ScriptStrings>(
  driver: Pick<Driver, "send">,
  script: Script<K, A>,
  call: { readonly keys: K["call"]; readonly args: A["call"] },
  items: { readonly keys: readonly string[]; readonly args: readonly string[] },
): Promise<unknown[]> {
  const count = String(call.keys.length + items.keys.length);
  const command = ["EVALSHA", script.sha, count].concat(call.keys, items.keys, call.args, items.args);
  const key = command[3];
  try {
    return (await driver.send(command, key)) as unknown[];
  } catch (error) {
    if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
    return (await driver.send(["EVAL", script.source, ...command.slice(2)], key)) as unknown[];
  }
}

/** A connection that complains of being closed was not closed by its user, and may be opened again. */
function complained(error: unknown): unknown {
  return schemeError(error).code === "unreachable" ? new Error("the connection was given up") : error;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Diagnosis {
  readonly test: RegExp;
  readonly code: SchemeErrorCode;
  readonly transient?: boolean;
  readonly remedy: string;
}

/** What servers and clients say, what it means, and what to do about it. The first that fits counts. */
const DIAGNOSES: readonly Diagnosis[] = [
  {
    test: /^NOPERM.*'wait|unknown command .?wait|^ERR WAITAOF cannot be used when numlocal/i,
    code: "no-wait",
    remedy:
      "Durability needs WAIT, with aof WAITAOF (Redis 7.2, Valkey), appendonly yes and an account with +wait +waitaof. " +
      "Else leave durability out.",
  },
  {
    test: /^ERR WAIT(AOF)? cannot be used with replica/,
    code: "read-only",
    transient: true,
    remedy: "Connect to a primary that may write; a replica cannot keep locks.",
  },
  {
    test: /^NOPERM.*'(eval|script)|unknown command .?(eval|script)|\b(scripting|Lua)\b/i,
    code: "no-scripting",
    remedy: 'The lua scheme needs EVAL and EVALSHA. Allow them, or use { scheme: "set" }, which needs no scripts.',
  },
  {
    test: /^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH|ERR invalid password|(ERR )?The user executing the script|ERR ACL failure|ERR Protocol error: unauth)/,
    code: "not-authorized",
    remedy: "Give the client a user and password that may use the keys and channels of the prefix.",
  },
  {
    test: /^(READONLY|NOREPLICAS|MASTERDOWN)/,
    code: "read-only",
    transient: true,
    remedy: "Connect to a primary that may write; a replica cannot keep locks.",
  },
  { test: /^MISCONF/, code: "read-only", remedy: "The server refuses writes until its disk works again." },
  { test: /^LOADING/, code: "loading", transient: true, remedy: "The server reads its data; try again when it is up." },
  { test: /^OOM/, code: "out-of-memory", remedy: "Raise the server's maxmemory or free some." },
  {
    test: /^(WRONGTYPE|ERR Key should be of string type)/, // the second is how DELEX says it
    code: "wrong-type",
    remedy: "Something else lives under this name: choose another name or prefix.",
  },
  { test: /^(BUSY|TRYAGAIN|CLUSTERDOWN|MOVED|ASK)\b/, code: "server", transient: true, remedy: "Try again." },
  { test: /^[A-Z]+ |^ERR/, code: "server", remedy: "See cause." },
  {
    test: /^(Connection is closed|The client is closed)/,
    code: "unreachable",
    remedy: "The client passed in is closed, or was never connected: connect it first, close it last.",
  },
];

/** Redis before 7 tells the line of the script before the error that a command met there. */
const IN_SCRIPT = /^[^]*@user_script: ?\d+: -?/;

/** The client's or the server's error as ours, with what to do about it. */
export function schemeError(error: unknown): SchemeError {
  if (error instanceof SchemeError) return error;
  const message =
    messageOf(error) || (error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : "");
  const said = IN_SCRIPT.test(message) ? message.replace(IN_SCRIPT, "").trim() : message;
  const found = DIAGNOSES.find(({ test }) => test.test(said));
  const subject = found?.code === "unreachable" || !found ? "The server cannot be reached" : "The server refused";
  const remedy = found?.remedy ?? "Check that it runs and that the client's address is right.";
  return new SchemeError(
    found?.code ?? "unreachable",
    `${subject}: ${said.replace(/\.$/, "")}. ${remedy}`,
    [error],
    found ? !!found.transient : true,
  );
}
