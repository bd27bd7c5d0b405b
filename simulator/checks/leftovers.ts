/** What is left on servers of those who have given up: nothing, a while later, unless something went wrong. */
import type { LockRecord } from "../server/states.ts";
import type { World } from "../world/world.ts";
import type { Verdict } from "./verdict.ts";

/** What has been given up is gone after that time: a call that fails is repeated, and a node heard again. */
const GONE_AFTER = 10_000;

export interface LeftoverTerms {
  /** Whether a manager of that id is alive, and has a request for the lock that has not ended. */
  isBusyWith(id: string, lock: string): boolean;
  /** Whether the manager of that id, or its process, has come to its end. */
  isGone(id: string): boolean;
  /** Whether anything went wrong for that manager, or at the servers, since then. */
  isTroubled(id: string, since: number): boolean;
  alias(text: string): string;
}

export class Leftovers {
  readonly #world: World;
  readonly #verdict: Verdict;
  readonly #terms: LeftoverTerms;
  /** When each was seen first that nobody wants any more. */
  readonly #seen = new Map<string, number>();
  /** What a server has again because it was restored: nobody will release that a second time. */
  readonly #restored = new Set<string>();

  constructor(world: World, verdict: Verdict, terms: LeftoverTerms) {
    this.#world = world;
    this.#verdict = verdict;
    this.#terms = terms;
  }

  /** A server runs again, with what it once knew. @param where its name */
  restored(where: string, records: ReadonlyMap<string, LockRecord>): void {
    for (const [lock, record] of records)
      for (const token of tokensIn(record)) this.#restored.add(`${where} ${lock} ${token}`);
  }

  /** @param where the server's name */
  look(where: string, lock: string, record: LockRecord): void {
    const { now } = this.#world;
    if (record.kind === "foreign") return;
    for (const token of tokensIn(record)) {
      const id = token.slice(0, token.indexOf(":"));
      const key = `${where} ${lock} ${token}`;
      if (this.#restored.has(key)) continue;
      const since = this.#seen.get(key) ?? now;
      if (
        this.#terms.isGone(id) ||
        this.#terms.isBusyWith(id, lock) ||
        this.#terms.isTroubled(id, since - GONE_AFTER)
      ) {
        this.#seen.delete(key);
        continue;
      }
      this.#seen.set(key, since);
      if (now < since + GONE_AFTER) continue;
      this.#seen.set(key, Infinity);
      const text = `${this.#terms.alias(token)} has given up ${lock}, and ${where} has not heard of it`;
      this.#verdict.fail("nothing is left", text);
    }
  }
}

function tokensIn({ holders, queue }: LockRecord): string[] {
  return [...holders.map(({ token }) => token), ...queue.map(([queued]) => queued)];
}
