/**
 * Guards for what a lock protects: they refuse the late write of a holder that was paused past its lease. A guard
 * remembers the largest fence that has written, and whose it was; a smaller one is refused, and an equal one is
 * accepted from the same holder only. (Kleppmann's fencing tokens:
 * https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html)
 */
import { systemClock } from "./clock.ts";
import { runScript, TimeLimit } from "./driver.ts";
import type { Driver } from "./driver.ts";
import { Connections } from "./drivers/connect.ts";
import { driverFor } from "./drivers/index.ts";
import type { RedisClient } from "./drivers/index.ts";
import { LockError, quote } from "./errors.ts";
import { guardKey } from "./keys.ts";
import * as lua from "./lua.generated.ts";
import { checkFenced, checkRedisWrite, duration } from "./options.ts";
import type { Fenced } from "./options.ts";

export type { Fenced } from "./options.ts";

/** The write came too late: another holder, with a larger fence, has been there. Nothing was written. */
export class StaleFenceError extends LockError {
  override readonly name = "StaleFenceError";
  /** The fence of the write that was refused. */
  readonly fence: number;
  /** The largest fence that has written; undefined where the resource does not tell. */
  readonly latest: number | undefined;

  constructor(what: string, fence: number, latest?: number) {
    const by = latest === undefined ? "a later holder" : `the holder with fence ${latest}`;
    super(
      "stale",
      `The write to ${quote(what)} with fence ${fence} was refused: ${by} has written there. Stop the work.`,
    );
    this.fence = fence;
    this.latest = latest;
  }
}

export interface RedisFenceOptions {
  /**
   * For how many milliseconds after the last guarded write of a key its fence is remembered (default a day, at least
   * 1000). A holder that was paused for longer is no longer refused.
   */
  keepFor?: number | undefined;
}

/** Guarded writes of data on a Redis or Valkey server; it need not be the one that keeps the locks. */
export class RedisFence {
  readonly #connections: Connections | undefined;
  readonly #driver: Driver;
  readonly #limit: TimeLimit;
  readonly #keepFor: number;

  /**
   * @param client as of a manager: a client, which stays yours to close, or a URL
   * @throws TypeError or RangeError for a client of an unknown kind, a URL that cannot be used or options out of bounds
   */
  constructor(client: RedisClient | string, options: RedisFenceOptions = {}) {
    this.#keepFor = duration(options.keepFor, "keepFor", 1_000) ?? 86_400_000;
    this.#connections = typeof client === "string" ? new Connections(client) : undefined;
    this.#driver = driverFor(this.#connections?.client ?? client);
    this.#limit = new TimeLimit(systemClock, this.#driver);
    this.#connections?.open();
  }

  /**
   * Carry out a command that writes to one key, in one step with the comparison. Every write of the key must go
   * through a guard. The fence is kept beside the key, in the same slot.
   *
   *     await fence.write(lock, "HSET", "invoice:42", "total", 100);
   *
   * @returns the command's reply
   * @throws StaleFenceError when a later holder has written; TypeError; SchemeError when the server failed
   */
  async write(by: Fenced, command: string, key: string, ...args: (string | number)[]): Promise<unknown> {
    const { fence, token } = checkFenced(by);
    const words = checkRedisWrite(command, key, args).map((word) => `${Buffer.byteLength(word)}:${word}`);
    const full = this.#driver.keyPrefix + key;
    const item = {
      keys: [full, guardKey(full)] as [string, string],
      args: [String(fence), token, String(this.#keepFor), words.join("")] as [string, string, string, string],
    };
    const replies = await this.#limit.guard(runScript(this.#driver, lua.guard, { keys: [], args: [] }, item));
    const [done, reply] = replies[0] as [number, unknown];
    if (Number(done) !== 1) throw new StaleFenceError(key, fence, Number(reply));
    return reply;
  }

  /** Take our listeners off the client, which stays open; close the connection for a URL. */
  close(): void {
    this.#limit.close();
    this.#driver.close();
    this.#connections?.close();
  }
}

/** A parameterised statement, or a part of one: what node-postgres' `query()` takes. */
export interface Sql {
  readonly text: string;
  readonly values: readonly unknown[];
}

const FRAGMENT = Symbol("fragment");

interface Fragment extends Sql {
  readonly [FRAGMENT]: { readonly strings: readonly string[]; readonly values: readonly unknown[] };
}

/**
 * A statement from a template: each value becomes a parameter, another template becomes a part of this one.
 *
 *     sql`UPDATE invoice SET total = ${total}, ${stamp(lock)} WHERE id = ${id} AND ${notStale(lock)}`
 */
export function sql(strings: readonly string[], ...values: readonly unknown[]): Sql {
  const texts = [strings[0] ?? ""];
  const flat: unknown[] = [];
  values.forEach((value, i) => {
    const inner = isFragment(value) ? value[FRAGMENT] : { strings: ["", ""], values: [value] };
    texts.push(`${texts.pop()}${inner.strings[0]}`, ...inner.strings.slice(1));
    texts.push(`${texts.pop()}${strings[i + 1]}`);
    flat.push(...inner.values);
  });
  const text = texts.reduce((before, after, i) => `${before}$${i}${after}`);
  const fragment: Fragment = { text, values: flat, [FRAGMENT]: { strings: texts, values: flat } };
  return fragment;
}

function isFragment(value: unknown): value is Fragment {
  return typeof value === "object" && value !== null && FRAGMENT in value;
}

/** The columns of a guarded row: a bigint and a text, both null in a row that nobody has written under a lock. */
export interface FenceColumns {
  readonly fence: string;
  readonly token: string;
}

const COLUMNS: FenceColumns = { fence: "fence", token: "fence_token" };

/** For WHERE: true of rows that no later holder has written. An UPDATE that changes no row came too late. */
export function notStale(by: Fenced, columns: FenceColumns = COLUMNS): Sql {
  const { fence, token } = checkFenced(by);
  const [f, t] = [identifier(columns.fence), identifier(columns.token)];
  return sql([`(${f} IS NULL OR ${f} < `, ` OR (${f} = `, ` AND ${t} = `, "))"], fence, fence, token);
}

/** For SET: notes who writes. Belongs into every guarded UPDATE, beside `notStale`. */
export function stamp(by: Fenced, columns: FenceColumns = COLUMNS): Sql {
  const { fence, token } = checkFenced(by);
  return sql([`${identifier(columns.fence)} = `, `, ${identifier(columns.token)} = `, ""], fence, token);
}

/** The table that `passFence` keeps: a row for each lock that was ever used so. */
export const FENCE_TABLE =
  "CREATE TABLE IF NOT EXISTS holdfast_fence (lock text PRIMARY KEY, fence bigint NOT NULL, token text NOT NULL)";

/**
 * The first statement of a transaction that writes under a lock, whatever it writes. It gives one row, or none when a
 * later holder has passed: then roll back. Until the transaction ends nobody else passes the same lock.
 */
export function passFence(by: Fenced & { readonly name: string }): Sql {
  const { fence, token } = checkFenced(by);
  return sql`INSERT INTO holdfast_fence AS f (lock, fence, token) VALUES (${by.name}, ${fence}, ${token})
    ON CONFLICT (lock) DO UPDATE SET fence = excluded.fence, token = excluded.token
    WHERE f.fence < excluded.fence OR (f.fence = excluded.fence AND f.token = excluded.token)
    RETURNING fence`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
