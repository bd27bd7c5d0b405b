/**
 * What several looks show together: renewals, holds that ended, how long a lock is usually held. Its memory is bounded.
 */
import { jobIn } from "../primitives/once.ts";
import type { LockInfo, LockManagerSnapshot } from "../snapshot.ts";
import { Journal } from "./journal.ts";
import { byName, totalsOf } from "./observation.ts";
import type {
  Crowd,
  LockKind,
  Observation,
  ObservedHolder,
  ObservedLock,
  PastHold,
  QueueLength,
} from "./observation.ts";
import { Series } from "./series.ts";
import type { Point } from "./series.ts";
import { judge } from "./stuck.ts";

/** What is known of a lock from the look before. */
interface Track {
  holders: ReadonlyMap<string, ObservedHolder>;
  waiters: readonly LockInfo[];
  /** The durations of its last holds. */
  readonly holds: number[];
}

const MOST_TRACKS = 20_000;
const MOST_DURATIONS = 20;
/** How many holds are needed to know what is usual. */
const FEWEST_DURATIONS = 3;
const [MOST_PAST_HOLDS_OF_ONE, MOST_PAST_HOLDS] = [200, 20_000];
const [MOST_LENGTHS_OF_ONE, MOST_LENGTHS] = [300, 30_000];
/** An end that moved by more than this, in milliseconds, is a renewal; less is due to the duration of looks. */
const LEAST_RENEWAL = 200;

/** Two looks, and the times at which they were made. */
interface Interval {
  readonly at: number;
  readonly time: number;
  /** How long the look before was ago; undefined for the first. */
  readonly since: number | undefined;
}

export class History {
  readonly series: Series = new Series();
  readonly pastHolds: Journal<PastHold> = new Journal(MOST_PAST_HOLDS_OF_ONE, MOST_PAST_HOLDS);
  readonly queueLengths: Journal<QueueLength> = new Journal(MOST_LENGTHS_OF_ONE, MOST_LENGTHS);
  readonly #stuckAfter: number;
  /** Those that were seen last are at the end. */
  readonly #tracks = new Map<string, Track>();
  #last: Observation | undefined;
  #point: Point | undefined;

  /** @param stuckAfter milliseconds */
  constructor(stuckAfter: number) {
    this.#stuckAfter = stuckAfter;
  }

  /** The latest point of the series. */
  get point(): Point | undefined {
    return this.#point;
  }

