/** For tests of programs that use holdfast: locks without a server, and a clock that you move by hand. */
import { systemClock } from "./clock.ts";
import type { Clock, Timer } from "./clock.ts";
import { LockManager } from "./lock-manager.ts";
import type { ManagerOptions } from "./options/manager.ts";
import { oneOf, show } from "./options/checks.ts";
import { MemoryStore } from "./schemes/memory.ts";
import { onNextTurn } from "./runtime.ts";

/** A clock that moves only when you move it. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly run: (firedAt: number) => void }>();

  now(): number {
    return this.#now;
  }

  micros(): number {
    return 1e15 + this.#now * 1000;
  }

  after(delay: number, run: (firedAt: number) => void): Timer {
    const timer = { at: this.#now + Math.max(0, delay), run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** How many calls are still scheduled. */
  get pending(): number {
    return this.#timers.size;
  }

  /**
   * Lets time pass and runs what becomes due, in order; promises settle in between.
   *
   * @throws TypeError unless it is a number of at least 0
   */
  async advance(milliseconds: number): Promise<void> {
    if (typeof milliseconds !== "number" || !(milliseconds >= 0 && milliseconds < Infinity)) {
      throw new TypeError(`Expected a number of milliseconds of at least 0; got ${show(milliseconds)}.`);
    }
    const end = this.#now + milliseconds;
    await settled();
    for (;;) {
      const next = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.run(this.#now);
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => onNextTurn(resolve));
}

/** A separate world of locks: other worlds do not see what its managers lock. */
export class TestLocks {
  /** You move it by hand; with `"real time"` nothing uses it. */
  readonly clock: ManualClock = new ManualClock();
  readonly #store: MemoryStore;

  /** @throws TypeError */
  constructor(time: "by hand" | "real time" = "by hand") {
    oneOf(time, "time", ["by hand", "real time"]);
    this.#store = new MemoryStore(time === "by hand" ? this.clock : systemClock);
  }

  /**
   * A manager like that of another process. All share this world's locks and clock, and report requests that
   * wait for themselves (`detectDeadlocks`).
   */
  manager(options?: ManagerOptions): LockManager {
    return new LockManager(this.#store, { detectDeadlocks: options?.trackContext !== false, ...options });
  }
}
