/** Pauses between attempts, in milliseconds. */
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 1_000;

/**
 * How long to wait before trying again: twice as long each time, up to a second. Half of it is chance, so that a fleet
 * does not come back at once.
 *
 * @param attempt 0 after the first that failed
 */
export function backoff(attempt: number): number {
  const longest = Math.min(FIRST_PAUSE * 2 ** attempt, LONGEST_PAUSE);
  return Math.round(longest * (0.5 + Math.random() / 2));
}
