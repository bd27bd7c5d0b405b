import type { Operation } from "../plan/plan.ts";
import type { Process } from "../world/process.ts";

/** Who asks: a manager in a process. */
export interface Asker {
  readonly name: string;
  readonly process: Process;
  /** The id of its manager, with which its tokens begin. */
  readonly id: string;
  readonly turn: number;
  /** How long a message to a server or back takes at most, if nothing slows it. */
  readonly latency: number;
  /** Its manager has been closed. */
  isClosed: boolean;
}

/** One request of a program, from its asking to its outcome. */
export class Attempt {
  readonly id: number;
  readonly by: Asker;
  readonly operation: Operation;
  /** Times of the world. */
  readonly askedAt: number;
  abortedAt: number | undefined;
  settledAt: number | undefined;
  /** How many times its code has begun. */
  begun = 0;
  /** What it has held. */
  readonly holds: Hold[] = [];

  constructor(id: number, by: Asker, operation: Operation, askedAt: number) {
    this.id = id;
    this.by = by;
    this.operation = operation;
    this.askedAt = askedAt;
  }

  /** It stands in the queue of one lock until that is granted. */
  get isWaiting(): boolean {
    const { do: verb, waitTimeout, locks } = this.operation;
    const waits = verb === "request" || verb === "acquire" || verb === "permits" || verb === "hand over";
    return (
      waits &&
      locks.length === 1 &&
      waitTimeout !== 0 &&
      this.begun === 0 &&
      this.settledAt === undefined &&
      this.abortedAt === undefined &&
      !this.by.process.isDead
    );
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
  readonly permits: number | undefined;
  readonly fence: number;
  readonly token: string;
  /** Milliseconds that its process believes are left. */
  readonly remaining: () => number;
}

/** The time in which a program believes that it holds. */
export class Hold {
  readonly terms: HoldTerms;
  readonly process: Process;
  mode: "exclusive" | "shared";
  /** On the world's clock. */
  readonly beganAt: number;
  /** On its process's clock. */
  deadline = -Infinity;
  /** On the world's, once its program has given it back, or heard that it is lost. */
  endedAt = Infinity;

  constructor(terms: HoldTerms, beganAt: number) {
    this.terms = terms;
    this.mode = terms.mode;
    this.process = terms.attempt.by.process;
    this.beganAt = beganAt;
  }

  get label(): string {
    return `${this.terms.attempt.by.name}${this.terms.attempt.label}`;
  }

  get isOver(): boolean {
    return this.endedAt < Infinity || this.process.isDead;
  }

  /** Whether its program would be told that it holds if it asked at that time. */
  believes(time: number): boolean {
    return time < this.endedAt && !this.process.isDead && this.process.local(time) < this.deadline;
  }

  /** Of the world, unless its process sleeps until then. */
  get deadlineTime(): number {
    return this.process.timeOf(this.deadline);
  }

  /**
   * Learn until when its process believes. To look at a lease that is over ends it, as it does for a program that looks.
   *
   * @returns whether that has become later
   */
  sample(mayBeLonger: boolean): boolean {
    if (this.isOver) return false;
    const now = this.process.local(this.process.time);
    if (!mayBeLonger && now >= this.deadline) return false;
    const left = this.process.inside(this.terms.remaining);
    const before = this.deadline;
    // A lease that is over says so for ever: it may have been over before we looked.
    this.deadline = left > 0 ? now + left : Math.min(before, now);
    return this.deadline > before + 1e-6;
  }
}
