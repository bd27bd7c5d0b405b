/** Milliseconds on CLOCK_MONOTONIC, which all processes of one machine share (`performance.now()` they do not). */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function sleepUntil(instant: number): Promise<void> {
  return sleep(Math.max(0, instant - now()));
}

/** Exactly `ms`, where a timer alone would add up to a millisecond: the last one is turned over in the event loop. */
export async function workFor(ms: number): Promise<void> {
  const end = now() + ms;
  await sleep(Math.floor(ms) - 1);
  while (now() < end) await new Promise((resolve) => setImmediate(resolve));
}
