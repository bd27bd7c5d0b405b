import type { Clock } from "../clock.ts";
import type { Origin } from "../events.ts";
import type { Departing, Kept } from "../leases/departing.ts";
import type { LeaseKeeper } from "../leases/keeper.ts";
import type { Lease } from "../leases/lease.ts";
import type { LockMode, Scheme } from "../schemes/scheme.ts";

/** A request or grant that is over, with what is known of it. */
export interface Over {
  readonly lock: string;
  readonly token: string;
  readonly mode?: LockMode | undefined;
  readonly fence?: number | undefined;
}

/** How a farewell is sent. */
export interface Manner {
  /** A question about the same lock has not been sent yet, and must not be overtaken. */
  readonly isBehind?: boolean;
  /** The lock stays held until this time, under this label. */
  readonly kept?: Kept | undefined;
}

/** A request that begins to hold. */
interface Beginning {
  begin(lease: Lease): void;
}

/** What all lines of one manager have in common. */
export interface Room {
  readonly scheme: Scheme;
  readonly clock: Clock;
  readonly keeper: LeaseKeeper;
  /** How many requests of this process may follow one another on a lock before another process has its turn. */
  readonly turn: number;
  readonly isClosed: boolean;
  /** What events say about the manager. */
  readonly origin: Origin;
  newToken(isCandidacy: boolean): string;
  /** Something has been sent, and `close()` waits until it has been answered. */
  sent(): void;
  answered(): void;
  /**
   * Let the request begin when ready. What becomes ready in one turn of the event loop begins in the order of these
   * calls.
   */
  begin(request: Beginning, lease: Lease, ready: Promise<void> | undefined): void;
  /**
   * Notify the scheme that this is over: see `Farewells`.
   *
   * @param ttl if the scheme never hears it, the token is gone after that many milliseconds
   * @param departing is notified of the first outcome
   */
  farewell(over: Over, ttl: number, departing?: Departing, manner?: Manner): void;
  /** Nobody in this process holds the line's lock or waits for it any more. */
  empty(line: { readonly lock: string }): void;
}

/** What events of a request with that label say. */
export function originOf({ origin }: Pick<Room, "origin">, label: string): Origin {
  return label ? { ...origin, label } : origin;
}
