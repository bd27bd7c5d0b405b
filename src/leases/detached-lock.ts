import type { LockMode } from "../schemes/scheme.ts";

/** A lock on its way between two processes: plain data. Nobody renews it; the process that attaches it holds it. */
export interface DetachedLock {
  readonly name: string;
  readonly mode: LockMode;
  readonly token: string;
  readonly fence: number;
  /** The ttl that the lock was requested with, in milliseconds. */
  readonly ttl: number;
  /** Milliseconds that the lease still had when it was detached. */
  readonly remaining: number;
}
