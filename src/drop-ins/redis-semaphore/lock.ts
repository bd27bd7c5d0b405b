import { pause, systemClock } from "../../clock.ts";
import type { Timer } from "../../clock.ts";
import type { RedisClient } from "../../drivers/index.ts";
import { onAbort, throwIfAborted } from "../../signals.ts";
import { Member } from "../member.ts";
import { Wait } from "../wait.ts";
import { LostLockError, TimeoutError } from "./errors.ts";
import { checkOptions } from "./options.ts";
import type { CheckedOptions, LockOptions } from "./options.ts";
import { Seat } from "./seat.ts";
import type { Kind } from "./seat.ts";

/** How much sooner than the servers we take a lock to have ended: clocks drift, and servers round to 1 ms. */
const DRIFT_FACTOR = 0.01;
const ROUNDING = 2;
/** The pause before a refresh that failed is tried again, in milliseconds, at most. */
const REFRESH_PAUSE = 200;

/** What all of redis-semaphore's locks share. */
export abstract class Lock {
  readonly #options: CheckedOptions;
  readonly #seat: Seat;
  readonly #isSingle: boolean;
  /** Another process holds it, under our identifier. */
  #isTakenOver: boolean;
  #isHeld = false;
  /** By the monotonic clock: what is held has ended then. */
  #deadline = -Infinity;
  #isRefreshed = false;
  #refreshing: Timer | undefined;
  #ending: Timer | undefined;
  /** Callers of this one object are served one after another, as if each had its own object. */
  #last: Promise<unknown> = Promise.resolve();
  /** Aborted when what is held is released. */
  #released = new AbortController();

