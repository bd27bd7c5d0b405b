/** The record that the workers share, and what else they share: kept by Redis, or by this process. */
import type { Redis } from "ioredis";
import { LEASE, LEASE_SECONDS } from "./protocol.ts";

export interface Shared {
  /** Begin a round: a record that says 0, and so many increments to be made. */
  reset(increments: number): Promise<void>;
  /** Take one of the increments that are to be made; false when there are none left. */
  draw(): Promise<boolean>;
  /** An increment that was taken has not been made. */
  putBack(): Promise<void>;
  /** The count; undefined if a newer fence than this has been seen. */
  read(fence?: number): Promise<number | undefined>;
  /** False if a newer fence than this has been seen. */
  write(count: number, fence?: number): Promise<boolean>;
  /** How many are inside, this worker included. */
  enter(worker: number): Promise<number>;
  leave(worker: number): Promise<void>;
  /** The tutorial's lock: `SET lock 1 NX EX`. */
  setLock(): Promise<boolean>;
  /** The tutorial's unlock: `DEL lock`. True if there was one. */
  deleteLock(): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * The keeper of the record looks at the fence when it is read, too: from then on an older holder cannot write, so
 * that nothing can come between this holder's reading and writing.
 */
const GUARDED = `
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or '0') then return false end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
if ARGV[3] then redis.call('SET', KEYS[1], ARGV[3], 'EX', ARGV[2]) end
return redis.call('GET', KEYS[1])`;

/** Should the demo be killed, its keys go by themselves. */
const KEPT = 600;

export class RedisRecord implements Shared {
  readonly #redis: Redis;
  readonly #keys: Record<"record" | "fence" | "left" | "inside" | "lock", string>;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    const key = (name: string): string => `${prefix}${name}`;
    this.#keys = {
      record: key("record"),
      fence: key("newest-fence"),
      left: key("left"),
      inside: key("inside"),
      lock: key("lock"),
    };
  }

  async reset(increments: number): Promise<void> {
    await this.#redis.set(this.#keys.record, 0, "EX", KEPT);
    await this.#redis.set(this.#keys.left, increments, "EX", KEPT);
  }

  async draw(): Promise<boolean> {
    return (await this.#redis.decr(this.#keys.left)) >= 0;
  }

  async putBack(): Promise<void> {
    await this.#redis.incr(this.#keys.left);
  }

  async read(fence?: number): Promise<number | undefined> {
    if (fence === undefined) return Number(await this.#redis.get(this.#keys.record));
    const count = await this.#guarded(fence);
    return count === null ? undefined : Number(count);
  }

  async write(count: number, fence?: number): Promise<boolean> {
    if (fence === undefined) return (await this.#redis.set(this.#keys.record, count, "EX", KEPT)) === "OK";
    return (await this.#guarded(fence, count)) !== null;
  }

  async enter(worker: number): Promise<number> {
    const { inside } = this.#keys;
    const replies = await this.#redis.multi().sadd(inside, worker).expire(inside, KEPT).scard(inside).exec();
    return Number(replies?.[2]?.[1]);
  }

  async leave(worker: number): Promise<void> {
    await this.#redis.srem(this.#keys.inside, worker);
  }

  async setLock(): Promise<boolean> {
    return (await this.#redis.set(this.#keys.lock, "1", "EX", LEASE_SECONDS, "NX")) === "OK";
  }

  async deleteLock(): Promise<boolean> {
    return (await this.#redis.del(this.#keys.lock)) === 1;
  }

  async close(): Promise<void> {
    await this.#redis.del(...Object.values(this.#keys));
  }

  #guarded(fence: number, ...count: number[]): Promise<unknown> {
    return this.#redis.eval(GUARDED, 2, this.#keys.record, this.#keys.fence, fence, KEPT, ...count);
  }
}

/** The same without a server. Every call takes a turn of the event loop, as if it went over a network. */
export class MemoryRecord implements Shared {
  #count = 0;
  #fence = 0;
  #left = 0;
  #lockedUntil = 0;
  readonly #inside = new Set<number>();

  reset(increments: number): Promise<void> {
    return this.#step(() => void (this.#left = increments));
  }

  draw(): Promise<boolean> {
    return this.#step(() => this.#left-- > 0);
  }

  putBack(): Promise<void> {
    return this.#step(() => void this.#left++);
  }

  read(fence?: number): Promise<number | undefined> {
    return this.#step(() => (this.#isNewest(fence) ? this.#count : undefined));
  }

  write(count: number, fence?: number): Promise<boolean> {
    return this.#step(() => {
      if (!this.#isNewest(fence)) return false;
      this.#count = count;
      return true;
    });
  }

  enter(worker: number): Promise<number> {
    return this.#step(() => this.#inside.add(worker).size);
  }

  leave(worker: number): Promise<void> {
    return this.#step(() => void this.#inside.delete(worker));
  }

  setLock(): Promise<boolean> {
    return this.#step(() => {
      if (this.#lockedUntil > performance.now()) return false;
      this.#lockedUntil = performance.now() + LEASE;
      return true;
    });
  }

  deleteLock(): Promise<boolean> {
    return this.#step(() => {
      const locked = this.#lockedUntil > performance.now();
      this.#lockedUntil = 0;
      return locked;
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #isNewest(fence = this.#fence): boolean {
    if (fence < this.#fence) return false;
    this.#fence = fence;
    return true;
  }

  #step<T>(run: () => T): Promise<T> {
    return new Promise((resolve) => setImmediate(() => resolve(run())));
  }
}
