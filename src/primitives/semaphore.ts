import type { Lease } from "../leases/lease.ts";
import { Lock, lockOf } from "../lock.ts";
import { checkCallback } from "../options/request.ts";
import type { Verb } from "../options/request.ts";
import type { SemaphoreOptions } from "../options/semaphore.ts";
import { holdDuring } from "./hold.ts";

/** What a semaphore uses of its manager. */
interface SemaphoreRoom {
  /** Null if it is a try and there are too few. */
  obtain(verb: Verb, options: unknown): Promise<Lease | null>;
  /** Run a callback under this lease. */
  within<T>(lease: Lease, run: () => T): T;
}

/** Options of `tryAcquire`. Those about waiting (`signal`, `maxQueue`, `onWait`) need a `waitTimeout`. */
export type TrySemaphoreOptions = Omit<SemaphoreOptions, "ifAvailable">;

/**
 * A limited number of permits, held by many at a time. Each holder has its own lease, so the permits of one that
 * crashes come back when its lease ends, by the server's clock. First come, first served: small requests never jump
 * ahead of a large one.
 *
 * All who use it at the same time must give it the same limit; otherwise they are refused with `LockError`
 * ("mismatch"), as are those who use its name for a lock.
 */
export class Semaphore {
  readonly name: string;
  /** How many permits there are. */
  readonly limit: number;
  readonly #room: SemaphoreRoom;

  /** @internal */
  constructor(name: string, limit: number, room: SemaphoreRoom) {
    this.name = name;
    this.limit = limit;
    this.#room = room;
  }

  /**
   * Holds permits (default 1) while the callback runs, and settles as the callback does. Like `LockManager.request`.
   */
  request<T>(callback: (lock: Lock) => T): Promise<Awaited<T>>;
  request<T>(
    options: SemaphoreOptions & { ifAvailable: true },
    callback: (lock: Lock | null) => T,
  ): Promise<Awaited<T>>;
  request<T>(
    options: SemaphoreOptions & { ifAvailable?: false | undefined },
    callback: (lock: Lock) => T,
  ): Promise<Awaited<T>>;
  async request<T>(...args: unknown[]): Promise<Awaited<T>> {
    const [options, callback] = args.length > 1 ? args : [undefined, args[0]];
    checkCallback(callback);
    const lease = await this.#room.obtain("request", options);
    const run = async (lock: Lock | null): Promise<Awaited<T>> => await (callback as (lock: Lock | null) => T)(lock);
    if (!lease) return run(null);
    return holdDuring(lease, () => this.#room.within(lease, () => run(new Lock(lease))));
  }

  /** Waits for permits and keeps them until `release()`, or until the end of an `await using` block. */
  async acquire(options?: Omit<SemaphoreOptions, "ifAvailable">): Promise<Lock> {
    // Only a request that may not wait resolves to nothing.
    return lockOf((await this.#room.obtain("acquire", options)) as Lease);
  }

  /** Takes permits if they are free at once, or within `waitTimeout`; otherwise resolves to null. */
  async tryAcquire(options?: TrySemaphoreOptions): Promise<Lock | null> {
    const lease = await this.#room.obtain("tryAcquire", options);
    return lease && lockOf(lease);
  }
}
