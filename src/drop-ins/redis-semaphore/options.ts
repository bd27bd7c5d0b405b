import { randomUUID } from "node:crypto";
import { show } from "../../options/checks.ts";
import type { LostLockError } from "./errors.ts";

/** redis-semaphore's options, with its defaults. */
export interface TimeoutOptions {
  /** Milliseconds that a lock lasts unless it is refreshed (default 10 000). */
  lockTimeout?: number;
  /** Milliseconds to wait for it at most (default 10 000). */
  acquireTimeout?: number;
  /** How often it is tried at most (default: no limit). What a release calls for comes on top. */
  acquireAttemptsLimit?: number;
  /** Milliseconds between two tries (default 10, growing to 100: releases are heard of). */
  retryInterval?: number;
  /** Milliseconds between two refreshes (default 0.8 of `lockTimeout`); 0 for none. */
  refreshInterval?: number;
}

export interface LockOptions extends TimeoutOptions {
  /** The lock's identifier (default: a UUID). */
  identifier?: string;
  /** `acquire` takes over what `identifier` holds already, in another process. */
  acquiredExternally?: true;
  /** @deprecated `identifier` and `acquiredExternally` */
  externallyAcquiredIdentifier?: string;
  /** @deprecated `identifier` */
  identifierSuffix?: string;
  /** Hears that the lock was lost. Without it the error is thrown where nobody catches it. */
  onLockLost?: (error: LostLockError) => void;
}

export interface CheckedOptions {
  readonly lockTimeout: number;
  readonly acquireTimeout: number;
  readonly acquireAttemptsLimit: number;
  /** The first pause between two tries, and the longest. */
  readonly retryInterval: number;
  readonly longestInterval: number;
  readonly refreshInterval: number;
  readonly identifier: string;
  readonly isTakenOver: boolean;
  readonly onLockLost: (error: LostLockError) => void;
}

const LONGEST_INTERVAL = 100;

export const defaultTimeoutOptions: Readonly<TimeoutOptions> = {
  lockTimeout: 10_000,
  acquireTimeout: 10_000,
  acquireAttemptsLimit: Infinity,
  retryInterval: 10,
};

/** @throws Error or RangeError */
export function checkOptions(options: LockOptions = {}): CheckedOptions {
  const { identifier, acquiredExternally, externallyAcquiredIdentifier, identifierSuffix, retryInterval } = options;
  if (identifier !== undefined && (identifier === "" || typeof identifier !== "string")) {
    throw new Error("identifier must be not empty random string");
  }
  if (acquiredExternally && identifier === undefined) {
    throw new Error("acquiredExternally=true meanless without custom identifier");
  }
  if (externallyAcquiredIdentifier !== undefined && (identifier !== undefined || acquiredExternally)) {
    throw new Error("Invalid usage. Use custom identifier and acquiredExternally: true");
  }
  const lockTimeout = number(options, "lockTimeout", 1) ?? 10_000;
  const acquireAttemptsLimit = number(options, "acquireAttemptsLimit", 1) ?? Infinity;
  const first = number(options, "retryInterval", 0) ?? 10;
  // An interval that the user has set is kept.
  const isGiven = retryInterval !== undefined || acquireAttemptsLimit !== Infinity;
  const suffix = identifierSuffix === undefined ? "" : `-${identifierSuffix}`;
  return {
    lockTimeout,
    acquireTimeout: number(options, "acquireTimeout", 0) ?? 10_000,
    acquireAttemptsLimit,
    retryInterval: first,
    longestInterval: isGiven ? first : LONGEST_INTERVAL,
    refreshInterval: number(options, "refreshInterval", 0) ?? Math.round(lockTimeout * 0.8),
    identifier: identifier ?? externallyAcquiredIdentifier ?? `${randomUUID()}${suffix}`,
    isTakenOver: acquiredExternally === true || externallyAcquiredIdentifier !== undefined,
    onLockLost:
      options.onLockLost ??
      ((error) => {
        throw error;
      }),
  };
}

function number(options: TimeoutOptions, name: keyof TimeoutOptions, least: number): number | undefined {
  const value = options[name];
  if (value === undefined) return undefined;
  if (typeof value === "number" && value >= least) return value;
  throw new RangeError(`Expected ${name} to be a number from ${least} on; got ${show(value)}.`);
}

/** @throws Error */
export function checkKey(key: unknown): string {
  if (!key) throw new Error('"key" is required');
  if (typeof key !== "string") throw new Error('"key" must be a string');
  return key;
}

/** @throws Error */
export function checkCount(value: unknown, name: "limit" | "permits"): number {
  if (!value) throw new Error(`"${name}" is required`);
  if (typeof value !== "number") throw new Error(`"${name}" must be a number`);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`Expected ${name} to be an integer from 1 on; got ${value}.`);
  return value;
}
