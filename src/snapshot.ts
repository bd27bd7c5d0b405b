/** What `query()` reports, made from what schemes know. */
import type { HolderState, LockMode, LockState, WaiterState } from "./schemes/scheme.ts";

/** One holder or waiter, as `query()` reports it: what the Web Locks specification names, then ours. */
export interface LockInfo {
  name: string;
  mode: LockMode;
  /** The manager that made the request; "" for a foreign holder (another library's key). */
  clientId: string;
  /** Undefined for a foreign holder, and for those who wait behind the first of their process. */
  token: string | undefined;
  /** The human-readable holder name: the request's label, or its manager's. */
  label: string;
  /** A holder's fencing token, if its scheme reports it. */
  fence: number | undefined;
  /** Milliseconds until a holder's lease ends unless renewed. */
  remaining: number | undefined;
  /** For a semaphore: how many permits it holds or wants, and how many there are. */
  permits?: number;
  limit?: number;
}

/** What `query()` reports: holders, and waiters in the order of their queues. */
export interface LockManagerSnapshot {
  held: LockInfo[];
  pending: LockInfo[];
}

export function snapshotOf(states: readonly LockState[]): LockManagerSnapshot {
  return { held: states.flatMap(holdersOf), pending: states.flatMap(waitersOf) };
}

function holdersOf({ lock, mode = "exclusive", limit, holders }: LockState): LockInfo[] {
  return holders.map(({ token, fence, remaining, label, permits }: HolderState) => ({
    name: lock,
    mode,
    clientId: clientOf(token),
    token,
    label,
    fence,
    remaining,
    ...share(permits, limit),
  }));
}

/** Of those who share a place in the queue, the first has its token. */
function waitersOf({ lock, limit, waiters }: LockState): LockInfo[] {
  return waiters.flatMap(({ token, mode, label, waiting, isBehind = false, permits }: WaiterState) =>
    Array.from({ length: waiting }, (_, i) => ({
      name: lock,
      mode,
      clientId: clientOf(token),
      token: i > 0 || isBehind ? undefined : token,
      label,
      fence: undefined,
      remaining: undefined,
      ...share(permits, limit),
    })),
  );
}

function clientOf(token: string | undefined): string {
  return token?.slice(0, token.indexOf(":")) ?? "";
}

function share(permits: number | undefined, limit: number | undefined): Pick<LockInfo, "permits" | "limit"> {
  return permits !== undefined && limit !== undefined ? { permits, limit } : {};
}
