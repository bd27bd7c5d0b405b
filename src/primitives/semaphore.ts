import { Lock } from "../lock.ts";
import type { Lease } from "../leases/lease.ts";
import { checkCallback } from "../options/request.ts";
import type { SemaphoreOptions } from "../options/semaphore.ts";
import type { Verb } from "../options/request.ts";

/** What a semaphore asks of its manager. */
export interface SemaphoreRoom {
  /** Null when it may not wait and there are too few permits. */
  obtain(verb: Verb, options: unknown): Promise<Lease | null>;
  /** Settles as the callback does, or with the loss of the lease. */
  holdDuring<T>(lease: Lease, run: () => Promise<T>): Promise<T>;
}

/** Options of `tryAcquire`, which never waits. */
export type TrySemaphoreOptions = Omit<
  SemaphoreOptions,
  "ifAvailable" | "signal" | "waitTimeout" | "maxQueue" | "onWait"
>;

/**
 * So many permits, held by many at a time. Each holder has a lease of its own: the permits of one that crashes come
 * back when it ends, by the server's clock. First come, first served: a large request is not overtaken by small ones.
 *
 * All who use it at the same time must give it the same limit; else they are refused with `LockError` ("mismatch"),
 * as those are who use its name for a lock.
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

  /** Hold permits (default 1) while the callback runs; settles as the callback does. As `LockManager.request`. */
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
    return lease ? this.#room.holdDuring(lease, () => run(new Lock(lease))) : run(null);
  }

  /** Wait for permits and keep them until `release()`, or the end of an `await using` block. */
  async acquire(options?: Omit<SemaphoreOptions, "ifAvailable">): Promise<Lock> {
    // Only those who may not wait are answered with nothing.
    return new Lock((await this.#room.obtain("acquire", options)) as Lease);
  }

  /** Take permits if that is possible at once, else null. */
  async tryAcquire(options?: TrySemaphoreOptions): Promise<Lock | null> {
    const lease = await this.#room.obtain("tryAcquire", options);
    return lease && new Lock(lease);
  }
}
