/** Makes what pages are sent from what was observed. Viewers that ask for the same locks share the work of a look. */
import { isForeign } from "../observation/observation.ts";
import type { Observation, ObservedHolder, ObservedLock } from "../observation/observation.ts";
import type { Observer } from "../observation/observer.ts";
import { jobIn } from "../primitives/once.ts";
import type { LockInfo } from "../snapshot.ts";
import type { HolderView, LockView, Question, Row, Show, Sort, View, WaiterView } from "./view.ts";

/** How many of the locks that are stuck are shown on top. */
const MOST_STUCK = 5;
const NO_TOTALS = {
  locks: 0,
  holders: 0,
  waiters: 0,
  contended: 0,
  semaphores: 0,
  elections: 0,
  jobs: 0,
  foreign: 0,
  longestWait: 0,
  medianWait: 0,
};

export class Views {
  readonly #observer: Observer;
  readonly #now: () => number;
  #of: Observation | undefined;
  /** Of that observation. */
  readonly #found = new Map<string, readonly ObservedLock[]>();

  /** @param now on the observer's clock */
  constructor(observer: Observer, now: () => number) {
    this.#observer = observer;
    this.#now = now;
  }

  /** Without the history of its lock. */
  of(question: Question): View {
    const { latest, failure, pace, history } = this.#observer;
    const locks = latest ? this.#find(latest, question) : [];
    const lock = question.lock === null ? undefined : latest?.locks.get(question.lock);
    const at = latest?.at ?? 0;
    return {
      age: latest ? this.#now() - at : 0,
      pace,
      failure: failure ? { message: messageOf(failure.error), since: failure.since } : null,
      totals: latest?.totals ?? NO_TOTALS,
      point: history.point ?? null,
      stuck: latest?.stuck.slice(0, MOST_STUCK).map((each) => rowOf(each, at)) ?? [],
      stuckCount: latest?.stuck.length ?? 0,
      rows: question.lock === null ? locks.slice(0, question.count).map((each) => rowOf(each, at)) : [],
      matching: locks.length,
      lock: lock ? lockOf(lock, at, question.count) : null,
      past: null,
    };
  }

  #find(latest: Observation, { search, show, sort }: Question): readonly ObservedLock[] {
    if (this.#of !== latest) this.#found.clear();
    this.#of = latest;
    const key = JSON.stringify([search, show, sort]);
    let found = this.#found.get(key);
    if (!found) this.#found.set(key, (found = find(latest, search, show, sort)));
    return found;
  }
}

function find({ at, locks }: Observation, search: string, show: Show, sort: Sort): readonly ObservedLock[] {
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

function rowOf(lock: ObservedLock, at: number): Row {
  const { name, kind, mode, limit, used, holders, waiters, longestWait, usualHold, stuck } = lock;
  const [first] = holders;
  return {
    name,
    kind,
    mode: mode ?? null,
    limit: limit ?? null,
    used,
    holder: first ? holderOf(first, at) : null,
    holderCount: holders.length,
    waiterCount: waiters.length,
    longestWait,
    usualHold: usualHold ?? null,
    isForeign: isForeign(holders),
    stuck: stuck ?? null,
  };
}

function lockOf(lock: ObservedLock, at: number, count: number): LockView {
  return {
    ...rowOf(lock, at),
    holders: lock.holders.slice(0, count).map((each) => holderOf(each, at)),
    queue: lock.waiters.slice(0, count).map(waiterOf),
  };
}

function holderOf(
  { info, since, sinceIsLatest, ends, lease, renewals, renewedAt, waited }: ObservedHolder,
  at: number,
): HolderView {
  const job = jobIn(info.label);
  return {
    label: job?.by ?? info.label,
    clientLabel: info.clientLabel,
    token: info.token ?? null,
    mode: info.mode,
    fence: info.fence ?? null,
    permits: info.permits ?? null,
    held: at - since,
    heldIsLeast: sinceIsLatest,
    left: ends === undefined ? null : ends - at,
    lease: lease ?? null,
    renewals,
    renewed: renewedAt === undefined ? null : at - renewedAt,
    waited: waited ?? null,
    job: job?.state ?? null,
  };
}

function waiterOf({ label, clientLabel, mode, permits, waited }: LockInfo): WaiterView {
  return { label, clientLabel, mode, permits: permits ?? null, waited: waited ?? null };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
