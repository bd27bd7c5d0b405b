/**
 * Who waits, and whether each is served: nobody may wait for long for a lock that nobody holds, and in one process
 * nobody may be overtaken.
 */
import type { World } from "../world/world.ts";
import type { Operation } from "../plan/plan.ts";
import type { Attempt } from "./attempt.ts";
import type { Keeping } from "./keeping.ts";
import type { Verdict } from "./verdict.ts";

/** How often it is looked whether anybody waits in vain, in milliseconds. */
const LOOK_EVERY = 1_000;
/** How long a timer, and whatever runs before it, may be late in a process that nothing keeps from its work. */
const LATE = 1_000;
/** How long after it was settled what an attempt has sent may arrive, if nobody waits for the answer any more. */
const LATEST = 12_000;

export interface WaitTerms {
  /** For how long a live waiter may wait at most for a lock that nobody has held since then, in milliseconds. */
  bound(attempt: Attempt, since: number): number;
  /** Whether one process serves its own in the order in which they asked. */
  readonly isOrdered: boolean;
  /** Whether something explains that one of a process was served before an older one in another place. */
  mayHaveMissed(older: Attempt, younger: Attempt): boolean;
  /** Since when nothing has gone wrong for a client, in the world's time; Infinity if something does now. */
  quietSince(attempt: Attempt): number;
}

export class Waits {
  readonly #world: World;
  readonly #verdict: Verdict;
  readonly #keeping: Keeping;
  readonly #terms: WaitTerms;
  readonly #open = new Set<Attempt>();
  readonly #blamed = new Set<Attempt>();
  /** Those by force that were settled lately: what a manager sent before it was closed still arrives. */
  readonly #forced: Attempt[] = [];
  /** When a request that shares turns last began, by process and lock. */
  readonly #turns = new Map<string, number>();

  constructor(world: World, verdict: Verdict, keeping: Keeping, terms: WaitTerms) {
    this.#world = world;
    this.#verdict = verdict;
    this.#keeping = keeping;
    this.#terms = terms;
  }

  /** What programs have begun and not ended. */
  get open(): readonly Attempt[] {
    return [...this.#open].filter(({ by }) => !by.process.isDead);
  }

  /** Whether a program of this process takes that lock by force just now. */
  isForcing(process: string, lock: string): boolean {
    const isForcing = ({ operation, by }: Attempt): boolean =>
      isForce(operation) && by.process.name === process && operation.locks.includes(lock);
    const isLate = ({ settledAt = 0 }: Attempt): boolean => this.#world.now - settledAt > LATEST;
    while (this.#forced[0] && isLate(this.#forced[0])) this.#forced.shift();
    return [...this.#open, ...this.#forced].some(isForcing);
  }

  asked(attempt: Attempt): void {
    this.#open.add(attempt);
  }

  begun(attempt: Attempt): void {
    if (++attempt.begun > 1)
      this.#verdict.fail("runs once", `${attempt.label} of ${attempt.by.name} ran ${attempt.begun} times`);
    if (!this.#terms.isOrdered) return;
    for (const other of this.#open) {
      if (other.id >= attempt.id) break;
      if (!isOvertaken(other, attempt) || this.#mayOvertake(attempt, other)) continue;
      this.#verdict.fail("order in a process", `${other.label} of ${other.by.name} was overtaken by ${attempt.label}`);
    }
    if (standsAlone(attempt)) return;
    for (const lock of attempt.operation.locks) this.#turns.set(turnOf(attempt, lock), attempt.by.process.time);
  }

  /**
   * A request may be served before an older one in another place if that one did not come when it was let in; and if it
   * stands alone, also if a turn came since and did not reach that one. Who waits in a turn that has lost its lock waits on
   * until that is known.
   */
  #mayOvertake(attempt: Attempt, other: Attempt): boolean {
    const [lock = ""] = other.operation.locks;
    if (this.#keeping.takenAt(lock) >= other.askedAt) return true;
    if (areAlike(attempt, other)) return false;
    if (this.#terms.mayHaveMissed(other, attempt)) return true;
    if (!standsAlone(attempt) || standsAlone(other)) return false;
    return (this.#turns.get(turnOf(other, lock)) ?? -Infinity) >= other.askedAt;
  }

  settled(attempt: Attempt): void {
    attempt.settledAt = this.#world.now;
    if (isForce(attempt.operation)) this.#forced.push(attempt);
    this.#open.delete(attempt);
  }

  /** Look now and then, until the end. */
  watch(end: number): void {
    const next = this.#world.now + LOOK_EVERY;
    if (next > end) return;
    this.#world.at(next, () => {
      this.#look();
      this.watch(end);
    });
  }

  #look(): void {
    const { now } = this.#world;
    this.#keeping.watch();
    for (const attempt of this.#open) {
      if (this.#blamed.has(attempt)) continue;
      this.#lookAtTime(attempt);
      if (!attempt.isWaiting) continue;
      const [lock = ""] = attempt.operation.locks;
      const free = this.#keeping.freeSince(lock);
      const since = Math.max(free, attempt.askedAt, this.#terms.quietSince(attempt));
      if (now - since <= this.#terms.bound(attempt, since)) continue;
      this.#blamed.add(attempt);
      const waited = ((now - since) / 1_000).toFixed(1);
      this.#verdict.fail(
        "service",
        `${attempt.by.name}${attempt.label} has waited ${waited} s for ${lock}, which nobody holds`,
      );
    }
  }

  /** A wait that its program has limited, or given up, ends without a word of the server's. */
  #lookAtTime(attempt: Attempt): void {
    const { now } = this.#world;
    const { by, operation, begun, askedAt, abortedAt = Infinity } = attempt;
    const { process } = by;
    // The clock of a process that has slept was behind for a time that is not known here.
    if (begun > 0 || by.isClosed || process.hasSlept || !process.isRunning) return;
    // Without any time it is over with the server's answer.
    const time = operation.waitTimeout || Infinity;
    const end = Math.min(abortedAt, process.timeOf(process.local(askedAt) + time));
    const since = Math.max(end, this.#terms.quietSince(attempt));
    if (now - since - process.blockedBetween(since, now) <= LATE) return;
    this.#blamed.add(attempt);
    const over = ((now - end) / 1_000).toFixed(1);
    this.#verdict.fail("service", `${by.name}${attempt.label} waits, although its time was over ${over} s ago`);
  }
}

/** Whether they are alike, and the other asked first and waits still. */
function isOvertaken(other: Attempt, attempt: Attempt): boolean {
  if (other.by !== attempt.by || !other.isWaiting || !isPlain(other) || !isPlain(attempt)) return false;
  return other.operation.locks[0] === attempt.operation.locks[0] && other.askedAt < attempt.askedAt;
}

function isForce({ do: verb }: Operation): boolean {
  return verb === "steal" || verb === "force";
}

function isPlain({ operation }: Attempt): boolean {
  const { do: verb, mode = "exclusive", locks } = operation;
  return (verb === "request" || verb === "acquire") && mode === "exclusive" && locks.length === 1;
}

/** Whether it takes a place in the queue for itself, and no turn. */
function standsAlone({ operation, by }: Attempt): boolean {
  return by.turn === 1 || operation.watches === true || operation.maxQueue !== undefined;
}

/** Whether they share a place in the queue. */
function areAlike(one: Attempt, other: Attempt): boolean {
  if (standsAlone(one) || standsAlone(other)) return false;
  return one.operation.ttl === other.operation.ttl && one.operation.label === other.operation.label;
}

function turnOf({ by }: Attempt, lock: string): string {
  return `${by.id} ${lock}`;
}
