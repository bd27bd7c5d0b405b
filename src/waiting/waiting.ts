/**
 * The only waiting loop. Every request on every scheme goes through it: ask; when granted, done; when pending, sleep
 * until a push, the time to poke, or the end of the wait; ask again. A grant's deadline counts from when the question
 * was sent; a pushed one's from when the latest question before it was sent. Where that leaves too little, a push is
 * only a hint to ask.
 */
import type { Clock, Timer } from "../clock.ts";
import { diagnostics } from "../events.ts";
import { COMMAND_LIMIT } from "../drivers/time-limit.ts";
import type { Durability } from "../durability.ts";
import { LockError, LockTimeoutError, SchemeError } from "../errors.ts";
import { deadline } from "../leases/lease.ts";
import type { Lease, LeaseTerms } from "../leases/lease.ts";
import { CLAIM_TIME } from "../schemes/scheme.ts";
import type { Answer, Grant, LockRequest, Scheme, WaitedFor } from "../schemes/scheme.ts";

/** How a request may wait. */
export interface WaitTerms {
  /** `wait` in line; `try` once; `steal` from whoever holds. */
  readonly manner: "wait" | "try" | "steal";
  /** 0: try once. */
  readonly timeout: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly lease: LeaseTerms;
  /** Take the place of this very grant, or none. */
  readonly from: Grant | undefined;
  readonly onWait?: ((wait: Wait) => void) | undefined;
}

/** How it stands with a request that waits. */
export interface Wait {
  /** 1 for the first in line. Undefined where the scheme has no queue. */
  readonly position: number | undefined;
  /** The exclusive holder, where that is one of ours. */
  readonly holder: WaitedFor | undefined;
}

/** A server that was there and is gone may come back: a waiter in line keeps asking for so long. */
const PATIENCE = 30_000;
/** Answers that take longer than the ttl will not get faster by asking again and again. */
const MOST_LATE_ANSWERS = 3;

/** What the waiting needs to know of its manager. */
export interface WaitingRoom {
  readonly scheme: Scheme;
  readonly clock: Clock;
  newToken(): string;
  /** The request is a holder now. */
  hold(
    request: LockRequest,
    fence: number,
    sentAt: number,
    terms: LeaseTerms,
    until: number,
    durability: Durability | undefined,
  ): Lease;
  /** The request is over: tell the server, and keep telling until it heard. */
  giveUp(request: LockRequest): void;
}

export class Waiting {
  readonly #room: WaitingRoom;
  readonly #waiters = new Map<string, Waiter>();

  constructor(room: WaitingRoom) {
    this.#room = room;
  }

