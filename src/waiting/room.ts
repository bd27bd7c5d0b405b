import type { Clock } from "../clock.ts";
import type { LeaseKeeper } from "../leases/keeper.ts";
import type { Scheme } from "../schemes/scheme.ts";

/** What all lines of one manager have in common. */
export interface Room {
  readonly scheme: Scheme;
  readonly clock: Clock;
  readonly keeper: LeaseKeeper;
  /** How many requests of this process may follow one another on a lock before another process has its turn. */
  readonly turn: number;
  readonly isClosed: boolean;
  newToken(): string;
  /** Something has been sent, and `close()` waits until it has been answered. */
  sent(): void;
  answered(): void;
  /** Call `begin` when ready. What becomes ready in one turn of the event loop begins in the order of these calls. */
  begin(begin: () => void, ready: Promise<void> | undefined): void;
}
