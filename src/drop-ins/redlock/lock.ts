import { Deadline } from "./deadline.ts";
import type { Attempts } from "./errors.ts";
import type { Settings } from "./settings.ts";

export interface ExecutionResult {
  readonly attempts: Attempts;
  /** When the try that succeeded began, in milliseconds since 1970. */
  readonly start: number;
}

/** What a lock uses of the Redlock that made it. */
export interface LockKeeper {
  release(lock: Lock, settings?: Partial<Settings>): Promise<ExecutionResult>;
  extend(existing: Lock, duration: number, settings?: Partial<Settings>): Promise<Lock>;
}

/**
 * A lock that is held. One that is made anew of `resources` and `value`, in any process, is released and extended
 * alike.
 */
export class Lock {
  readonly redlock: LockKeeper;
  readonly resources: string[];
  readonly value: string;
  readonly attempts: Attempts;
  /** When it ends, in milliseconds since 1970; 0 once it was released or replaced. */
  expiration: number;
  readonly settings: Partial<Settings> | undefined;
  readonly #deadline: Deadline;

  constructor(
    redlock: LockKeeper,
    resources: string[],
    value: string,
    attempts: Attempts,
    expiration: number,
    settings?: Partial<Settings>,
  ) {
    this.redlock = redlock;
    this.resources = resources;
    this.value = value;
    this.attempts = attempts;
    this.expiration = expiration;
    this.settings = settings;
    this.#deadline = new Deadline(expiration);
  }

  /**
   * Milliseconds until it ends, by this process's monotonic clock: what happens to the clock of the day meanwhile does
   * not count. Negative once it has ended.
   */
  get remaining(): number {
    return this.#deadline.remaining(this.expiration);
  }

  /** @throws ExecutionError (as a rejection) if a majority of the servers does not have it any more */
  release(): Promise<ExecutionResult> {
    return this.redlock.release(this);
  }

  /** @returns the lock that replaces this one; this one's `expiration` is 0 then */
  extend(duration: number): Promise<Lock> {
    return this.redlock.extend(this, duration, this.settings);
  }

  /** Releases it at the end of an `await using` block, unless it was released or replaced before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.expiration !== 0) await this.release();
  }
}
