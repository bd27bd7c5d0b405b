/** Makes what `query()` reports from what schemes know. */
import { CANDIDATE } from "./schemes/scheme.ts";
import type { HolderState, LockMode, LockState, WaiterState } from "./schemes/scheme.ts";

/**
 * One holder or waiter, as `query()` reports it: the members of the Web Locks specification, then those of holdfast.
 */
export interface LockInfo {
  name: string;
  mode: LockMode;
  /** The manager that made the request; "" for a foreign holder (another library's key). */
  clientId: string;
  /** Undefined for a foreign holder, and for waiters behind the first one of their process. */
  token: string | undefined;
  /** The human-readable holder name: the request's label, or its manager's. */
  label: string;
  /** The manager's label, `host:pid:program` unless it was given another; "" if it is not known. */
  clientLabel: string;
  /** A holder's fencing token, if its scheme reports it. */
  fence: number | undefined;
  /**
   * Milliseconds until a holder's lease ends unless renewed; undefined for a waiter, and for a key that never expires.
   */
  remaining: number | undefined;
  /** Milliseconds since a holder's grant, if known: by the server's clock, otherwise by this machine's. */
  held: number | undefined;
  /**
   * Milliseconds that a waiter has been in the queue, if its scheme reports it. If requests of another process share a
   * place in the queue: since that place was taken.
   */
  waited: number | undefined;
  /** Whether it leads an election or is a candidate (`elect`). */
  inElection: boolean;
  /** For a semaphore: how many permits it holds or wants, and how many there are. */
  permits?: number;
  limit?: number;
}

/** What `query()` reports: holders, and waiters in the order of their queues. */
export interface LockManagerSnapshot {
  held: LockInfo[];
  pending: LockInfo[];
}

/** @param micros this machine's clock, in microseconds since 1970 */
export function snapshotOf(states: readonly LockState[], micros: number): LockManagerSnapshot {
  return { held: states.flatMap((state) => holdersOf(state, micros)), pending: states.flatMap(waitersOf) };
}

function holdersOf({ lock, mode = "exclusive", limit, holders }: LockState, micros: number): LockInfo[] {
  return holders.map(({ token, fence, remaining, held, label, clientLabel = "", permits }: HolderState) => ({
    name: lock,
    mode,
    clientId: clientOf(token),
    token,
    label,
    clientLabel,
    fence,
    remaining,
    // A fence is the time of its grant in microseconds, unless that would be less than the one before.
    held: held ?? (fence === undefined ? undefined : Math.max(0, Math.floor((micros - fence) / 1_000))),
    waited: undefined,
    inElection: inElection(token),
    ...share(permits, limit),
  }));
}

/** Of the requests that share a place in the queue, the first one has the place's token. */
function waitersOf({ lock, limit, waiters }: LockState): LockInfo[] {
  return waiters.flatMap(
    ({ token, mode, label, clientLabel = "", waited, waiting, isBehind = false, permits }: WaiterState) =>
      Array.from({ length: waiting }, (_, i) => ({
        name: lock,
        mode,
        clientId: clientOf(token),
        token: i > 0 || isBehind ? undefined : token,
        label,
        clientLabel,
        fence: undefined,
        remaining: undefined,
        held: undefined,
        waited,
        inElection: inElection(token),
        ...share(permits, limit),
      })),
  );
}

function clientOf(token: string | undefined): string {
  return token?.slice(0, token.indexOf(":")) ?? "";
}

function inElection(token: string | undefined): boolean {
  return token?.includes(`:${CANDIDATE}`) ?? false;
}

function share(permits: number | undefined, limit: number | undefined): Pick<LockInfo, "permits" | "limit"> {
  return permits !== undefined && limit !== undefined ? { permits, limit } : {};
}
