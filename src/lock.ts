import type { Durability } from "./durability.ts";
import type { LockMode } from "./schemes/scheme.ts";
import type { DetachedLock } from "./leases/detached-lock.ts";
import type { Holding } from "./leases/holding.ts";

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

  /** Names this grant for ever: `<clientId>:<counter>`. */
  get token(): string {
    return this.#lease.grant.token;
  }

  /** Who had the grant when it was told of; at least what was wished for. Undefined where nothing was. */
  get durability(): Durability | undefined {
    return this.#lease.grant.durability;
  }

  /** True only while the lease lasts by this process's own clock, looked at each time. */
  get held(): boolean {
    return this.#lease.held;
  }

  /** Milliseconds until the lease ends by this process's own clock; 0 when it is over. */
  get remaining(): number {
    return this.#lease.remaining;
  }

  /** Aborted with a `LockLostError` when the lease ends against the holder's will; not by `release()`. */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /**
   * Make the lease last at least `ttl` milliseconds from now (default: as long as it was asked for). Never shortens.
   *
   * @throws LockLostError when the lock is no longer held, SchemeError when the server did not answer, DurabilityError
   *   when too few have the extension: the lock is held until the deadline that it had then, unless a renewal is proven.
   */
  extend(ttl?: number): Promise<void> {
    return this.#lease.extend(ttl);
  }

  /**
   * Share what is held exclusively: those who wait for a shared lock at the head of the queue are let in, and nobody
   * holds it exclusively in between. The fence stays. Does nothing where the lock is shared already.
   *
   * @throws LockLostError when the lock is no longer held, LockError ("unsupported") where the scheme has no shared
   *   locks, SchemeError when the server did not answer; it may be called again then.
   */
  downgrade(): Promise<void> {
    return this.#lease.downgrade();
  }

  /**
   * Stop holding here without releasing, so that another process can `attach` what this gives: it is plain data. The
   * lease is renewed once more, then by nobody; where nobody attaches it in time the lock frees itself. From now on
   * `held` is false, and `release()` and `close()` leave the lock alone.
   *
   * @throws LockLostError when the lock is no longer held; SchemeError when the server did not answer, and then it is
   *   still held here; LockError `unsupported` for a part of a reentrant lock
   */
  detach(): Promise<DetachedLock> {
    return this.#lease.detach();
  }

  /**
   * Stop holding, at once as far as this process is concerned. Resolves when the server has answered: true if the
   * lock was held until now. Never rejects: where the server cannot be reached the lock frees itself when its
   * lease ends, and releasing is tried until then.
   */
  release(): Promise<boolean> {
    return this.#lease.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#lease.release().then(() => undefined);
  }
}
