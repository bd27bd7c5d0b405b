import type { Request } from "./request.ts";

/** How long failures are tolerated, in milliseconds: before the first answer, and in the queue. */
const PATIENCE = 5_000;
const PATIENCE_IN_QUEUE = 30_000;
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 1_000;

/** Consecutive failures of the questions of one place: what they were, and how long they may last. */
export class Trouble {
  readonly #since: number;
  /** The error of the latest question. */
  readonly error: unknown;
  readonly #count: number;

  /** @param askedAt when the failed question was asked */
  constructor(error: unknown, askedAt: number, earlier: Trouble | undefined) {
    this.error = error;
    this.#since = earlier ? earlier.#since : askedAt;
    this.#count = earlier ? earlier.#count + 1 : 0;
  }

  /** How long to wait before asking again. */
  get pause(): number {
    return Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#count) * (0.5 + Math.random());
  }

  /** Whether asking again for this request would be useless. */
  isHopelessFor({ joinedAt }: Request, wasQueued: boolean, now: number): boolean {
    return now - Math.max(this.#since, joinedAt) >= (wasQueued ? PATIENCE_IN_QUEUE : PATIENCE);
  }
}
