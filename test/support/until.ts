import { setTimeout as sleep } from "node:timers/promises";

const pollMs = 5;

/**
 * Waits until `condition` gives something truthy, and returns that. A condition that throws is asked again; what it
 * threw last becomes the cause of the failure. `what` completes the sentence "Waited 5000 ms until …".
 */
export async function until<T>(condition: () => T | Promise<T>, what: string, timeoutMs = 5_000): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const expired = new Promise<undefined>((resolve) => {
    late.signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  let cause: unknown;
  try {
    while (!late.signal.aborted) {
      try {
        const answer = await Promise.race([condition(), expired]); // also ends a condition that never answers
        if (answer) return answer;
        cause = undefined;
      } catch (error) {
        cause = error;
      }
      await sleep(pollMs);
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`Waited ${timeoutMs} ms until ${what}; it did not happen.`, { cause });
}
