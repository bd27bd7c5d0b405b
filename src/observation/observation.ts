/** What one look at the server shows, for each lock. */
import type { LockInfo, LockManagerSnapshot } from "../snapshot.ts";
import type { LockMode } from "../schemes/scheme.ts";
import type { Stuck } from "./stuck.ts";

/** All locks that somebody holds or waits for, at one time. */
export interface Observation {
  /** When it was made: milliseconds on a clock that never jumps, and milliseconds since 1970. */
  readonly at: number;
  readonly time: number;
  readonly locks: ReadonlyMap<string, ObservedLock>;
  /** Those that are stuck, the worst first. */
  readonly stuck: readonly ObservedLock[];
  readonly totals: Totals;
}

export interface Totals {
  readonly locks: number;
  readonly holders: number;
  readonly waiters: number;
  /** Locks that somebody waits for. */
  readonly contended: number;
  readonly semaphores: number;
  readonly elections: number;
  readonly jobs: number;
  /** Locks that another library holds. */
  readonly foreign: number;
  /** The longest and the median wait of those who wait now, in milliseconds. */
  readonly longestWait: number;
  readonly medianWait: number;
}

/** What a lock is used as. A job is one of `once`, running or over. */
export type LockKind = "lock" | "semaphore" | "election" | "job";

export interface ObservedLock {
  readonly name: string;
  readonly kind: LockKind;
  /** Undefined while nobody holds it. */
  readonly mode: LockMode | undefined;
  /** For a semaphore: how many permits there are, and how many are held. */
  readonly limit: number | undefined;
  readonly used: number;
  readonly holders: readonly ObservedHolder[];
  /** In the order of the queue. */
  readonly waiters: readonly LockInfo[];
  /** Milliseconds; 0 if nobody waits. */
  readonly longestWait: number;
  /** How long it is usually held, in milliseconds: nine of ten holds that were seen were no longer. */
  readonly usualHold: number | undefined;
  readonly stuck: Stuck | undefined;
}

export interface ObservedHolder {
  readonly info: LockInfo;
  /** Tells it from all others of its lock. */
  readonly key: string;
  /** When it was granted, on the clock that never jumps. */
  readonly since: number;
  /** It was granted at `since` or earlier; when is not known. */
  readonly sinceIsLatest: boolean;
  /** When its lease ends unless renewed. */
  readonly ends: number | undefined;
  /** The longest remaining time that was seen, in milliseconds: about its ttl. */
  readonly lease: number | undefined;
  /** How many renewals were seen, at most one a look, and when the last one was. */
  readonly renewals: number;
  readonly renewedAt: number | undefined;
  /** How long it had waited, in milliseconds, if it was seen in the queue. */
  readonly waited: number | undefined;
}

/** A hold that ended. */
export interface PastHold {
  readonly label: string;
  readonly clientLabel: string;
  readonly fence: number | undefined;
  readonly permits: number | undefined;
  /** When it was granted, in milliseconds since 1970. */
  readonly time: number;
  /** Milliseconds, within the time between two looks. */
  readonly held: number;
  readonly waited: number | undefined;
}

/** How many waited, from then on. */
export interface QueueLength {
  readonly time: number;
  readonly waiting: number;
}

/** A lock of a snapshot: who holds it, and who waits for it. */
export interface Crowd {
  readonly held: LockInfo[];
  readonly pending: LockInfo[];
}

export function byName({ held, pending }: LockManagerSnapshot): Map<string, Crowd> {
  const crowds = new Map<string, Crowd>();
  const crowdOf = (name: string): Crowd => {
    let crowd = crowds.get(name);
    if (!crowd) crowds.set(name, (crowd = { held: [], pending: [] }));
    return crowd;
  };
  for (const info of held) crowdOf(info.name).held.push(info);
  for (const info of pending) crowdOf(info.name).pending.push(info);
  return crowds;
}

export function totalsOf(locks: Iterable<ObservedLock>): Totals {
  const count = { locks: 0, holders: 0, waiters: 0, contended: 0, semaphores: 0, elections: 0, jobs: 0, foreign: 0 };
  const waits: number[] = [];
  for (const { kind, holders, waiters } of locks) {
    count.locks++;
    count.holders += holders.length;
    count.waiters += waiters.length;
    if (waiters.length > 0) count.contended++;
    if (kind === "semaphore") count.semaphores++;
    if (kind === "election") count.elections++;
    if (kind === "job") count.jobs++;
    if (isForeign(holders)) count.foreign++;
    for (const { waited } of waiters) if (waited !== undefined) waits.push(waited);
  }
  waits.sort((a, b) => a - b);
  return { ...count, longestWait: waits.at(-1) ?? 0, medianWait: waits[waits.length >> 1] ?? 0 };
}

/** Another library holds the key. */
export function isForeign(holders: readonly ObservedHolder[]): boolean {
  return holders.some(({ info }) => info.clientId === "");
}
