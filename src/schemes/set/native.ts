/** Compare with the server's own commands: no connection of our own, and those of one turn leave in one write. */
import type { Driver } from "../../drivers/driver.ts";
import { transactProven } from "../../drivers/proof.ts";
import { messageOf, schemeError } from "../../drivers/server-errors.ts";
import type { TimeLimit } from "../../drivers/time-limit.ts";
import type { Durability } from "../../durability.ts";
import type { SchemeError } from "../../errors.ts";
import { clientKey } from "../keys.ts";
import { Groups } from "./groups.ts";
import { Compare, groupOf, mayJoin, mayPass } from "./compare.ts";
import type { Compared, Comparison } from "./compare.ts";
import { inParts } from "./parts.ts";
import { integerOf, isDone } from "./replies.ts";

type Delete = (key: string, value: string) => string[];

/** How servers spell compare-and-delete, the best first: Valkey 9, Redis 8.4, Valkey 8.1 (to which 1970 is long over). */
const SPELLINGS: readonly Delete[] = [
  (key, value) => ["DELIFEQ", key, value],
  (key, value) => ["DELEX", key, "IFEQ", value],
  (key, value) => ["SET", key, value, "IFEQ", value, "PXAT", "1"],
];

/** All servers that compare and delete also know `SET … IFEQ`. */
export class NativeCompare extends Compare {
  readonly #driver: Driver;
  readonly #limit: TimeLimit;
  readonly #spelling: Delete;
  readonly #deletes: Groups<Comparison>;
  readonly #replaces: Groups<Comparison>;

  private constructor(driver: Driver, limit: TimeLimit, spelling: Delete) {
    super();
    this.#driver = driver;
    this.#limit = limit;
    this.#spelling = spelling;
    const together = (run: () => void): void => driver.together(run);
    this.#deletes = new Groups({ together, send: (batch) => this.#sendDeletes(batch), isAlone: () => false });
    // One at a time, because only then does an extension know for how long the key lives by those before.
    this.#replaces = new Groups({
      together,
      send: (batch) => inParts(batch, (some) => this.#sendReplaces(some)),
      isAlone: () => true,
      mayJoin,
      mayPass,
    });
  }

  /** Tries all spellings at once on a key that does not exist. Undefined if the server knows none. */
  static async detect(driver: Driver, limit: TimeLimit, prefix: string): Promise<NativeCompare | undefined> {
    const nowhere = clientKey(prefix, "probe");
    let asked: Promise<boolean>[] = [];
    driver.together(() => {
      asked = SPELLINGS.map((spelling) => knows(limit.guard(driver.send(spelling(nowhere, "x"), nowhere))));
    });
    const known = await Promise.all(asked);
    const spelling = SPELLINGS.find((_, i) => known[i]);
    return spelling && new NativeCompare(driver, limit, spelling);
  }

  prepare(): void {}

  close(): void {}

  protected add(comparison: Comparison): void {
    if (comparison.act === "delete") this.#deletes.add("", comparison);
    else this.#replaces.add(groupOf(this.#driver, comparison.key), comparison);
  }

  async #sendDeletes(items: readonly Comparison[]): Promise<void> {
    const replies = await this.#sendAll(items.map(({ key, value }) => this.#spelling(key, value)));
    items.forEach((item, i) => settle(item, () => isDeleted(replies[i])));
  }

  async #sendReplaces(items: readonly Comparison[]): Promise<void> {
    const lefts = await this.#sendAll(items.map(({ act, key }) => (act === "extend" ? ["PTTL", key] : undefined)));
    const commands = items.map(({ act, key, value, next, ttl }, i) => {
      const left = act === "extend" ? integerOf(lefts[i], "PTTL") : 0;
      return ["SET", key, next, "IFEQ", value, "PX", String(Math.max(ttl, left))];
    });
    const [{ key, proof }] = items as [Comparison];
    const replies = proof
      ? await this.#limit.guard(transactProven(this.#driver, commands, key, proof))
      : await this.#sendAll(commands);
    const reached = proof && (replies?.at(-1) as Durability);
    items.forEach((item, i) => settle(item, () => isDone(replies?.[i], "SET") && (reached ?? true)));
  }

  /** All in one write, and each for itself: one that failed is an Error in the result. Its key is its second word. */
  #sendAll(commands: readonly (readonly string[] | undefined)[]): Promise<unknown[]> {
    let replies: Promise<unknown>[] = [];
    this.#driver.together(() => {
      replies = commands.map((command) =>
        command
          ? this.#limit.guard(this.#driver.send(command, command[1])).catch((error: unknown) => error)
          : Promise.resolve(undefined),
      );
    });
    return Promise.all(replies);
  }
}

/** Whether the server knows the command. */
async function knows(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (error) {
    // A server that may not write now refuses the probe that is a SET before it looks at its words.
    if (/^(ERR|NOPERM|OOM|READONLY|MISCONF)/.test(messageOf((error as SchemeError).cause))) return false;
    throw error;
  }
}

/** A key of another type does not hold the value. */
function settle(item: Comparison, read: () => Compared): void {
  try {
    item.resolve(read());
  } catch (error) {
    if (schemeError(error).code === "wrong-type") item.resolve(false);
    else item.reject(error);
  }
}

/** The spellings answer 1 or 0, or OK or null. */
function isDeleted(reply: unknown): boolean {
  return String(reply) === "1" || (String(reply) !== "0" && isDone(reply, "SET"));
}
