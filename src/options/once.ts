import { dictionary, duration, onlyAmong, SHORTEST_TTL } from "./checks.ts";
import { checkRequest } from "./request.ts";
import type { Defaults } from "./request.ts";

/** Settings of a run-once job. Durations are in milliseconds. */
export interface OnceOptions {
  /** The longest time that the job may take: then its lock is lost, and `lock.signal` aborts (at least 50). */
  atMost: number;
  /** Nobody runs the job again until this long after its start, however short it is (default 0; at most `atMost`). */
  atLeast?: number | undefined;
  /** How long after a crash the job can run again, unless `atLeast` is longer (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /** A name for the machine that runs it (default: the manager's). */
  label?: string | undefined;
}

export interface CheckedOnce {
  readonly name: string;
  readonly atMost: number;
  readonly atLeast: number;
  readonly ttl: number;
  readonly label: string;
}

const ONCE_OPTIONS = new Set(["atMost", "atLeast", "ttl", "label"]);

/** @throws what `checkRequest` throws, and TypeError or RangeError for bounds that do not fit together */
export function checkOnce(name: unknown, options: unknown, manager: Defaults & { label: string }): CheckedOnce {
  const given = dictionary(options, "options");
  onlyAmong(given, ONCE_OPTIONS);
  const {
    lock,
    ttl,
    label: who,
  } = checkRequest(name, { ttl: given["ttl"], label: given["label"] }, manager, "tryAcquire");
  const atMost = duration(given["atMost"], "atMost", SHORTEST_TTL);
  if (atMost === undefined) throw new TypeError("Expected atMost, how long the job may take at most; got undefined.");
  const atLeast = duration(given["atLeast"], "atLeast", 0) ?? 0;
  if (atLeast > atMost) {
    throw new RangeError(`Expected atLeast to be no longer than atMost, ${atMost} milliseconds; got ${atLeast}.`);
  }
  return { name: lock, atMost, atLeast, ttl: Math.min(ttl, atMost), label: who || manager.label };
}
