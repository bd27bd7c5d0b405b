/** Compare a key's value and act on it in one atomic step, without scripts. */
import { messageOf } from "../../drivers/server-errors.ts";
import { sendProven, transactProven } from "../../drivers/proof.ts";
import type { Durability } from "../../durability.ts";
import type { Proof } from "../../drivers/proof.ts";
import type { Driver } from "../../drivers/driver.ts";
import type { TimeLimit } from "../../drivers/time-limit.ts";
import { SchemeError } from "../../errors.ts";
import { clientKey } from "../keys.ts";

export interface Compare {
  /** Delete the key if it holds exactly this value. */
  delete(key: string, value: string): Promise<boolean>;
  /**
   * Put the next value in its place, for ttl milliseconds from now, if the key holds exactly this value. With a proof
   * answers with how durable that is.
   */
  replace(key: string, value: string, next: string, ttl: number, proof?: Proof): Promise<boolean | Durability>;
  close(): void;
}

type Delete = (key: string, value: string) => string[];

/** How servers spell compare-and-delete, the best first: Valkey 9, Redis 8.4, Valkey 8.1 (to which 1970 is long over). */
const SPELLINGS: readonly Delete[] = [
  (key, value) => ["DELIFEQ", key, value],
  (key, value) => ["DELEX", key, "IFEQ", value],
  (key, value) => ["SET", key, value, "IFEQ", value, "PXAT", "1"],
];

/** With the server's own commands. All servers that compare and delete also know `SET … IFEQ`. */
export class NativeCompare implements Compare {
  readonly #driver: Driver;
  readonly #delete: Delete;

  private constructor(driver: Driver, spelling: Delete) {
    this.#driver = driver;
    this.#delete = spelling;
  }

  /** Tries each spelling on a key that does not exist. Undefined where the server knows none. */
  static async detect(driver: Driver, prefix: string): Promise<NativeCompare | undefined> {
    const nowhere = clientKey(prefix, "probe");
    for (const spelling of SPELLINGS) {
      const known = await driver.send(spelling(nowhere, "x"), nowhere).then(
        () => true,
        (error: unknown) => {
          // A server that may not write now refuses the probe that is a SET before it looks at its words.
          if (/^(ERR|NOPERM|OOM|READONLY|MISCONF)/.test(messageOf(error))) return false;
          throw error;
        },
      );
      if (known) return new NativeCompare(driver, spelling);
    }
    return undefined;
  }

  async delete(key: string, value: string): Promise<boolean> {
    const reply = await this.#driver.send(this.#delete(key, value), key);
    return reply === "OK" || Number(reply) === 1;
  }

  async replace(key: string, value: string, next: string, ttl: number, proof?: Proof): Promise<boolean | Durability> {
    const command = ["SET", key, next, "IFEQ", value, "PX", String(ttl)];
    if (!proof) return (await this.#driver.send(command, key)) === "OK";
    const [reply, reached] = await sendProven(this.#driver, command, key, proof);
    return reply === "OK" && reached;
  }

  close(): void {}
}

/** A connection for WATCH, and the last of those calls that take turns on it. */
interface Watching {
  session?: Promise<Driver> | undefined;
  last: Promise<unknown>;
}

/**
 * With WATCH: read, compare, then act in a MULTI that the server drops if the key changed in between. On a connection
 * of its own to each server, because WATCH belongs to a connection, and one call at a time. A connection that breaks is
 * not mended, for a new one would have forgotten the WATCH; the next call opens another.
 */
export class WatchCompare implements Compare {
  readonly #driver: Driver;
  readonly #limit: TimeLimit;
  /** By server. */
  readonly #watching = new Map<string, Watching>();

  constructor(driver: Driver, limit: TimeLimit) {
    this.#driver = driver;
    this.#limit = limit;
  }

  async delete(key: string, value: string): Promise<boolean> {
    return Boolean(await this.#inTurn(key, value, ["DEL", key]));
  }

  replace(key: string, value: string, next: string, ttl: number, proof?: Proof): Promise<boolean | Durability> {
    return this.#inTurn(key, value, ["SET", key, next, "PX", String(ttl)], proof);
  }

  close(): void {
    for (const watching of this.#watching.values()) forget(watching);
  }

  #inTurn(key: string, value: string, command: string[], proof?: Proof): Promise<boolean | Durability> {
    const server = this.#driver.ownerOf(key);
    const watching = this.#watching.get(server) ?? { last: Promise.resolve() };
    this.#watching.set(server, watching);
    const compare = (): Promise<boolean | Durability> => {
      watching.session ??= this.#driver.session(key);
      return this.#limit.guard(compareAnd(watching.session, key, value, command, proof));
    };
    const run = watching.last.then(compare).catch(broken);
    watching.last = run.catch(async () => {
      forget(watching);
      // Where the key has moved to another server, its client finds out with the next command.
      if (this.#driver.isCluster) await this.#limit.guard(this.#driver.send(["EXISTS", key], key)).catch(() => {});
    });
    return run;
  }
}

function forget(watching: Watching): void {
  watching.session?.then((session) => session.close()).catch(() => {});
  watching.session = undefined;
}

async function compareAnd(
  opening: Promise<Driver>,
  key: string,
  value: string,
  command: string[],
  proof: Proof | undefined,
): Promise<boolean | Durability> {
  const session = await opening;
  for (;;) {
    const [, found] = await Promise.all([session.send(["WATCH", key]), session.send(["GET", key])]);
    if (found !== value) {
      await session.send(["UNWATCH"]);
      return false;
    }
    const replies = await (proof ? transactProven(session, [command], key, proof) : session.transaction([command]));
    // DEL tells how many, SET says OK; either has done what it was told.
    if (replies) return (replies[0] === "OK" || Number(replies[0]) === 1) && (!proof || (replies.at(-1) as Durability));
    // Dropped, which says no more than that the key was touched: its holder may have renewed it. So we look again.
  }
}

/** It is our own connection that broke, not the user's: the next call opens another. */
function broken(error: unknown): never {
  if (!(error instanceof SchemeError) || error.code !== "unreachable") throw error;
  throw new SchemeError(
    "unreachable",
    `The connection for WATCH broke: ${messageOf(error.cause)}.`,
    error.causes,
    true,
  );
}