  /** @param at when the look was made, on a clock that never jumps; `time` is the same in milliseconds since 1970 */
  add(snapshot: LockManagerSnapshot, at: number, time: number): Observation {
    const interval = { at, time, since: this.#last && at - this.#last.at };
    const ended: number[] = [];
    const crowds = byName(snapshot);
    for (const name of this.#last?.locks.keys() ?? []) {
      if (!crowds.has(name)) this.#follow(name, { held: [], pending: [] }, interval, ended);
    }
    const locks = new Map<string, ObservedLock>();
    for (const [name, crowd] of crowds) locks.set(name, this.#follow(name, crowd, interval, ended));
    while (this.#tracks.size > MOST_TRACKS) this.#tracks.delete(this.#tracks.keys().next().value as string);
    const totals = totalsOf(locks.values());
    this.#point = this.series.add(time, totals, ended);
    const stuck = [...locks.values()].filter((each) => each.stuck).sort(worstFirst);
    this.#last = { at, time, locks, stuck, totals };
    return this.#last;
  }

  /** @param ended gets the durations of the holds that ended */
  #follow(name: string, crowd: Crowd, interval: Interval, ended: number[]): ObservedLock {
    const track = this.#tracks.get(name) ?? { holders: new Map(), waiters: [], holds: [] };
    this.#tracks.delete(name);
    this.#tracks.set(name, track);
    const holders = new Map<string, ObservedHolder>();
    for (const info of crowd.held) {
      const key = keyOf(info);
      const before = track.holders.get(key);
      holders.set(key, before ? again(before, info, interval) : first(key, info, track.waiters, interval));
    }
    for (const [key, holder] of track.holders) {
      if (!holders.has(key)) ended.push(this.#end(name, track, holder, interval));
    }
    this.#noteLength(name, crowd.pending.length, interval.time);
    track.holders = holders;
    track.waiters = crowd.pending;
    return describe(name, crowd, [...holders.values()], usual(track.holds), interval.at, this.#stuckAfter);
  }

  /** It ended at some time since the last look; the middle is the best guess. */
  #end(name: string, { holds }: Track, holder: ObservedHolder, { at, time, since = 0 }: Interval): number {
    const { info, since: granted, waited } = holder;
    const held = Math.max(0, Math.round(at - since / 2 - granted));
    holds.push(held);
    if (holds.length > MOST_DURATIONS) holds.shift();
    const { label, clientLabel, fence, permits } = info;
    this.pastHolds.add(name, { label, clientLabel, fence, permits, time: time - (at - granted), held, waited });
    return held;
  }

  #noteLength(name: string, waiting: number, time: number): void {
    if ((this.queueLengths.last(name)?.waiting ?? 0) !== waiting) this.queueLengths.add(name, { time, waiting });
  }
}

function keyOf({ token, fence }: LockInfo): string {
  return token === undefined ? "" : `${token}#${fence ?? ""}`;
}

function first(key: string, info: LockInfo, waiters: readonly LockInfo[], { at, since = 0 }: Interval): ObservedHolder {
  const { held, remaining, token } = info;
  const before = token === undefined ? undefined : waiters.find((each) => each.token === token);
  const waited = before?.waited === undefined ? undefined : before.waited + Math.max(0, since - (held ?? 0));
  return {
    info,
    key,
    since: at - (held ?? 0),
    sinceIsLatest: held === undefined,
    ends: remaining === undefined ? undefined : at + remaining,
    lease: remaining,
    renewals: 0,
    renewedAt: undefined,
    waited,
  };
}

function again(before: ObservedHolder, info: LockInfo, { at }: Interval): ObservedHolder {
  const ends = info.remaining === undefined ? undefined : at + info.remaining;
  const isRenewed = ends !== undefined && before.ends !== undefined && ends > before.ends + LEAST_RENEWAL;
  return {
    ...before,
    info,
    ends,
    lease: info.remaining === undefined ? undefined : Math.max(before.lease ?? 0, info.remaining),
    renewals: before.renewals + (isRenewed ? 1 : 0),
    renewedAt: isRenewed ? at : before.renewedAt,
  };
}

function describe(
  name: string,
  { pending: waiters }: Crowd,
  holders: readonly ObservedHolder[],
  usualHold: number | undefined,
  at: number,
  stuckAfter: number,
): ObservedLock {
  const some = holders[0]?.info ?? waiters[0];
  const kind = kindOf(some);
  return {
    name,
    kind,
    mode: holders[0]?.info.mode,
    limit: some?.limit,
    used: holders.reduce((sum, { info }) => sum + (info.permits ?? 0), 0),
    holders,
    waiters,
    longestWait: waiters.reduce((longest, { waited = 0 }) => Math.max(longest, waited), 0),
    usualHold,
    stuck: judge({ kind, holders, waiters, usualHold }, at, stuckAfter),
  };
}

function kindOf(some: LockInfo | undefined): LockKind {
  if (some?.limit !== undefined) return "semaphore";
  if (some?.inElection) return "election";
  return some && jobIn(some.label) ? "job" : "lock";
}

/** The 90th percentile. */
function usual(holds: readonly number[]): number | undefined {
  if (holds.length < FEWEST_DURATIONS) return undefined;
  return holds.toSorted((a, b) => a - b)[Math.ceil(holds.length * 0.9) - 1];
}

/** Those with the most waiters first, then those that have been stuck for longest. */
function worstFirst(a: ObservedLock, b: ObservedLock): number {
  return b.waiters.length - a.waiters.length || (b.stuck?.for ?? 0) - (a.stuck?.for ?? 0);
}
