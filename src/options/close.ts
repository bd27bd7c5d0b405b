import { dictionary, duration, onlyAmong } from "./checks.ts";

/** Settings of `close()`. */
export interface CloseOptions {
  /** How long callbacks that still run keep their locks, in milliseconds (default 5 000; 0: not at all). */
  timeout?: number | undefined;
}

const CLOSE_OPTIONS = new Set(["timeout"]);

/** @returns the timeout @throws TypeError or RangeError */
export function checkClose(options: unknown): number {
  const given = dictionary(options, "options");
  onlyAmong(given, CLOSE_OPTIONS);
  return duration(given["timeout"], "timeout", 0) ?? 5_000;
}
