import { systemClock } from "../clock.ts";
import type { Driver } from "../drivers/driver.ts";
import { driverFor } from "../drivers/index.ts";
import type { RedisClient } from "../drivers/index.ts";
import { runScript } from "../drivers/run-script.ts";
import { schemeError } from "../drivers/server-errors.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import { Connections } from "../drivers/url/connect.ts";
import { LockError, quote } from "../errors.ts";
import type { SchemeError } from "../errors.ts";
import { dictionary, duration, onlyAmong } from "../options/checks.ts";
import { guardKey } from "../schemes/keys.ts";
import { checkReply, readList, readNumber, readText } from "../drivers/replies.ts";
import { checkFenced, checkRedisWrite } from "./checks.ts";
import type { Fenced } from "./checks.ts";
import * as lua from "./scripts.generated.ts";
import { byteLength } from "../runtime.ts";

/** The write came too late: a later holder, with a larger fence, has already written. Nothing was written. */
export class StaleFenceError extends LockError {
  override readonly name = "StaleFenceError";
  /** The fence of the write that was refused. */
  readonly fence: number;
  /** The largest fence that has written; undefined if the resource does not report it. */
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

const FENCE_OPTIONS = new Set(["keepFor"]);

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
  constructor(client: RedisClient | string, options?: RedisFenceOptions) {
    const given = dictionary(options, "options");
    onlyAmong(given, FENCE_OPTIONS);
    this.#keepFor = duration(given["keepFor"], "keepFor", 1_000) ?? 86_400_000;
    this.#connections = typeof client === "string" ? new Connections(client) : undefined;
    this.#driver = driverFor(this.#connections?.client ?? client);
    this.#limit = new TimeLimit(systemClock, this.#driver);
    this.#connections?.open();
  }

  /**
   * Runs a command that writes to one key, in one step with the comparison. Every write to the key must go
   * through a guard. The fence is stored beside the key, in the same slot; a command that fails leaves it unchanged.
   *
   *     await fence.write(lock, "HSET", "invoice:42", "total", 100);
   *
   * @param args strings and numbers, at most 7,900 of them: servers limit what a script can pass on
   * @returns the command's reply
   * @throws StaleFenceError if a later holder has written; TypeError or RangeError for what cannot be sent; SchemeError if
   *   the server failed, or refused the command
   */
  async write(by: Fenced, command: string, key: string, ...args: (string | number)[]): Promise<unknown> {
    const { fence, token } = checkFenced(by);
    const words = checkRedisWrite(command, key, args).map((word) => `${byteLength(word)}:${word}`);
    const full = this.#driver.keyPrefix + key;
    const item = {
      keys: [full, guardKey(full)] as [string, string],
      args: [String(fence), token, String(this.#keepFor), words.join("")] as [string, string, string, string],
    };
    const replies = await this.#limit.guard(runScript(this.#driver, lua.guard, { keys: [], args: [] }, item));
    const [done, reply] = readList(checkReply(replies[0]));
    const outcome = readNumber(done);
    if (outcome === 1) return reply;
    if (outcome === 2) throw refusal(readText(reply));
    throw new StaleFenceError(key, fence, readNumber(reply));
  }

  /** Removes our listeners from the client, which stays open; closes the connection for a URL. */
  close(): void {
    this.#limit.close();
    this.#driver.close();
    this.#connections?.close();
  }
}

/** The server's answer to the command. Redis before 7 adds where in the script, and sometimes leaves out the code. */
function refusal(text: string): SchemeError {
  const said = text.replace(/^@user_script: ?\d+: /, "");
  return schemeError(new Error(/^[A-Z]+ /.test(said) ? said : `ERR ${said}`));
}
