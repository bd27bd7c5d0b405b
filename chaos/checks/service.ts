/** Nobody waits in vain for a lock that nobody holds, and nobody is overtaken. */
import { type Evidence, exclude, seconds, troublesOf } from "./evidence.ts";
import type { Request } from "./history.ts";

/**
 * For how long a live waiter may wait for a lock that nobody holds, in milliseconds: if nothing has gone wrong for longer
 * than a dead waiter counts as alive, the claim window of a second and some time for a busy machine; otherwise a poke
 * (5.5 s), claims of frozen waiters, and grants that nobody heard of (their ttl of up to 4 s).
 */
const QUIET = 21_000;
const BOUND = { quiet: 3_000, otherwise: 15_000 };
/** What a waiter that gives up may have sent before. */
const GIVING_UP = 250;
/** How long a client takes to be back in the queue with its subscription. */
const RECONNECTION = 7_000;

/** A time in which somebody held a lock, or may have. */
interface Taken {
  readonly from: number;
  readonly to: number;
}

export interface Waited {
  /** The longest wait of all, and the longest for a lock that nobody held after all faults that matter, in milliseconds. */
  longest: number;
  longestInVain: number;
}

export function checkService(evidence: Evidence): Waited {
  const waited: Waited = { longest: 0, longestInVain: 0 };
  for (const [lock, requests] of evidence.history.byLock) {
    const taken = requests.flatMap((request) => takenBy(request, evidence.end)).sort((a, b) => a.from - b.from);
    for (const request of requests) {
      if (request.verb === "once" || request.permits !== undefined) continue;
      const until = request.hold?.begun ?? request.settled ?? deathOf(evidence, request);
      const wait = until - request.asked;
      if (request.hold) waited.longest = Math.max(waited.longest, wait);
      if (wait <= BOUND.quiet) continue;
      for (const gap of gaps(taken, request.asked, until)) {
        const inVain = judge(evidence, lock, request, gap);
        waited.longestInVain = Math.max(waited.longestInVain, inVain);
      }
    }
  }
  return waited;
}

/** @returns how long it waited in vain after the last thing that went wrong */
function judge(evidence: Evidence, lock: string, request: Request, gap: Taken): number {
  const troubles = troublesOf(evidence, request.process, gap.from - QUIET, gap.to);
  const since = Math.max(gap.from, ...troubles.map(({ until }) => until));
  const bound = troubles.length === 0 ? BOUND.quiet : BOUND.otherwise;
  const inVain = Math.max(0, gap.to - since);
  if (inVain > bound) {
    const text = `${request.label} waited ${seconds(inVain)} for ${lock}, which nobody held, ${troubles.length} troubles`;
    evidence.verdict.fail("service", text, gap.to, lock);
  }
  return inVain;
}

function takenBy({ hold, settled, process }: Request, end: number): Taken[] {
  if (!hold) return [];
  const to = settled ?? (process.isDown ? end : Math.max(process.last, hold.deadline));
  return [{ from: hold.begun, to }];
}

/** A process that was killed stopped waiting then. */
function deathOf({ end }: Evidence, { process }: Request): number {
  return process.isDown ? end : process.last;
}

/** The times between those, from then until then. */
function* gaps(taken: readonly Taken[], from: number, until: number): Generator<Taken> {
  let free = from;
  for (const each of taken) {
    if (each.from >= until) break;
    if (each.from > free) yield { from: free, to: each.from };
    free = Math.max(free, each.to);
  }
  if (free < until) yield { from: free, to: until };
}

/**
 * Whoever stands in the queue by itself is served before all who asked later and stand there by themselves too, unless
 * something went wrong for it.
 */
export function checkOrder(evidence: Evidence): void {
  if (!evidence.isOrdered) return;
  for (const [lock, requests] of evidence.history.byLock) {
    const alone = requests.filter(({ isAlone }) => isAlone);
    const begun = alone.filter(({ hold }) => hold !== undefined).sort((a, b) => a.hold!.begun - b.hold!.begun);
    const queued = alone.filter((request) => request.queued !== undefined).sort((a, b) => a.queued! - b.queued!);
    let waiting: Request[] = [];
    let next = 0;
    for (const served of begun) {
      const at = served.hold!.begun;
      for (let newest = queued[next]; newest && newest.queued! < at; newest = queued[++next]) waiting.push(newest);
      waiting = waiting.filter((each) => waitsUntil(each) > at);
      for (const passed of waiting) {
        if (passed === served || passed.queued! >= served.asked || !exclude(passed, served)) continue;
        if (troublesOf(evidence, passed.process, passed.asked - RECONNECTION, at).length > 0) continue;
        const text = `${passed.label} was overtaken by ${served.label}, which asked ${seconds(served.asked - passed.queued!)} later`;
        evidence.verdict.fail("order on the server", `${lock}: ${text}`, at, lock);
      }
    }
  }
}

function waitsUntil(request: Request): number {
  const { hold, settled = Infinity, givesUp, process } = request;
  const died = process.isDown ? Infinity : process.last;
  return Math.min(hold?.begun ?? Infinity, settled, givesUp - GIVING_UP, died);
}
