import type { LockMode } from "../schemes/scheme.ts";

/** A lock between two processes: plain data, to be sent in any way. Nobody renews it; the process that attaches it holds it. */
export interface DetachedLock {
  readonly name: string;
  readonly mode: LockMode;
  readonly token: string;
  readonly fence: number;
  /** The ttl that the lock was requested with, in milliseconds. */
  readonly ttl: number;
  /** Milliseconds until the lease ends, when it was detached. */
  readonly remaining: number;
}
