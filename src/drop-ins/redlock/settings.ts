import { show } from "../../options/checks.ts";

/** redlock's settings, with its defaults. */
export interface Settings {
  /** The share of a duration by which clocks may run apart (default 0.01). */
  readonly driftFactor: number;
  /** How often a failed operation is tried again (default 10); −1 for without end. */
  readonly retryCount: number;
  /** Milliseconds between two tries (default 200). */
  readonly retryDelay: number;
  /** By how many milliseconds that is changed at random, up or down (default 100). */
  readonly retryJitter: number;
  /** `using` extends a lock this many milliseconds before it ends (default 500). */
  readonly automaticExtensionThreshold: number;
  /** The database of the keys, whichever the client is in (default: the client's). */
  readonly db?: number | undefined;
}

const DEFAULTS: Settings = {
  driftFactor: 0.01,
  retryCount: 10,
  retryDelay: 200,
  retryJitter: 100,
  automaticExtensionThreshold: 500,
};

const NUMBERS = ["driftFactor", "retryCount", "retryDelay", "retryJitter", "automaticExtensionThreshold"] as const;

/** @throws TypeError or RangeError */
export function settingsOf(given: Partial<Settings> | undefined, base: Settings = DEFAULTS): Settings {
  if (given === undefined) return base;
  if (typeof given !== "object" || given === null) {
    throw new TypeError(`Expected settings to be an object; got ${show(given)}.`);
  }
  const settings: Record<string, number | undefined> = { ...base };
  for (const name of NUMBERS) {
    const value = given[name];
    if (value === undefined) continue;
    const isCount = name === "retryCount" && value === -1;
    if (typeof value !== "number" || Number.isNaN(value) || (value < 0 && !isCount)) {
      throw new RangeError(
        `Expected ${name} to be a number from 0 on${name === "retryCount" ? ", or -1" : ""}; got ${show(value)}.`,
      );
    }
    settings[name] = value;
  }
  if (given.db !== undefined) {
    if (!Number.isSafeInteger(given.db) || given.db < 0) {
      throw new RangeError(`Expected db to be the number of a database; got ${show(given.db)}.`);
    }
    // A lock is released where it was taken, no matter who releases it.
    if (base !== DEFAULTS && given.db !== base.db) {
      throw new TypeError(`Expected db in the constructor's settings only; got ${given.db} in those of a call.`);
    }
    settings["db"] = given.db;
  }
  return settings as unknown as Settings;
}

/**
 * @returns the resources, each once, in the order given
 * @throws TypeError
 */
export function checkResources(resources: unknown): string[] {
  if (isNames(resources)) return [...new Set(resources)];
  throw new TypeError(`Expected an array of at least one resource, each a string; got ${show(resources)}.`);
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string");
}

/** @throws TypeError unless it has a value; what else it has is looked at elsewhere */
export function checkLock<T extends { readonly value: string }>(lock: T): T {
  if (typeof (lock as Partial<T> | undefined)?.value === "string") return lock;
  throw new TypeError(`Expected a lock, with its value; got ${show(lock)}.`);
}

/** @throws Error or RangeError */
export function checkDuration(duration: number): void {
  if (!Number.isInteger(duration)) throw new Error("Duration must be an integer value in milliseconds.");
  if (duration < 1) throw new RangeError(`Expected a duration of at least 1 ms; got ${duration}.`);
}

/** How much sooner than the servers we take a lock to have ended: clocks drift, and servers round to 1 ms. */
export function driftOf(duration: number, driftFactor: number): number {
  return Math.round(driftFactor * duration) + 2;
}
