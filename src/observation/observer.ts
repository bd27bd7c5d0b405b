/**
 * Looks at the locks of a server again and again, for all viewers. It looks less often while nobody watches, and never
 * spends more than a tenth of the time on looking, however many locks there are.
 */
import type { Clock, Timer } from "../clock.ts";
import { LockError } from "../errors.ts";
import type { LockManagerSnapshot } from "../snapshot.ts";
import { History } from "./history.ts";
import type { Observation } from "./observation.ts";

/** What it uses of a LockManager. */
export interface Observable {
  query(): Promise<LockManagerSnapshot>;
}

export interface ObserverSettings {
  /** Milliseconds between two looks while somebody watches. */
  readonly poll: number;
  readonly stuckAfter: number;
  /** Whether it looks, less often, while nobody watches, so that there is a history. */
  readonly always: boolean;
}

/** Why the latest look failed. */
export interface Failure {
  readonly error: unknown;
  /** Milliseconds since 1970: looks have failed since then. */
  readonly since: number;
}

/** While nobody watches, it looks this many times less often. */
const UNWATCHED = 10;
/** After a look that took a while, it rests for this many times as long. */
const REST = 9;

export class Observer {
  readonly history: History;
  /** Undefined before the first look that did not fail. */
  latest: Observation | undefined;
  failure: Failure | undefined;
  readonly #locks: Observable;
  readonly #settings: ObserverSettings;
  readonly #clock: Clock;
  readonly #watchers = new Set<() => void>();
  #timer: Timer | undefined;
  #looking: Promise<void> | undefined;
  #took = 0;
  #endedAt = -Infinity;
  #isClosed = false;

  constructor(locks: Observable, settings: ObserverSettings, clock: Clock) {
    this.#locks = locks;
    this.#settings = settings;
    this.#clock = clock;
    this.history = new History(settings.stuckAfter);
    this.#schedule();
  }

  /** Milliseconds between two looks at present. */
  get pace(): number {
    const { poll } = this.#settings;
    return Math.max(this.#watchers.size > 0 ? poll : UNWATCHED * poll, REST * this.#took);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Calls `run` after each look, even a failed one, and when nobody looks any more.
   *
   * @returns a function that stops this
   */
  watch(run: () => void): () => void {
    const own = (): void => run();
    this.#watchers.add(own);
    this.#schedule();
    return () => {
      this.#watchers.delete(own);
    };
  }

  /** Looks now, because something has changed. Never rejects. */
  async look(): Promise<void> {
    await this.#looking;
    // Others that waited, too, share the look of the first of them.
    await (this.#looking ??= this.#look());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#tellAll();
    this.#watchers.clear();
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#isClosed || this.#looking) return;
    if (this.#watchers.size === 0 && !this.#settings.always) return;
    const delay = Math.max(0, this.#endedAt + this.pace - this.#clock.now());
    this.#timer = this.#clock.after(delay, () => void this.look());
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    const began = this.#clock.now();
    try {
      const snapshot = await this.#locks.query();
      const now = this.#clock.now();
      this.latest = this.history.add(snapshot, now, this.#time());
      this.failure = undefined;
      this.#took = this.#clock.now() - began;
    } catch (error) {
      // It took so long because nobody answered, and cost nothing.
      this.#took = 0;
      this.failure = { error, since: this.failure?.since ?? this.#time() };
      if (error instanceof LockError && error.code === "closed") this.close();
    }
    this.#endedAt = this.#clock.now();
    this.#looking = undefined;
    this.#tellAll();
    this.#schedule();
  }

  #tellAll(): void {
    for (const run of Array.from(this.#watchers)) run();
  }

  #time(): number {
    return this.#clock.micros() / 1_000;
  }
}
