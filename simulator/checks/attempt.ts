import type { Operation } from "../plan/plan.ts";
import type { Process } from "../world/process.ts";

/** Who asks: a manager in a process. */
export interface Asker {
  readonly name: string;
  readonly process: Process;
  readonly turn: number;
}

/** One request of a program, from its asking to its outcome. */
export class Attempt {
  readonly id: number;
  readonly by: Asker;
  readonly lock: string;
  readonly operation: Operation;
  /** Times of the world. */
  readonly askedAt: number;
  abortedAt: number | undefined;
  settledAt: number | undefined;
  /** How many times its code has begun. */
  begun = 0;

  constructor(id: number, by: Asker, lock: string, operation: Operation, askedAt: number) {
    this.id = id;
    this.by = by;
    this.lock = lock;
    this.operation = operation;
    this.askedAt = askedAt;
  }

  /** It may wait in line; else it is answered at once. */
  get waits(): boolean {
    const { do: verb, waitTimeout } = this.operation;
    return verb !== "try" && verb !== "steal" && verb !== "once" && waitTimeout !== 0;
  }

  get isWaiting(): boolean {
    return this.waits && this.begun === 0 && this.settledAt === undefined && !this.by.process.isDead;
  }

  get label(): string {
    return `#${this.id}`;
  }
}

/** How the server lost a grant under a holder who had every right to believe in it. */
export type Cause = "stolen" | "memory lost" | "clock jumped" | "deleted" | "clock stood still";

export interface HoldTerms {
  readonly attempt: Attempt;
  readonly lock: string;
  readonly mode: "exclusive" | "shared";
  readonly permits: number;
  readonly fence: number;
  readonly token: string;
  /** Milliseconds that its process believes are left. Undefined if it only knows whether it holds. */
  readonly remaining: (() => number) | undefined;
  readonly held: () => boolean;
}

/** The time in which a program believes that it holds. */
export class Hold {
  readonly terms: HoldTerms;
  readonly process: Process;
  readonly beganAt: number;
  /** On its process's clock. */
  deadline = Infinity;
  /** On the world's, once its program has given it back, or heard that it is lost. */
  endedAt = Infinity;
  excuse: { readonly cause: Cause; readonly at: number } | undefined;
  /** From then on it has had the chance to hear that it is lost. */
  heardAt = Infinity;

  constructor(terms: HoldTerms, beganAt: number) {
    this.terms = terms;
    this.process = terms.attempt.by.process;
    this.beganAt = beganAt;
  }

  get key(): string {
    return keyOf(this.terms);
  }

  get label(): string {
    return `${this.terms.attempt.by.name}${this.terms.attempt.label}`;
  }

  /** Whether its program would be told that it holds if it asked at that time. */
  believes(time: number): boolean {
    if (time >= this.endedAt || this.process.isDead) return false;
    if (this.terms.remaining) return this.process.local(time) < this.deadline;
    return this.process.inside(this.terms.held);
  }

  conflictsWith(other: Hold): boolean {
    if (this === other || this.terms.lock !== other.terms.lock) return false;
    return this.terms.mode === "exclusive" || other.terms.mode === "exclusive";
  }

  /** Learns when its process will stop believing. Asks only if that changes nothing: a lease that is over says so once. */
  sample(mayBeLonger: boolean): boolean {
    const { remaining } = this.terms;
    if (!remaining || this.process.isDead || this.endedAt < Infinity) return false;
    const now = this.process.localNow;
    if (!mayBeLonger && now >= this.deadline) return false;
    const left = this.process.inside(remaining);
    if (left <= 0) {
      this.deadline = Math.min(this.deadline, now);
      return false;
    }
    const isLonger = now + left > this.deadline + 1e-6;
    const isFirst = this.deadline === Infinity;
    this.deadline = now + left;
    return isLonger || isFirst;
  }
}

/** Names a grant for ever. */
export function keyOf({ lock, token, fence }: { lock: string; token: string; fence: number }): string {
  return `${lock} ${token} ${fence}`;
}
