/** What the checks judge by: the history, what went wrong, and how it is excused. */
import type { Affliction, Cause } from "./affliction.ts";
import type { History, Hold, ProcessHistory, Request } from "./history.ts";
import type { Verdict } from "./verdict.ts";

/** How far two readings of the server's clock and of ours may be apart, in milliseconds. */
const CLOCKS = 20;

export interface Evidence {
  readonly history: History;
  readonly afflictions: readonly Affliction[];
  readonly verdict: Verdict;
  /** The wall clock minus the monotonic one, in milliseconds. */
  readonly offset: number;
  /** Whether fences are times of the server: those of one server at a time are. */
  readonly fencesAreTimes: boolean;
  /** Whether all servers together keep one queue for each lock, first come, first served. */
  readonly isOrdered: boolean;
  /** Permits of each semaphore. */
  readonly semaphores: Readonly<Record<string, number>>;
  /** When the run ended. */
  readonly end: number;
}

/** A time in which a program believed that it held a lock. */
export interface Belief {
  readonly request: Request;
  readonly hold: Hold;
  readonly from: number;
  /** The last moment for which that is proved. */
  readonly to: number;
}

/**
 * What a program is proved to have believed. Between two looks at which it held it did so throughout, since a lock that
 * is lost is never held again. One whose process died without giving it back has it until its lease ends, because
 * nobody could have told the server otherwise.
 */
export function beliefOf(request: Request): Belief | undefined {
  const { hold, process } = request;
  if (!hold || hold.heldUntil === undefined) return undefined;
  const died = !process.isDown && hold.ended === undefined && request.settled === undefined;
  const to = died ? Math.max(hold.heldUntil, hold.deadline) : hold.heldUntil;
  return { request, hold, from: hold.begun, to };
}

/** Whether two that hold one lock may not do so at once. Semaphores are counted instead. */
export function exclude(a: Request, b: Request): boolean {
  return a.permits === undefined && (a.mode === "exclusive" || b.mode === "exclusive");
}

/**
 * Why a server may have granted both, or undefined if it may not have: the earlier grant was made before the server lost
 * what it knew, the later one after it began to, and the earlier one's lease ended in its time. Nobody can have renewed
 * it once the server did not know it.
 */
export function causeFor({ afflictions, offset, fencesAreTimes }: Evidence, a: Belief, b: Belief): Cause | undefined {
  if (!fencesAreTimes) return undefined;
  const [earlier, later] = a.hold.fence < b.hold.fence ? [a, b] : [b, a];
  const grantedAt = ({ hold }: Belief): number => hold.fence / 1e3 - offset;
  const overlapEnds = Math.min(a.to, b.to);
  for (const { doubt } of afflictions) {
    if (!doubt) continue;
    const wasKnown = grantedAt(earlier) <= doubt.until + CLOCKS && grantedAt(later) >= doubt.from - CLOCKS;
    const lease = Math.max(earlier.request.ttl, later.request.ttl);
    if (wasKnown && overlapEnds <= doubt.until + lease) return doubt.cause;
  }
  return undefined;
}

/** What went wrong for a process in that time. Its stalls count, and so do those of the others where servers share a machine. */
export function troublesOf(
  { afflictions, history }: Evidence,
  process: ProcessHistory,
  from: number,
  until: number,
): { readonly from: number; readonly until: number }[] {
  const overlaps = (each: { readonly from: number; readonly until: number }): boolean =>
    each.from <= until && each.until >= from;
  const struck = afflictions.filter(({ client }) => client === undefined || client === process.client);
  return [...struck, ...history.processes.flatMap(({ stalls }) => stalls)].filter(overlaps);
}

export function seconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(3)} s`;
}
