import { Deadline } from "../redlock/deadline.ts";

/** The lock could not be had, extended or released. */
export class LockError extends Error {
  override readonly name = "LockError";
  /** How often it was tried; undefined for a release. */
  readonly attempts: number | undefined;

  constructor(message: string, attempts?: number) {
    super(message);
    this.attempts = attempts;
  }
}

/** What a lock uses of the Redlock that made it. */
export interface LockKeeper {
  unlock(lock: Lock): Promise<void>;
  extend(lock: Lock, ttl: number): Promise<Lock>;
}

export class Lock {
  readonly redlock: LockKeeper;
  resource: string | string[];
  value: string;
  /** When it ends, in milliseconds since 1970; 0 once it was released. */
  expiration: number;
  readonly attempts: number;
  readonly attemptsRemaining: number;
  readonly #deadline: Deadline;

  constructor(
    redlock: LockKeeper,
    resource: string | string[],
    value: string,
    expiration: number,
    attempts = 0,
    attemptsRemaining = 0,
  ) {
    this.redlock = redlock;
    this.resource = resource;
    this.value = value;
    this.expiration = expiration;
    this.attempts = attempts;
    this.attemptsRemaining = attemptsRemaining;
    this.#deadline = new Deadline(expiration);
  }

  /** Milliseconds until it ends, by this process's monotonic clock. */
  get remaining(): number {
    return this.#deadline.remaining(this.expiration);
  }

  unlock(): Promise<void> {
    return this.redlock.unlock(this);
  }

  /** @returns this lock, which lasts for `ttl` from now */
  extend(ttl: number): Promise<Lock> {
    return this.redlock.extend(this, ttl);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.expiration !== 0) await this.unlock();
  }
}