  /** Null when the lock is busy and the request may not wait. Rejects when the wait ends without a grant. */
  obtain(request: LockRequest, terms: WaitTerms): Promise<Lease | null> {
    return new Promise((resolve, reject) => {
      new Waiter(this.#room, this.#waiters, request, terms, resolve, reject).run();
    });
  }

  find(token: string): Waiter | undefined {
    return this.#waiters.get(token);
  }

  /** Something may have been missed: let every waiter ask, of these locks or of all. */
  wakeAll(locks?: ReadonlySet<string>): void {
    for (const waiter of this.#waiters.values()) if (!locks || locks.has(waiter.lock)) waiter.wake();
  }

  close(): void {
    for (const waiter of this.#waiters.values()) {
      waiter.end(new LockError("closed", "The LockManager was closed while the request waited."));
    }
  }
}

export class Waiter {
  readonly #room: WaitingRoom;
  readonly #waiters: Map<string, Waiter>;
  readonly #terms: WaitTerms;
  #request: LockRequest;
  #over = false;
  readonly #resolve: (lease: Lease | null) => void;
  readonly #reject: (error: unknown) => void;
  /** Set by a wake that came while nobody slept. */
  #woken = false;
  #rise: (() => void) | undefined;
  /** The latest grant that was pushed. */
  #pushed: { readonly fence: number; readonly until: number } | undefined;
  /** Sleep until then at the longest; and how to tell a sleeper. */
  #latest = Infinity;
  #hurry: (() => void) | undefined;
  #timeout: Timer | undefined;
  #onAbort: (() => void) | undefined;
  /** The highest fence of this request that was taken away. */
  #revoked = 0;
  /** What `onWait` was last told. */
  #told: Wait | undefined;

  constructor(
    room: WaitingRoom,
    waiters: Map<string, Waiter>,
    request: LockRequest,
    terms: WaitTerms,
    resolve: (lease: Lease | null) => void,
    reject: (error: unknown) => void,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#room = room;
    this.#waiters = waiters;
    this.#request = request;
    this.#terms = terms;
  }

  get lock(): string {
    return this.#request.lock;
  }

  run(): void {
    const { timeout, signal } = this.#terms;
    this.#waiters.set(this.#request.token, this);
    if (signal) {
      this.#onAbort = () => this.end(signal.reason);
      signal.addEventListener("abort", this.#onAbort);
    }
    if (timeout) this.#endAt(this.#room.clock.now() + timeout, timeout);
    void this.#loop();
  }

  /** A grant was pushed, which is kept until then. */
  granted(fence: number, until: number | undefined): void {
    this.#pushed = { fence, until: until ?? -Infinity };
    this.wake();
  }

  /** Ask again now. */
  wake(): void {
    this.#woken = true;
    this.#rise?.();
  }

  /** It is the first in line now, where there is a line. Ask again after so long at the latest. */
  moveUp(delay: number): void {
    if (this.#room.scheme.queues) this.#tell({ position: 1, holder: undefined });
    this.#latest = this.#room.clock.now() + delay;
    this.#hurry?.();
  }

  revoke(fence: number): void {
    this.#revoked = Math.max(this.#revoked, fence);
  }

  /** End the wait without a grant. What the server may still grant is given back. */
  end(error: unknown): void {
    if (!this.#leave()) return;
    this.#reject(error);
    this.#room.giveUp(this.#request);
    this.wake();
  }

  /** False if the wait was over already. */
  #leave(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#waiters.delete(this.#request.token);
    if (this.#onAbort) this.#terms.signal?.removeEventListener("abort", this.#onAbort);
    this.#timeout?.cancel();
    return true;
  }

  /** The main path. Never rejects. Ends when granted, when busy, when over, or when the scheme fails for good. */
  async #loop(): Promise<void> {
    const { clock } = this.#room;
    let patience = COMMAND_LIMIT;
    let troubleSince = 0;
    let failures = 0;
    let late = 0;
    for (;;) {
      this.#woken = false;
      const sentAt = clock.now();
      // Not since the last answer: a waiter behind others of its process may have slept for long.
      if (failures === 0) troubleSince = sentAt;
      let answer: Answer;
      try {
        answer = await this.#ask();
      } catch (error) {
        diagnostics.trouble({ lock: this.#request.lock, token: this.#request.token, doing: "acquire", error });
        const hopeless = !(error instanceof SchemeError && error.transient) || clock.now() - troubleSince >= patience;
        if (hopeless || this.#over) return this.end(error);
        await this.#sleep(Math.min(1_000, 25 * 2 ** failures++) * (0.5 + Math.random()));
        if (this.#over) return;
        continue;
      }
      failures = 0;
      if (this.#over) {
        // It was ended while the question was out; the answer may have won or queued what nobody wants.
        if (answer.kind !== "busy" && answer.kind !== "refused") this.#room.giveUp(this.#request);
        return;
      }
      if (answer.kind === "busy") return this.#busy();
      if (answer.kind === "refused") return this.#refused(answer.error);
      if (answer.kind === "granted") {
        const { fence, until = sentAt + this.#request.ttl } = answer;
        if (clock.now() < deadline(until, sentAt)) return this.#hold(fence, sentAt, until, answer.durability);
        if (++late >= MOST_LATE_ANSWERS) return this.end(tooSlow(this.#request, clock.now() - sentAt));
        this.#startOver();
      } else {
        patience = PATIENCE;
        const { ahead, holder } = answer;
        this.#tell({ position: ahead === undefined ? undefined : ahead + 1, holder });
        await this.#sleep(answer.pokeAfter);
        if (this.#over) return;
        const now = clock.now();
        if (this.#pushed && now + CLAIM_TIME < this.#pushed.until) {
          return this.#hold(this.#pushed.fence, now, this.#pushed.until);
        }
      }
    }
  }

  /** In the same step as the wait ends, so that no push finds the request in neither place. */
  #hold(fence: number, sentAt: number, until: number, durability?: Durability): void {
    this.#leave();
    const lease = this.#room.hold(this.#request, fence, sentAt, this.#terms.lease, until, durability);
    if (fence <= this.#revoked) lease.lose("stolen");
    this.#resolve(lease);
  }

  #busy(): void {
    this.#leave();
    if (this.#terms.timeout === 0) this.#reject(new LockTimeoutError(this.#request.lock, 0));
    else this.#resolve(null);
  }

  #refused(error: LockError): void {
    this.#leave();
    this.#reject(error);
  }

  /** Only news of its place. What the listener throws ends the wait. */
  #tell(wait: Wait): void {
    const { onWait } = this.#terms;
    if (!onWait || this.#over || (this.#told && this.#told.position === wait.position)) return;
    this.#told = wait;
    try {
      onWait(wait);
    } catch (error) {
      this.end(error);
    }
  }

  #ask(): Promise<Answer> {
    const { scheme } = this.#room;
    if (this.#terms.from) return scheme.handOver(this.#terms.from, this.#request);
    if (this.#terms.manner === "steal") return scheme.steal(this.#request);
    return scheme.acquire(this.#request, this.#terms.manner === "wait");
  }

  /** The grant was over before its answer came. A lease that has ended is never revived: the wish gets a new token. */
  #startOver(): void {
    this.#room.giveUp(this.#request);
    this.#waiters.delete(this.#request.token);
    this.#pushed = undefined;
    this.#request = { ...this.#request, token: this.#room.newToken() };
    this.#waiters.set(this.#request.token, this);
  }

  /** Until woken, at most so long. Returns at once if a wake came since the question was sent. */
  async #sleep(longest: number): Promise<void> {
    const { clock } = this.#room;
    const end = clock.now() + longest;
    if (!this.#woken && !this.#over) {
      await new Promise<void>((resolve) => {
        let timer: Timer | undefined;
        this.#rise = () => {
          // Whoever has risen cannot be hurried: nobody would cancel that timer.
          this.#hurry = undefined;
          timer?.cancel();
          resolve();
        };
        this.#hurry = () => {
          timer?.cancel();
          const latest = Math.min(end, this.#latest);
          if (latest < Infinity) timer = clock.after(latest - clock.now(), resolve);
        };
        this.#hurry();
      });
    }
    this.#rise = undefined;
    this.#hurry = undefined;
    this.#latest = Infinity;
  }

  #endAt(end: number, timeout: number): void {
    const { clock } = this.#room;
    this.#timeout = clock.after(end - clock.now(), () => {
      if (clock.now() < end) this.#endAt(end, timeout);
      else this.end(new LockTimeoutError(this.#request.lock, timeout));
    });
  }
}

function tooSlow(request: LockRequest, took: number): SchemeError {
  const { ttl } = request;
  const message = `The server answered after ${Math.round(took)} ms, when a lease of ${ttl} ms was over already. Use a longer ttl.`;
  return new SchemeError("too-slow", message, []);
}
