/** Makes what pages are sent from what was observed. Viewers that ask for the same locks share the work of a look. */
import { findLocks } from "../observation/find.ts";
import { isForeign } from "../observation/observation.ts";
import type { Observation, ObservedHolder, ObservedLock } from "../observation/observation.ts";
import type { Observer } from "../observation/observer.ts";
import { jobIn } from "../primitives/once.ts";
import type { LockInfo } from "../snapshot.ts";
import type { HolderView, LockView, Question, Row, View, WaiterView } from "./view.ts";

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
    if (!found) this.#found.set(key, (found = findLocks(latest, { search, show, sort })));
    return found;
  }
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
