import type { Clock } from "../../clock.ts";
import type { NodeKeys } from "../keys.ts";

/** This many are kept; what is beyond goes with its ttl. */
const MOST = 1_000;

/** A token that a node must drop, unless it has ended by then. */
export interface Debt {
  readonly keys: NodeKeys;
  /** As the script `release` takes them. */
  readonly args: readonly string[];
  readonly token: string;
  readonly until: number;
}

/** What a node is to be told that has not heard of it: a bounded list. */
export class Debts {
  readonly #clock: Clock;
  readonly #debts = new Map<string, Debt>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#debts.size;
  }

  /** @returns whether it is kept */
  add(debt: Debt): boolean {
    if (this.#debts.size >= MOST || debt.until <= this.#clock.now()) return false;
    this.#debts.set(debt.token, debt);
    return true;
  }

  /** Those that have not ended by themselves. None is kept any more. */
  take(): Debt[] {
    const now = this.#clock.now();
    const debts = [...this.#debts.values()].filter(({ until }) => until > now);
    this.#debts.clear();
    return debts;
  }
}
