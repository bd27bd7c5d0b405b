import type { LockLostError } from "../errors.ts";
import type { Grant } from "../schemes/scheme.ts";
import type { DetachedLock } from "./detached-lock.ts";

/** What a holder has: a lease, or a part of one. */
export interface Holding {
  readonly grant: Grant;
  readonly held: boolean;
  readonly remaining: number;
  readonly signal: AbortSignal;
  /** Set once the lease has been lost. */
  readonly error: LockLostError | undefined;
  /** Called immediately when the lease is lost; at most one listener. */
  onLost(listener: (error: LockLostError) => void): void;
  /** User code runs under it until it is released: `close()` waits for that. */
  guard(): void;
  extend(ttl?: number): Promise<void>;
  release(): Promise<boolean>;
  downgrade(): Promise<void>;
  detach(): Promise<DetachedLock>;
}
