import type { Clock, Timer } from "../clock.ts";
import { LockTimeoutError } from "../errors.ts";
import { currentContext, inContext, isHeard } from "../events.ts";
import type { Context } from "../events.ts";
import type { Lease } from "../leases/lease.ts";
import type { CheckedRequest, Wait } from "../options/request.ts";
import { onAbort } from "../signals.ts";
import type { Place } from "./place.ts";
import type { Queued } from "./queue.ts";

/** Where a request waits. */
interface Waits {
  readonly clock: Clock;
  /** The request is over without a grant. */
  left(request: Request): void;
  /** Why it has not been granted yet, to complete the error of a timeout. */
  whyNot(request: Request): { reason: string; cause?: unknown };
}

/** One wish to hold a lock, until it is granted or over. Then it settles its promise once, and nothing is left of it. */
export class Request implements Queued<Request> {
  readonly terms: CheckedRequest;
  readonly context: Context;
  before: Request | undefined;
  behind: Request | undefined;
  /** The place in the queue at which it waits; undefined while it waits for one. */
  place: Place | undefined;
  joinedAt = 0;
  isOver = false;
  readonly #resolve: (lease: Lease | null) => void;
  readonly #reject: (error: unknown) => void;
  #waits: Waits | undefined;
  #timer: Timer | undefined;
  #ignoreSignal: (() => void) | undefined;
  /** What `onWait` was last called with. */
  #told: Wait | undefined;

  constructor(terms: CheckedRequest, resolve: (lease: Lease | null) => void, reject: (error: unknown) => void) {
    this.terms = terms;
    this.#resolve = resolve;
    this.#reject = reject;
    this.context = terms.onWait || isHeard() ? currentContext() : undefined;
  }

  /** It waits from now on. */
  begin(waits: Waits): void {
    const { signal, waitTimeout } = this.terms;
    this.#waits = waits;
    this.joinedAt = waits.clock.now();
    if (signal) this.#ignoreSignal = onAbort(signal, () => this.end(signal.reason));
    if (waitTimeout) this.#endAt(this.joinedAt + waitTimeout, waitTimeout);
  }

  /** It holds from now on. @returns what to call with its lease when its code may begin */
  granted(): (lease: Lease) => void {
    this.#finish();
    return this.#resolve;
  }

  /** The lock is busy, and the request may not wait. */
  busy(): void {
    const { lock, waitTimeout } = this.terms;
    const { reason } = (this.#waits as Waits).whyNot(this);
    if (!this.#finish()) return;
    if (waitTimeout === 0) this.#reject(new LockTimeoutError(lock, 0, reason));
    else this.#resolve(null);
  }

  /** Over without a grant. */
  end(error: unknown): void {
    if (!this.#finish()) return;
    this.#reject(error);
    this.#waits?.left(this);
  }

  /** Only news of its place reach `onWait`. What the listener throws, or rejects with, ends the wait. */
  tell(wait: Wait): void {
    const { onWait } = this.terms;
    if (!onWait || this.isOver || (this.#told && this.#told.position === wait.position)) return;
    this.#told = wait;
    inContext(this.context, () => {
      try {
        const returned: unknown = onWait(wait);
        if (returned instanceof Promise) returned.catch((error: unknown) => this.end(error));
      } catch (error) {
        this.end(error);
      }
    });
  }

  /** The one exit: false if it was over already. */
  #finish(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.#ignoreSignal?.();
    this.#timer?.cancel();
    return true;
  }

  #endAt(end: number, timeout: number): void {
    const { clock } = this.#waits as Waits;
    const look = (): void => {
      if (clock.now() < end) return this.#endAt(end, timeout);
      const { reason, cause } = (this.#waits as Waits).whyNot(this);
      this.end(new LockTimeoutError(this.terms.lock, timeout, reason, { cause }));
    };
    this.#timer = clock.after(end - clock.now(), look, true);
  }
}

/**
 * Whether it must be in the queue by itself: who is counted, who wants to know its position, and who wants its own grant
 * proven. So must all if there are no turns.
 */
export function standsAlone({ terms }: Request, turn: number): boolean {
  const { limit, maxQueue, onWait, durability } = terms;
  return (
    turn === 1 || limit !== undefined || maxQueue !== undefined || onWait !== undefined || durability !== undefined
  );
}