  /** @param clients one, or those of independent servers */
  protected constructor(clients: RedisClient | readonly RedisClient[], kind: Kind, options: LockOptions | undefined) {
    this.#options = checkOptions(options);
    this.#isSingle = !Array.isArray(clients);
    const all = (this.#isSingle ? [clients] : clients) as readonly RedisClient[];
    const { identifier, lockTimeout, isTakenOver } = this.#options;
    const members = [...new Set(all)].map((client) => new Member(client));
    this.#seat = new Seat(members, kind, identifier, lockTimeout);
    this.#isTakenOver = isTakenOver;
  }

  get identifier(): string {
    return this.#options.identifier;
  }

  /** Whether it is held now, by this process's own clock. */
  get isAcquired(): boolean {
    return this.#isHeld && systemClock.now() < this.#deadline;
  }

  /** @throws (as rejections) TimeoutError if it cannot be had in time; the signal's reason; a single client's errors */
  async acquire(abortSignal?: AbortSignal): Promise<void> {
    if (await this.tryAcquire(abortSignal)) return;
    throw new TimeoutError(`Acquire ${this.#seat.kind.title} ${this.#seat.kind.name} timeout`);
  }

  /** @returns false if it cannot be had in time */
  async tryAcquire(abortSignal?: AbortSignal): Promise<boolean> {
    throwIfAborted(abortSignal);
    const end = systemClock.now() + this.#options.acquireTimeout;
    const turn = this.#last.then(async () => {
      await this.#untilReleased(end, abortSignal);
      throwIfAborted(abortSignal);
      return !this.isAcquired && this.#take(end, abortSignal);
    });
    this.#last = turn.catch(() => {});
    let stop!: () => void;
    const aborted = new Promise<boolean>((resolve) => (stop = onAbort(abortSignal, () => resolve(true))));
    try {
      // A caller that gives up need not wait for those before it.
      await Promise.race([turn, aborted]);
      throwIfAborted(abortSignal);
      return await turn;
    } finally {
      stop();
    }
  }

  /** Resolves if there was nothing to release, too. */
  async release(): Promise<void> {
    this.stopRefresh();
    const isOurs = this.#isHeld || this.#isTakenOver;
    this.#isHeld = false;
    this.#isTakenOver = false;
    try {
      if (isOurs) await this.#seat.release();
    } catch (error) {
      // Over several servers a release cannot fail, as with redis-semaphore: what was not reached expires.
      if (this.#isSingle) throw error;
    } finally {
      this.#released.abort();
      this.#released = new AbortController();
    }
  }

  /** Let it end with its time, unless another process refreshes it. */
  stopRefresh(): void {
    this.#isRefreshed = false;
    this.#refreshing?.cancel();
    this.#ending?.cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** Until this object's own holder has released it, its time is over, or ours is. */
  async #untilReleased(end: number, abortSignal: AbortSignal | undefined): Promise<void> {
    while (this.isAcquired && systemClock.now() < end) {
      const until = Math.min(end, this.#deadline);
      await pause(systemClock, until - systemClock.now(), this.#released.signal, abortSignal);
      throwIfAborted(abortSignal);
    }
  }

  async #take(end: number, abortSignal: AbortSignal | undefined): Promise<boolean> {
    if (this.#isTakenOver) return this.#takeOver();
    const { acquireAttemptsLimit, longestInterval, retryInterval } = this.#options;
    const { members, kind } = this.#seat;
    const wait = new Wait(members, [kind.name], { isSimple: kind.limit === undefined, signal: abortSignal });
    let [attempts, interval, due] = [0, retryInterval, -Infinity];
    try {
      for (let isWoken = false; ;) {
        wait.begin();
        const taken = await this.#seat.acquire();
        if (taken.isTaken && !abortSignal?.aborted) return this.#hold(taken.start);
        if (taken.isTaken) await this.#seat.release().catch(() => {});
        throwIfAborted(abortSignal);
        if (!taken.isTaken && taken.error && this.#isSingle) throw taken.error;
        if (!isWoken) {
          attempts++;
          due = systemClock.now() + interval;
          interval = Math.min(interval * 2, longestInterval);
        }
        if (attempts >= acquireAttemptsLimit) return false;
        isWoken = await wait.until(Math.min(due, end));
        throwIfAborted(abortSignal);
        if (systemClock.now() >= end) return false;
      }
    } finally {
      wait.end();
    }
  }

  async #takeOver(): Promise<boolean> {
    const taken = await this.#seat.refresh(() => true);
    if (!taken.isTaken) return false;
    this.#isTakenOver = false;
    return this.#hold(taken.start);
  }

  /** It is held, and lasts from then on. */
  #hold(start: number): true {
    const { lockTimeout, refreshInterval } = this.#options;
    this.#isHeld = true;
    this.#deadline = start + lockTimeout * (1 - DRIFT_FACTOR) - ROUNDING;
    this.#isRefreshed = refreshInterval > 0;
    if (this.#isRefreshed) this.#keep(start + refreshInterval - systemClock.now());
    return true;
  }

  #keep(delay: number): void {
    this.#refreshing?.cancel();
    this.#ending?.cancel();
    this.#refreshing = systemClock.after(delay, () => void this.#refresh());
    this.#ending = systemClock.after(this.#deadline - systemClock.now(), () => {
      if (this.isAcquired) this.#keep(0);
      else this.#lose();
    });
  }

  /** Never rejects. */
  async #refresh(): Promise<void> {
    const taken = await this.#seat.refresh(() => this.#isHeld);
    if (!this.#isHeld || !this.#isRefreshed) return;
    if (taken.isTaken) this.#hold(taken.start);
    else if (taken.isFinal) this.#lose();
    else this.#keep(Math.min(REFRESH_PAUSE, (this.#deadline - systemClock.now()) / 4));
  }

  #lose(): void {
    if (!this.#isHeld) return;
    const { kind } = this.#seat;
    void this.#drop();
    const error = new LostLockError(`Lost ${kind.title} for key ${kind.name}`);
    // On its own, so that what it throws is thrown where nobody catches it.
    queueMicrotask(() => Reflect.apply(this.#options.onLockLost, this, [error]));
  }

  async #drop(): Promise<void> {
    await this.release().catch(() => {});
  }
}
