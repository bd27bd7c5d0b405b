import { count } from "./checks.ts";
import type { LockOptions } from "./request.ts";

/** Settings of a semaphore's request. */
export interface SemaphoreOptions extends Omit<LockOptions, "mode" | "steal" | "reentrant"> {
  /** How many permits to hold (default 1, at most the semaphore's limit). You get all of them at once, or none. */
  permits?: number | undefined;
}

export const MOST_PERMITS = 1_000_000;

/** @throws TypeError or RangeError */
export function checkLimit(limit: unknown): number {
  const checked = count(limit, "limit", MOST_PERMITS);
  if (checked !== undefined) return checked;
  throw new TypeError("Expected limit, how many permits the semaphore has, to be a whole number; got undefined.");
}
