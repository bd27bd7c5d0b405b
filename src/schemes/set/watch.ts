/**
 * Compare with WATCH: read, compare, and act in a MULTI that the server drops if a key has changed in between. It does
 * so for all keys at once that are asked for in one turn of the event loop, and for those that come while such a batch
 * is out: two round trips, however many there are. Only if EXEC fails, the batch is taken apart.
 */
import type { Driver } from "../../drivers/driver.ts";
import { transactProven } from "../../drivers/proof.ts";
import type { TimeLimit } from "../../drivers/time-limit.ts";
import type { Durability } from "../../durability.ts";
import { SchemeError } from "../../errors.ts";
import { Groups } from "./groups.ts";
import { Compare, groupOf, mayJoin, mayPass } from "./compare.ts";
import type { Comparison } from "./compare.ts";
import { inParts } from "./parts.ts";
import { integerOf, isDone, listOf, textOf } from "./replies.ts";
import { Sessions } from "./sessions.ts";

/** How often a key may change between the look and the act before the comparison fails. */
const MOST_ATTEMPTS = 30;

/** A comparison that has found its value, and for how long the key lives (only if it is to be extended). */
interface Equal {
  readonly item: Comparison;
  readonly left: number;
}

export class WatchCompare extends Compare {
  readonly #driver: Driver;
  readonly #limit: TimeLimit;
  readonly #sessions: Sessions;
  readonly #groups: Groups<Comparison>;

  constructor(driver: Driver, limit: TimeLimit) {
    super();
    this.#driver = driver;
    this.#limit = limit;
    this.#sessions = new Sessions(driver);
    this.#groups = new Groups({
      together: (run) => run(),
      send: (batch) => inParts(batch, (some) => this.#compare(some)),
      isAlone: () => true,
      mayJoin,
      mayPass,
    });
  }

  prepare(key: string): void {
    this.#sessions.open(key);
  }

  close(): void {
    this.#sessions.close();
  }

  protected add(comparison: Comparison): void {
    this.#groups.add(groupOf(this.#driver, comparison.key), comparison);
  }

  async #compare(items: readonly Comparison[]): Promise<void> {
    const unequal = await this.#inSession(items);
    const missed = await this.#missed(unequal);
    if (missed.length > 0) {
      this.#sessions.renew();
      const stillMissed = await this.#missed(await this.#inSession(missed));
      if (stillMissed.length > 0) throw elsewhere();
    }
    // What has been resolved stays as it is.
    for (const item of unequal) item.resolve(false);
  }

  /** Settles those that are equal, and returns the others. */
  #inSession(items: readonly Comparison[]): Promise<Comparison[]> {
    const [{ key }] = items as [Comparison];
    return this.#limit.guard(this.#sessions.use(key, (session) => this.#limit.guard(compareOn(session, items))));
  }

  /**
   * Those that are equal if the client looks. Our connection looks into another database then, because the client's
   * user has moved it with SELECT.
   */
  async #missed(items: readonly Comparison[]): Promise<Comparison[]> {
    if (items.length === 0) return [];
    const keys = items.map(({ key }) => key);
    const reply = await this.#limit.guard(this.#driver.send(["MGET", ...keys], keys[0]));
    const values = listOf(reply, "MGET", keys.length);
    return items.filter(({ value }, i) => textOf(values[i], "MGET") === value);
  }
}

/** Settles those that are equal, and returns the others. */
async function compareOn(session: Driver, items: readonly Comparison[], attempt = 1): Promise<Comparison[]> {
  const { equal, unequal } = await look(session, items);
  if (equal.length === 0) {
    await session.send(["UNWATCH"]);
    return unequal;
  }
  if (await act(session, equal)) return unequal;
  // Some key was touched, perhaps only by its holder, which renewed it.
  if (attempt === MOST_ATTEMPTS) throw restless(equal);
  const again = equal.map(({ item }) => item);
  const half = again.length >> 1;
  const parts = half === 0 ? [again] : [again.slice(0, half), again.slice(half)];
  for (const part of parts) unequal.push(...(await compareOn(session, part, attempt + 1)));
  return unequal;
}

/** Watches all keys. Nobody but us extends them, in one batch after the other: that is why PTTL needs no WATCH. */
async function look(session: Driver, items: readonly Comparison[]): Promise<{ equal: Equal[]; unequal: Comparison[] }> {
  const keys = items.map(({ key }) => key);
  let asked: Promise<unknown>[] = [];
  session.together(() => {
    asked = items.map((item) => (item.act === "extend" ? session.send(["PTTL", item.key]) : Promise.resolve(-1)));
    asked.push(session.send(["WATCH", ...keys]), session.send(["MGET", ...keys]));
  });
  const replies = await Promise.all(asked);
  const values = listOf(replies.at(-1), "MGET", keys.length);
  const equal: Equal[] = [];
  const unequal: Comparison[] = [];
  items.forEach((item, i) => {
    if (textOf(values[i], "MGET") !== item.value) unequal.push(item);
    else equal.push({ item, left: integerOf(replies[i], "PTTL") });
  });
  return { equal, unequal };
}

/** Settles all; false if nothing was done, because a key was touched. */
async function act(session: Driver, equal: readonly Equal[]): Promise<boolean> {
  const deleted = equal.filter(({ item }) => item.act === "delete");
  const kept = equal.filter(({ item }) => item.act !== "delete");
  const commands = kept.map(({ item: { key, next, ttl }, left }) => setFor(key, next, Math.max(ttl, left)));
  if (deleted.length > 0) commands.push(["DEL", ...deleted.map(({ item }) => item.key)]);
  const [{ item: first }] = equal as [Equal];
  const { key, proof } = first;
  const replies = await (proof ? transactProven(session, commands, key, proof) : session.transaction(commands));
  if (!replies) return false;
  const reached = proof && (replies.at(-1) as Durability);
  kept.forEach(({ item }, i) => {
    try {
      item.resolve(isDone(replies[i], "SET") && (reached ?? true));
    } catch (error) {
      item.reject(error);
    }
  });
  if (deleted.length > 0) integerOf(replies[kept.length], "DEL");
  for (const { item } of deleted) item.resolve(true);
  return true;
}

function setFor(key: string, value: string, ttl: number): string[] {
  return ["SET", key, value, "PX", String(ttl)];
}

function restless(equal: readonly Equal[]): SchemeError {
  const message = `The key ${JSON.stringify(equal[0]?.item.key)} changes all the time. Try again.`;
  return new SchemeError("server", message, [], true);
}

function elsewhere(): SchemeError {
  return new SchemeError(
    "server",
    'The scheme "set" needs a second connection to this server, and cannot find out which database the client has ' +
      "selected (CLIENT INFO). Name the database when you make the client, for example new Redis({ db: 5 }).",
    [],
    true,
  );
}
