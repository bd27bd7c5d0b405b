/** A scheduled call. */
export interface Timer {
  cancel(): void;
}

/**
 * The time that deadlines are kept by. Everything in holdfast that waits or measures does it through a clock,
 * so that tests drive time by hand.
 */
export interface Clock {
  /** Milliseconds on a clock that never jumps; its zero means nothing. */
  now(): number;
  /** Microseconds since 1970, as far as this machine knows. Floors fences; never measures a duration. */
  micros(): number;
  /** Call `run` once, after at least `delay` milliseconds. Never keeps the process alive. */
  after(delay: number, run: () => void): Timer;
}

/** setTimeout runs at once what is further away than this; a longer wait is taken in steps by its caller. */
export const LONGEST_TIMER: number = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  micros: () => Date.now() * 1000,
  after(delay, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, Math.ceil(delay)), LONGEST_TIMER));
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Resolves after so long, or as soon as one of the signals is aborted. Leaves no timer and no listener behind. */
export function pause(clock: Clock, delay: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
  return new Promise((resolve) => {
    const end = clock.now() + delay;
    let timer: Timer | undefined;
    const look = (): void => {
      timer?.cancel();
      if (clock.now() < end && !signals.some((signal) => signal?.aborted)) {
        timer = clock.after(end - clock.now(), look);
        return;
      }
      for (const signal of signals) signal?.removeEventListener("abort", look);
      resolve();
    };
    for (const signal of signals) signal?.addEventListener("abort", look);
    look();
  });
}
