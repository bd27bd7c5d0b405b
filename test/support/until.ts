import { setTimeout as sleep } from "node:timers/promises";

/** How long to wait before asking again: soon at first, and less often while it takes longer, for asking costs time too. */
const firstPauseMs = 4;
const longestPauseMs = 20;

/**
 * Waits until `condition` gives something truthy, and returns that. A condition that throws is asked again; what it
 * threw last becomes the cause of the failure. `what` completes the sentence "Waited 15000 ms until …".
 */
export async function until<T>(condition: () => T | Promise<T>, what: string, timeoutMs = 15_000): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const expired = new Promise<undefined>((resolve) => {
    late.signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  let cause: unknown;
  let pauseMs = firstPauseMs;
  try {
    while (!late.signal.aborted) {
      try {
        const answer = await Promise.race([condition(), expired]); // also ends a condition that never answers
        if (answer) return answer;
        cause = undefined;
      } catch (error) {
        cause = error;
      }
      await sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 1.1, longestPauseMs);
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`Waited ${timeoutMs} ms until ${what}; it did not happen.`, { cause });
}

/** Waits until the number is larger than it was when it was read before. */
export async function untilRisen(read: () => number | Promise<number>, what: string): Promise<void> {
  let before = Infinity;
  await until(async () => {
    const now = await read();
    const hasRisen = now > before;
    before = now;
    return hasRisen;
  }, what);
}
