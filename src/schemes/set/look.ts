/** Looks at locks without touching them, many at a time. */
import type { Driver } from "../../drivers/driver.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import type { TimeLimit } from "../../drivers/time-limit.ts";
import { lockKey } from "../keys.ts";
import type { Homes } from "../keys.ts";
import { TOKEN } from "../scheme.ts";
import type { HolderState, LockState } from "../scheme.ts";
import { integerOf, listOf, textOf } from "./replies.ts";

/** How many locks are looked at in one MULTI, and how many MULTIs are out at a time. */
const MOST_NAMES = 100;
const MOST_OUT = 16;

export class Looking {
  readonly #driver: Driver;
  readonly #limit: TimeLimit;
  readonly #prefix: string;
  readonly #homes: Homes;

  constructor(driver: Driver, limit: TimeLimit, prefix: string, homes: Homes) {
    this.#driver = driver;
    this.#limit = limit;
    this.#prefix = prefix;
    this.#homes = homes;
  }

  /** @throws SchemeError `wrong-type` if the key holds no lock of this scheme */
  async one(name: string): Promise<LockState> {
    const [state] = await this.#together([name]);
    if (state) return state;
    const key = lockKey(this.#prefix, name);
    await this.#limit.guard(this.#driver.send(["GET", key], key));
    throw schemeError(new Error("TRYAGAIN the key changed meanwhile"));
  }

  /**
   * Leaves out keys that are not locks of this scheme. Each lock is read at one instant, but not all at the same
   * instant.
   */
  async all(names: readonly string[]): Promise<LockState[]> {
    const parts = this.#partsOf(names);
    const states: (LockState | undefined)[] = [];
    for (let from = 0; from < parts.length; from += MOST_OUT) {
      const seen = await Promise.all(parts.slice(from, from + MOST_OUT).map((each) => this.#together(each)));
      for (const part of seen) states.push(...part);
    }
    return states.filter((state) => state !== undefined);
  }

  /** Locks that one call can look at. */
  #partsOf(names: readonly string[]): string[][] {
    const open = new Map<object, string[]>();
    const parts: string[][] = [];
    for (const name of names) {
      const home = this.#homes.of(name);
      let part = open.get(home);
      if (!part || part.length === MOST_NAMES) {
        parts.push((part = []));
        open.set(home, part);
      }
      part.push(name);
    }
    return parts;
  }

  /** Undefined for a key that holds no string. */
  async #together(names: readonly string[]): Promise<(LockState | undefined)[]> {
    const keys = names.map((name) => lockKey(this.#prefix, name));
    const commands = [["MGET", ...keys], ...keys.map((key) => ["PTTL", key])];
    const replies = await this.#limit.guard(this.#driver.transaction(commands, keys[0]));
    const [found, ...lefts] = listOf(replies, "EXEC", commands.length);
    const values = listOf(found, "MGET", keys.length);
    return names.map((lock, i) => {
      const value = textOf(values[i], "MGET");
      const left = integerOf(lefts[i], "PTTL");
      if (value !== null) return { lock, mode: "exclusive", holders: [holderIn(value, left)], waiters: [] };
      return left === -2 ? { lock, mode: undefined, holders: [], waiters: [] } : undefined;
    });
  }
}

/** Our own holders write their token; those of the scheme `lua`, and locks that are kept, have more behind it. */
function holderIn(value: string, left: number): HolderState {
  const remaining = left < 0 ? undefined : left;
  const [token = "", fence, ...rest] = value.split("#");
  return TOKEN.test(token)
    ? { token, fence: fence === undefined ? undefined : Number(fence), remaining, label: rest.join("#") }
    : { token: undefined, fence: undefined, remaining, label: "", foreign: value };
}
