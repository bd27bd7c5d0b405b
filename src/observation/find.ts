/** Search in the locks of an observation. */
import type { LockInfo } from "../snapshot.ts";
import { isForeign } from "./observation.ts";
import type { Observation, ObservedLock } from "./observation.ts";

export const SHOWS = ["all", "contended", "stuck", "semaphores", "elections", "jobs", "foreign"] as const;
export type Show = (typeof SHOWS)[number];
export const SORTS = ["attention", "name", "waiters", "wait", "held", "left"] as const;
export type Sort = (typeof SORTS)[number];

/** Which locks are wanted, and in which order. */
export interface Search {
  /** Words, all of which occur in the name of a lock, a label, a fence or a token. */
  readonly search: string;
  readonly show: Show;
  readonly sort: Sort;
}

export function findLocks({ at, locks }: Observation, { search, show, sort }: Search): readonly ObservedLock[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const isShown = SHOWN[show];
  const found = [...locks.values()].filter((lock) => isShown(lock) && words.every((word) => occurs(word, lock)));
  const order = ORDERS[sort];
  return found.sort((a, b) => order(a, b, at) || byName(a, b));
}

function occurs(word: string, { name, holders, waiters }: ObservedLock): boolean {
  return (
    name.toLowerCase().includes(word) ||
    holders.some(({ info }) => names(info, word)) ||
    waiters.some((each) => names(each, word))
  );
}

function names({ label, clientLabel, token, fence }: LockInfo, word: string): boolean {
  return (
    label.toLowerCase().includes(word) ||
    clientLabel.toLowerCase().includes(word) ||
    String(fence) === word ||
    token?.toLowerCase() === word
  );
}

const SHOWN: Record<Show, (lock: ObservedLock) => boolean> = {
  all: () => true,
  contended: ({ waiters }) => waiters.length > 0,
  stuck: ({ stuck }) => stuck !== undefined,
  semaphores: ({ kind }) => kind === "semaphore",
  elections: ({ kind }) => kind === "election",
  jobs: ({ kind }) => kind === "job",
  foreign: ({ holders }) => isForeign(holders),
};

const ORDERS: Record<Sort, (a: ObservedLock, b: ObservedLock, at: number) => number> = {
  attention: (a, b, at) =>
    Number(Boolean(b.stuck)) - Number(Boolean(a.stuck)) ||
    b.waiters.length - a.waiters.length ||
    heldFor(b, at) - heldFor(a, at),
  name: byName,
  waiters: (a, b) => b.waiters.length - a.waiters.length,
  wait: (a, b) => b.longestWait - a.longestWait,
  held: (a, b, at) => heldFor(b, at) - heldFor(a, at),
  left: (a, b) => endOf(a) - endOf(b),
};

function byName(a: ObservedLock, b: ObservedLock): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

function heldFor({ holders: [first] }: ObservedLock, at: number): number {
  return first ? at - first.since : -1;
}

function endOf({ holders: [first] }: ObservedLock): number {
  return first?.ends ?? Number.MAX_VALUE;
}
