/** Keeping a lock while a routine runs: it is extended in time, and the routine hears at once when it has ended. */
import { systemClock } from "../../clock.ts";
import type { Timer } from "../../clock.ts";
import { ExecutionError } from "./errors.ts";
import type { Lock, LockKeeper } from "./lock.ts";
import type { Settings } from "./settings.ts";

export type RedlockAbortSignal = AbortSignal & { error?: Error };

/** What a routine gets besides its signal. */
export interface RedlockUsingContext {
  /** As it is now: each extension replaces it. */
  readonly lock: Lock;
  readonly extensions: number;
}

export type Routine<T> = (signal: RedlockAbortSignal, context: RedlockUsingContext) => Promise<T>;

/** The pause before the next try of an extension that failed. */
const LEAST_PAUSE = 10;

/** Settles as the routine does; rejects, too, if the lock cannot be released behind a routine that succeeded. */
export async function holdDuring<T>(
  keeper: LockKeeper,
  lock: Lock,
  duration: number,
  settings: Settings,
  routine: Routine<T>,
): Promise<T> {
  const upkeep = new Upkeep(keeper, lock, duration, settings);
  let result: T;
  try {
    result = await routine(upkeep.signal, upkeep.context);
  } catch (error) {
    // The routine's outcome matters more than the lock's.
    await keeper.release(upkeep.end(), { ...settings, retryCount: 0 }).catch(() => {});
    throw error;
  }
  await keeper.release(upkeep.end(), settings);
  return result;
}

class Upkeep {
  readonly context: { lock: Lock; extensions: number };
  readonly #keeper: LockKeeper;
  readonly #duration: number;
  readonly #settings: Settings;
  readonly #controller = new AbortController();
  #deadline: Timer | undefined;
  #extension: Timer | undefined;
  /** Why the last extension failed. */
  #failure: Error | undefined;
  #isOver = false;

  constructor(keeper: LockKeeper, lock: Lock, duration: number, settings: Settings) {
    this.#keeper = keeper;
    this.#duration = duration;
    this.#settings = settings;
    this.context = { lock, extensions: 0 };
    this.#arm(this.#whenDue);
  }

  get signal(): RedlockAbortSignal {
    return this.#controller.signal;
  }

  /** @returns the lock as it is now; nothing happens to it any more */
  end(): Lock {
    this.#isOver = true;
    this.#deadline?.cancel();
    this.#extension?.cancel();
    return this.context.lock;
  }

  get #whenDue(): number {
    return this.context.lock.remaining - this.#settings.automaticExtensionThreshold;
  }

  /** @param delay until the next extension */
  #arm(delay: number): void {
    this.#deadline?.cancel();
    this.#deadline = systemClock.after(this.context.lock.remaining, () => this.#look());
    this.#extension = systemClock.after(delay, () => void this.#extend());
  }

  /** Timers of several weeks may fire early. */
  #look(): void {
    const { remaining } = this.context.lock;
    if (remaining <= 0) return this.#lost(this.#failure ?? new ExecutionError("The lock expired.", []));
    this.#deadline = systemClock.after(remaining, () => this.#look());
  }

  /** Never rejects. */
  async #extend(): Promise<void> {
    if (this.#whenDue > 0 && this.#failure === undefined) return this.#arm(this.#whenDue);
    const { lock } = this.context;
    try {
      const replacement = await this.#keeper.extend(lock, this.#duration, { ...this.#settings, retryCount: 0 });
      // A routine that has ended, or was told that the lock has, is not told otherwise: but this is what is released.
      this.context.lock = replacement;
      this.context.extensions++;
      this.#failure = undefined;
      if (!this.#isOver) this.#arm(this.#whenDue);
    } catch (error) {
      this.#failure = error as Error;
      if (this.#isOver) return;
      if (await isGone(this.#failure)) return this.#lost(this.#failure);
      if (this.#isOver) return;
      const { retryDelay } = this.#settings;
      this.#extension = systemClock.after(Math.max(LEAST_PAUSE, Math.min(retryDelay, lock.remaining / 4)), () => {
        void this.#extend();
      });
    }
  }

  #lost(error: Error): void {
    if (this.#isOver) return;
    this.end();
    (this.#controller.signal as RedlockAbortSignal).error = error;
    this.#controller.abort(error);
  }
}

/** Whether too many servers no longer have it for any extension to succeed. */
async function isGone(error: Error): Promise<boolean> {
  if (!(error instanceof ExecutionError)) return false;
  const stats = await error.attempts.at(-1);
  if (!stats) return true;
  const gone = [...stats.votesAgainst.values()].filter(({ name }) => name === "ResourceLockedError").length;
  return gone > stats.membershipSize - stats.quorumSize;
}
