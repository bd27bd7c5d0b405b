import { outsideContext } from "./async-context.ts";
import { clearTimeout, monotonic, onNextTurn, setTimeout, unref } from "./runtime.ts";
import { onAbort } from "./signals.ts";

/** A scheduled call. */
export interface Timer {
  cancel(): void;
}

/**
 * The time that deadlines are measured by. Everything in holdfast that waits or measures uses a clock, so that
 * tests can drive time by hand.
 */
export interface Clock {
  /** Milliseconds on a clock that never jumps; its zero means nothing. */
  now(): number;
  /** Microseconds since 1970, as far as this machine knows. Floors fences; never measures a duration. */
  micros(): number;
  /**
   * Call `run` once, after at least `delay` milliseconds, in no request's async context. Its argument is the time when
   * the timer fired: what had arrived by then has been read since. Judge lateness by that time, because user code may
   * have blocked the event loop in between.
   *
   * @param isAwaited whether the process must stay alive for it (default false)
   */
  after(delay: number, run: (firedAt: number) => void, isAwaited?: boolean): Timer;
}

/** setTimeout fires at once if the delay is longer than this, so callers split a longer wait into steps. */
export const LONGEST_TIMER: number = 2 ** 31 - 1;

/**
 * The process's own monotonic clock and timers. Fake timers of a test do not move it.
 */
export const systemClock: Clock = {
  now: monotonic,
  micros: () => Date.now() * 1000,
  after(delay, run, isAwaited = false) {
    let cancelTurn: (() => void) | undefined;
    // The process may have been blocked, so what has arrived is read before anything counts as late.
    const late = (): void => {
      const firedAt = monotonic();
      cancelTurn = onNextTurn(() => run(firedAt));
    };
    const timer = outsideContext(() => setTimeout(late, Math.min(Math.max(0, Math.ceil(delay)), LONGEST_TIMER)));
    if (!isAwaited) unref(timer);
    return {
      cancel: () => {
        clearTimeout(timer);
        cancelTurn?.();
      },
    };
  },
};

/** Resolves after that time, or as soon as one of the signals aborts. Leaves no timer and no listener behind. */
export function pause(clock: Clock, delay: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    const end = clock.now() + delay;
    let timer: Timer | undefined;
    const look = (): void => {
      timer?.cancel();
      if (clock.now() < end && !signals.some((signal) => signal?.aborted)) {
        timer = clock.after(end - clock.now(), look, true);
        return;
      }
      for (const stop of stops) stop();
      resolve();
    };
    const stops = signals.map((signal) => onAbort(signal, look));
    look();
  });
}
