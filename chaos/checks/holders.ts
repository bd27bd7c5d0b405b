/** One holder at a time, no more permits than there are, and fences that grow. */
import { type Belief, type Evidence, beliefOf, causeFor, exclude, seconds } from "./evidence.ts";
import type { Request } from "./history.ts";

export function checkHolders(evidence: Evidence): void {
  for (const [lock, requests] of evidence.history.byLock) {
    const beliefs = requests.flatMap((request) => beliefOf(request) ?? []).sort((a, b) => a.from - b.from);
    const limit = evidence.semaphores[lock];
    if (limit === undefined) checkOverlaps(evidence, lock, beliefs);
    else checkPermits(evidence, lock, limit, beliefs);
    checkFences(evidence, lock, beliefs);
  }
}

function checkOverlaps(evidence: Evidence, lock: string, beliefs: readonly Belief[]): void {
  let open: Belief[] = [];
  for (const belief of beliefs) {
    open = open.filter(({ to }) => to > belief.from);
    for (const other of open) {
      if (!exclude(other.request, belief.request)) continue;
      const cause = causeFor(evidence, other, belief);
      const both = `${tell(other)} and ${tell(belief)} hold ${lock} at once`;
      const long = seconds(Math.min(other.to, belief.to) - belief.from);
      if (cause) evidence.verdict.except(cause);
      else evidence.verdict.fail("one holder", `${both}, for ${long}`, belief.from, lock);
    }
    open.push(belief);
  }
}

function checkPermits(evidence: Evidence, lock: string, limit: number, beliefs: readonly Belief[]): void {
  let open: Belief[] = [];
  for (const belief of beliefs) {
    open = open.filter(({ to }) => to > belief.from);
    open.push(belief);
    const used = open.reduce((sum, { request }) => sum + (request.permits ?? 1), 0);
    if (used <= limit) continue;
    const cause = open.map((other) => other !== belief && causeFor(evidence, other, belief)).find(Boolean);
    if (cause) evidence.verdict.except(cause);
    else {
      const text = `${open.map(tell).join(" and ")} hold ${used} of ${limit} permits of ${lock}`;
      evidence.verdict.fail("permits", text, belief.from, lock);
    }
  }
}

/**
 * Of two that exclude each other, the one that began later has the larger fence, and no fence is given twice. Over an
 * excused pair of holders the order in which they begin is not that in which they were granted.
 */
function checkFences(evidence: Evidence, lock: string, beliefs: readonly Belief[]): void {
  const seen = new Map<number, Belief>();
  let highest: Belief | undefined;
  let highestExclusive: Belief | undefined;
  for (const belief of beliefs) {
    const { fence } = belief.hold;
    const twin = seen.get(fence);
    if (twin)
      evidence.verdict.fail("growing fences", `${tell(twin)} and ${tell(belief)}, of ${lock}`, belief.from, lock);
    seen.set(fence, belief);
    if (belief.request.permits !== undefined) continue;
    const isExclusive = belief.request.mode === "exclusive";
    const before = isExclusive ? highest : highestExclusive;
    if (before && before.hold.fence > fence && !causeFor(evidence, before, belief)) {
      const text = `${lock}: ${tell(belief)} began after ${tell(before)}`;
      evidence.verdict.fail("growing fences", text, belief.from, lock);
    }
    if (!highest || fence > highest.hold.fence) highest = belief;
    if (isExclusive && (!highestExclusive || fence > highestExclusive.hold.fence)) highestExclusive = belief;
  }
}

/** A guarded number that was overwritten unread. */
export function checkRegister({ verdict, end }: Evidence, lost: readonly { lock: string; fence: number }[]): void {
  for (const { lock, fence } of lost) {
    verdict.fail(
      "guarded writes",
      `the holder of ${lock} with fence ${fence} overwrote what it had not read`,
      end,
      lock,
    );
  }
}

/** The code of a request runs once, and a run-once job does in the time for which it is kept. */
export function checkOnce(evidence: Evidence, kept: number): void {
  const { history, verdict } = evidence;
  for (const request of history.requests) {
    if (request.begun > 1) {
      verdict.fail("runs once", `${request.label} ran ${request.begun} times`, request.asked, request.lock);
    }
  }
  for (const [lock, requests] of history.byLock) {
    const runs = requests.filter(({ verb, hold }: Request) => verb === "once" && hold !== undefined);
    runs.sort((a, b) => a.hold!.begun - b.hold!.begun);
    for (const [i, run] of runs.entries()) {
      const before = runs[i - 1];
      if (!before || run.hold!.begun - before.hold!.begun >= kept) continue;
      const cause = causeFor(evidence, asBelief(before, kept), asBelief(run, kept));
      if (cause) verdict.except(cause);
      else verdict.fail("runs once", `${before.label} and ${run.label} both ran ${lock}`, run.hold!.begun, lock);
    }
  }
}

/** A job is kept for longer than its holder believes. */
function asBelief(request: Request, kept: number): Belief {
  const hold = request.hold!;
  return { request: { ...request, ttl: kept }, hold, from: hold.begun, to: hold.begun };
}

function tell({ request, hold }: Belief): string {
  return `${request.label} (fence ${hold.fence})`;
}
