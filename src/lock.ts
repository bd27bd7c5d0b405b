import type { Durability } from "./durability.ts";
import type { LockMode } from "./schemes/scheme.ts";
import type { DetachedLock } from "./leases/detached-lock.ts";
import type { Holding } from "./leases/holding.ts";

/** @throws LockLostError if it is lost before anyone is given it */
export function lockOf(holding: Holding): Lock | Promise<Lock> {
  const lock = new Lock(holding);
  // The event loop was blocked, and an extension that was requested in time may have been answered meanwhile.
  return holding.held ? lock : holding.extend().then(() => lock);
}

/** What a holder is given. It says whether the lock is still held; it is never an object to lock. */
export class Lock {
  readonly #lease: Holding;

  /** @internal */
  constructor(lease: Holding) {
    this.#lease = lease;
  }

  get name(): string {
    return this.#lease.grant.lock;
  }

  /** `shared` for the holder of a semaphore's permits too. */
  get mode(): LockMode {
    return this.#lease.grant.mode;
  }

  /** The fencing token: larger than that of every earlier grant of this lock. Send it along to what the lock guards. */
  get fence(): number {
    return this.#lease.grant.fence;
  }

  /** A unique ID of this grant, never used again: `<clientId>:<counter>`. */
  get token(): string {
    return this.#lease.grant.token;
  }

  /** The replicas (and disk) that had acknowledged the grant; undefined unless the request set `durability`. */
  get durability(): Durability | undefined {
    return this.#lease.grant.durability;
  }

  /** True while the lease lasts by this process's own clock, which is read each time. */
  get held(): boolean {
    return this.#lease.held;
  }

  /** Milliseconds until the lease ends by this process's own clock; 0 when it is over. */
  get remaining(): number {
    return this.#lease.remaining;
  }

  /** Aborts with a `LockLostError` if the lock is lost; `release()` does not abort it. */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /**
   * Make the lease last at least `ttl` milliseconds from now (default: the request's ttl). Never shortens it.
   *
   * @throws LockLostError if the lock is no longer held, SchemeError if the server did not answer, DurabilityError if
   *   too few replicas acknowledged the extension: you still hold the lock until its previous deadline.
   */
  extend(ttl?: number): Promise<void> {
    return this.#lease.extend(ttl);
  }

  /**
   * Turn an exclusive lock into a shared one: readers at the head of the queue are let in, and nobody holds it
   * exclusively in between. The fence stays the same. Does nothing if the lock is shared already.
   *
   * @throws LockLostError if the lock is no longer held, LockError ("unsupported") if the scheme has no shared locks,
   *   SchemeError if the server did not answer; you may call it again then.
   */
  downgrade(): Promise<void> {
    return this.#lease.downgrade();
  }

  /**
   * Stop holding the lock here without releasing it, and return plain data that another process can `attach`. The lease
   * is renewed once more, then by nobody: if nobody attaches it in time, the lock expires. From now on `held` is false,
   * and `release()` and `close()` leave the lock alone.
   *
   * @throws LockLostError if the lock is no longer held; SchemeError if the server did not answer, and then it is still
   *   held here; LockError `unsupported` for a part of a reentrant lock
   */
  detach(): Promise<DetachedLock> {
    return this.#lease.detach();
  }

  /**
   * Release the lock. In this process it is no longer held from now on; the promise resolves when the server has
   * answered: true if the lock was held until now. Never rejects: if the server cannot be reached, releasing is tried
   * until the lease ends, and then the lock expires.
   */
  release(): Promise<boolean> {
    return this.#lease.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lease.release().then(() => undefined);
  }
}
