import type { Clock, Timer } from "../clock.ts";
import { LockTimeoutError } from "../errors.ts";
import { currentContext, events, inContext, isHeard } from "../events.ts";
import type { Context, Origin, RequestTrace } from "../events.ts";
import type { Lease } from "../leases/lease.ts";
import type { Terms, Wait } from "../options/request.ts";
import type { WaitedFor } from "../schemes/scheme.ts";
import { onAbort } from "../signals.ts";
import type { Queued } from "../queue.ts";
import { originOf } from "./room.ts";
import type { Room } from "./room.ts";

/** The line that a request waits in. */
interface Waits {
  readonly lock: string;
  readonly clock: Clock;
  readonly room: Pick<Room, "origin">;
  /** The request is over without a grant. */
  left(request: Request): void;
  /** Why it has not been granted yet, to complete the error of a timeout. */
  whyNot(request: Request): { reason: string; cause?: unknown };
}

/** A place in the queue, as the requests at it see it. */
export interface Standing {
  /** When the scheme last answered, if it ever did. */
  readonly answeredAt: number | undefined;
  /** The error of the latest question, if it failed. */
  readonly trouble: unknown;
  /** The holder it waits for, if the scheme said. */
  readonly holder: WaitedFor | undefined;
  /** The request is over, or goes elsewhere. */
  leave(request: Request): void;
}

/**
 * One attempt to hold a lock, until it is granted or over. Then it settles its promise once, and nothing is left of it.
 */
export class Request implements Queued<Request> {
  readonly terms: Terms;
  readonly context: Context;
  readonly joinedAt: number;
  before: Request | undefined;
  behind: Request | undefined;
  /** The place in the queue at which it waits; undefined while it waits for one. */
  place: Standing | undefined;
  isOver = false;
  readonly #line: Waits;
  readonly #as: (lease: Lease) => unknown;
  /** What `as` makes of the lease; null if the request is a try, and the lock is busy. */
  readonly outcome: Promise<unknown>;
  #resolve!: (given: unknown) => void;
  #reject!: (error: unknown) => void;
  #timer: Timer | undefined;
  #ignoreSignal: (() => void) | undefined;
  /** The last argument of `onWait`. */
  #told: Wait | undefined;

  /** @param trace completed as the request proceeds */
  constructor(line: Waits, terms: Terms, as: (lease: Lease) => unknown, trace?: RequestTrace) {
    const { signal, waitTimeout, onWait } = terms;
    this.#line = line;
    this.terms = terms;
    this.#as = as;
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.context = onWait || isHeard() ? currentContext() : undefined;
    if (trace && this.context) this.context.trace = trace;
    this.joinedAt = line.clock.now();
    if (signal) this.#ignoreSignal = onAbort(signal, () => this.end(signal.reason));
    if (waitTimeout) this.#endAt(this.joinedAt + waitTimeout, waitTimeout);
  }

  get lock(): string {
    return this.#line.lock;
  }

  get origin(): Origin {
    return originOf(this.#line.room, this.terms.label);
  }

  /** Milliseconds since it was made. */
  get waited(): number {
    return this.#line.clock.now() - this.joinedAt;
  }

  /** It holds from now on, and its code begins as soon as that is safe. */
  granted(): void {
    this.#finish();
    if (this.context) this.context.grantedAt = this.#line.clock.now();
  }

  begin(lease: Lease): void {
    try {
      this.#resolve(this.#as(lease));
    } catch (error) {
      this.#reject(error);
    }
  }

  /** The lock is busy, and the request may not wait. */
  busy(): void {
    const { reason } = this.#line.whyNot(this);
    if (!this.#finish()) return;
    if (this.terms.isTry) {
      events.busy(this);
      return this.#resolve(null);
    }
    const error = new LockTimeoutError(this.#line.lock, 0, reason);
    events.ended(this, error);
    this.#reject(error);
  }

  /** Ends it without a grant. */
  end(error: unknown): void {
    if (!this.#finish()) return;
    events.ended(this, error);
    this.#reject(error);
    this.#line.left(this);
  }

  /** `onWait` is called only for changes. An error that it throws or rejects with ends the wait. */
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
    const { clock, lock } = this.#line;
    const look = (): void => {
      if (clock.now() < end) return this.#endAt(end, timeout);
      const { reason, cause } = this.#line.whyNot(this);
      // A failing server does not mean that the lock is busy.
      if (this.terms.isTry && cause === undefined) this.#resolve(null);
      this.end(new LockTimeoutError(lock, timeout, reason, { cause }));
    };
    this.#timer = clock.after(end - clock.now(), look, true);
  }
}

/**
 * Whether it must be in the queue by itself: because it is counted, reports its position, or needs its own grant
 * confirmed. Without turns, every request must.
 */
export function standsAlone({ limit, maxQueue, onWait, durability }: Terms, turn: number): boolean {
  return (
    turn === 1 || limit !== undefined || maxQueue !== undefined || onWait !== undefined || durability !== undefined
  );
}
