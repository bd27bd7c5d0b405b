import type { LockManager } from "../lock-manager.ts";
import { dictionary, duration, onlyAmong, SHORTEST_TTL, show } from "./checks.ts";

/** Settings of `runCoordinator`. */
export interface CoordinatorOptions {
  /** Stands before the names of the locks, which are the task's name and its time (default `"cron:"`). */
  prefix?: string | undefined;
  /** A task that runs for longer loses its lock, in milliseconds (default: a day). */
  atMost?: number | undefined;
}

const COORDINATOR_OPTIONS = new Set(["prefix", "atMost"]);
const DAY = 86_400_000;

/** @throws TypeError or RangeError */
export function checkCoordinator(locks: LockManager, options: unknown): { prefix: string; atMost: number } {
  if (typeof (locks as Partial<LockManager> | undefined)?.once !== "function") {
    throw new TypeError(`Expected a LockManager; got ${show(locks)}.`);
  }
  const given = dictionary(options, "options");
  onlyAmong(given, COORDINATOR_OPTIONS);
  const { prefix = "cron:" } = given;
  if (typeof prefix !== "string") throw new TypeError(`Expected prefix to be a string; got ${show(prefix)}.`);
  return { prefix, atMost: duration(given["atMost"], "atMost", SHORTEST_TTL) ?? DAY };
}
