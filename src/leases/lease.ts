import type { Wish } from "../durability.ts";
import { LockLostError, released } from "../errors.ts";
import type { LossReason } from "../errors.ts";
import { currentContext, events, inContext } from "../events.ts";
import type { Context } from "../events.ts";
import { duration, SHORTEST_TTL } from "../options/checks.ts";
import type { Extension, Grant, LockMode } from "../schemes/scheme.ts";
import type { LeaseKeeper } from "./keeper.ts";
import type { Scheduled } from "./schedule.ts";

/** How much earlier than the server's our deadline comes, for a lease of that length: clocks run at different speeds. */
export function drift(ttl: number): number {
  return ttl * 0.01 + 2;
}

/** Our own deadline for a lease that a server keeps until `grantedUntil`, and that was surely running at `from`. */
export function deadline(grantedUntil: number, from: number): number {
  return grantedUntil - drift(grantedUntil - from);
}

/** A lease is renewed when a third of its time has gone, and tried again after a twelfth while that fails. */
const RENEW_AFTER = 1 / 3;
const RETRY_AFTER = 1 / 12;
/** Of the time that is left: a short lease must not end during the pause before the next attempt. */
const RETRY_SOON = 1 / 4;
const SHORTEST_RETRY = 20;
/** A renewal later than this, as a share of the ttl, is what a loss is blamed on. */
const LATE = 1 / 6;

export interface LeaseTerms {
  readonly ttl: number;
  readonly renew: boolean;
  readonly maxHold: number | undefined;
  /** Who must have each extension before it counts. */
  readonly durability: Wish | undefined;
}

/** What a holder has: a lease, or a part in one. */
export interface Holding {
  readonly grant: Grant;
  readonly held: boolean;
  readonly remaining: number;
  readonly signal: AbortSignal;
  /** Set once the lease has been lost. */
  readonly error: LockLostError | undefined;
  /** Called at once when the lease is lost; at most one listener. */
  onLost(listener: (error: LockLostError) => void): void;
  /** Somebody's code runs under it until it is released: `close()` waits for that. */
  guard(): void;
  extend(ttl?: number): Promise<void>;
  release(): Promise<boolean>;
  downgrade(): Promise<void>;
  detach(): Promise<DetachedLock>;
}

/** A lock between two processes: plain data, to be sent in any way. Nobody renews it; whoever attaches it holds it. */
export interface DetachedLock {
  readonly name: string;
  readonly mode: LockMode;
  readonly token: string;
  readonly fence: number;
  /** The ttl that the lock was requested with, in milliseconds. */
  readonly ttl: number;
  /** Milliseconds until the lease ends, when it was detached. */
  readonly remaining: number;
}

/** A lock that outlasts its holder: until then a release leaves it held, under that label. */
export interface Kept {
  readonly until: number;
  readonly label: string;
}

/**
 * The scheme's grant that a lease stands on. Several leases of one process may stand on one, one after the other or,
 * shared, together.
 */
export interface Ground {
  /** As the scheme knows it. */
  readonly grant: Grant;
  /** Make it last at least until then, by our clock. */
  extend(until: number, caller: Extending): void;
  /** This lease is about to be shared. */
  downgrade(): Promise<Extension>;
  /** @throws LockError `unsupported` if other leases stand on it */
  assertDetaches(): void;
  /** The lease is over and stays with the scheme. */
  detach(lease: Lease): void;
  /** The lease is over. `told` hears whether the scheme knew of it until now. */
  leave(lease: Lease, told: (wasHeld: boolean) => void): void;
}

/** Who hears how an extension came out. */
export interface Extending {
  /** @param askedAt when the server was asked @param grantedUntil it keeps the grant at least until then */
  extended(askedAt: number, grantedUntil: number): void;
  /** @param error undefined if the lease has been lost: the lease knows */
  notExtended(error: unknown): void;
}

type State = "running" | "released" | "lost";

/** A holder's time, by the keeper's clock. */
export class Lease implements Scheduled, Holding, Extending {
  readonly ttl: number;
  readonly context: Context;
  readonly #keeper: LeaseKeeper;
  readonly #ground: Ground;
  #grant: Grant;
  #renew: boolean;
  /** Renewal may not take the lease beyond this. */
  #end: number;
  #deadline: number;
  /** The server keeps it for us at least until then. */
  #grantedUntil: number;
  #renewAt: number;
  /** How many extensions are out, and when the first of them was asked for. */
  #asked = 0;
  #askedAt = 0;
  /** What the latest extension failed with. */
  #trouble: unknown;
  /** How much later than it was due the latest renewal was asked for, because the event loop was blocked. */
  #late = 0;
  #state: State = "running";
  #error: LockLostError | undefined;
  /** Those who wait for an extension: a loss is reported to them at once. */
  #extending: Set<(error: LockLostError) => void> | undefined;
  #abort: AbortController | undefined;
  #abortContext: Context;
  /** Why the signal is aborted though the lease runs: its manager is being closed. */
  #closing: LockLostError | undefined;
  #onLost: ((error: LockLostError) => void) | undefined;
  isGuarded = false;
  kept: Kept | undefined;
  /** Its place in the keeper's schedule. */
  position = -1;

  /**
   * @param from when the lease was surely running
   * @param grantedUntil the server keeps it at least until then
   */
  constructor(
    keeper: LeaseKeeper,
    ground: Ground,
    grant: Grant,
    terms: LeaseTerms,
    context: Context,
    from: number,
    grantedUntil: number,
  ) {
    this.#keeper = keeper;
    this.#ground = ground;
    this.#grant = grant;
    this.context = context;
    this.ttl = terms.ttl;
    this.#renew = terms.renew;
    this.#end = terms.maxHold === undefined ? Infinity : from + terms.maxHold;
    this.#deadline = Math.min(deadline(grantedUntil, from), this.#end);
    this.#grantedUntil = grantedUntil;
    this.#renewAt = terms.renew ? grantedUntil - terms.ttl + terms.ttl * RENEW_AFTER : Infinity;
  }

  get grant(): Grant {
    return this.#grant;
  }

  /** Neither released nor lost, as far as has been noticed. */
  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** When the keeper must look at this lease next. */
  get due(): number {
    return this.#asked === 0 ? Math.min(this.#renewAt, this.#deadline) : this.#deadline;
  }

  get held(): boolean {
    return this.remaining > 0;
  }

  get remaining(): number {
    this.#checkDeadline();
    return this.#state === "running" ? Math.max(0, this.#deadline - this.#keeper.clock.now()) : 0;
  }

  get error(): LockLostError | undefined {
    this.#checkDeadline();
    return this.#error;
  }

  get signal(): AbortSignal {
    this.#checkDeadline();
    if (!this.#abort) {
      this.#abort = new AbortController();
      this.#abortContext = currentContext();
      const reason = this.#error ?? this.#closing;
      if (reason) this.#abort.abort(reason);
    }
    return this.#abort.signal;
  }

  onLost(listener: (error: LockLostError) => void): void {
    this.#onLost = listener;
    if (this.error) listener(this.error);
  }

  guard(): void {
    this.isGuarded = true;
  }

  /** From now on: whether it is renewed, and after what time it is over in any case. */
  limit({ renew, maxHold = Infinity }: Pick<LeaseTerms, "renew" | "maxHold">): void {
    this.#renew = renew;
    this.#end = this.#keeper.clock.now() + maxHold;
    this.#deadline = Math.min(this.#deadline, this.#end);
    if (!renew) this.#renewAt = Infinity;
    this.#keeper.reschedule(this);
  }

  /** Let the lock stay held until then, also if it is released before, or the manager closed. */
  keepUntil(until: number, label: string): void {
    this.kept = { until, label };
  }

  async extend(ttl: number = this.ttl): Promise<void> {
    duration(ttl, "ttl", SHORTEST_TTL);
    this.#assertHeld();
    const extending = (this.#extending ??= new Set());
    let stop: (error: LockLostError) => void;
    await new Promise<void>((resolve, reject) => {
      extending.add((stop = reject));
      this.#prolong(ttl, {
        extended: (askedAt, grantedUntil) => {
          this.extended(askedAt, grantedUntil);
          resolve();
        },
        notExtended: (error) => {
          this.notExtended(error);
          reject(this.error ?? error);
        },
      });
    }).finally(() => extending.delete(stop));
    this.#assertHeld();
  }

  /** Ask for the whole ttl now: a lease that begins with less is not left at that. Resolves when that was answered. */
  claim(): Promise<void> {
    return new Promise((resolve) => {
      this.#prolong(this.ttl, {
        extended: (askedAt, grantedUntil) => {
          this.extended(askedAt, grantedUntil);
          resolve();
        },
        notExtended: (error) => {
          this.notExtended(error);
          resolve();
        },
      });
      this.#keeper.reschedule(this);
    });
  }

  async downgrade(): Promise<void> {
    this.#assertHeld();
    if (this.#grant.mode === "shared") return;
    const extension = await this.#ground.downgrade();
    if (extension !== "extended") this.lose(extension === "stolen" ? "stolen" : "expired");
    this.#assertHeld();
    this.#grant = { ...this.#grant, mode: "shared" };
  }

  /** Stop keeping the lease, which lasts its whole time from now, without giving it back. */
  async detach(): Promise<DetachedLock> {
    this.#ground.assertDetaches();
    await this.extend();
    // Others may share it by now.
    this.#ground.assertDetaches();
    const { lock, mode, token, fence } = this.#ground.grant;
    const remaining = Math.floor(this.remaining);
    this.#state = "released";
    this.#keeper.forget(this);
    this.#ground.detach(this);
    events.detached(this.#grant, this.context);
    return { name: lock, mode, token, fence, ttl: this.ttl, remaining };
  }

  /** Resolves to true if the server agrees that the lock was held until now. Never rejects. */
  release(): Promise<boolean> {
    this.#checkDeadline();
    if (this.#state !== "running") return Promise.resolve(false);
    this.#state = "released";
    this.#keeper.forget(this);
    return new Promise((resolve) => {
      this.#ground.leave(this, (wasHeld) => {
        if (wasHeld) events.released(this.#grant, this.context);
        else {
          this.#state = "running";
          this.lose("expired");
        }
        resolve(wasHeld);
      });
    });
  }

  lose(reason: LossReason, options: { cause?: unknown; blocked?: number } = {}): void {
    if (this.#state !== "running") return;
    this.#state = "lost";
    const { lock, fence } = this.#grant;
    this.#error = new LockLostError(lock, fence, reason, options);
    this.#keeper.forget(this);
    events.lost({ ...this.#grant, reason }, this.context);
    this.#tellSignal(this.#error);
    this.#onLost?.(this.#error);
    for (const stop of this.#extending ?? []) stop(this.#error);
    this.#ground.leave(this, () => {});
  }

  /** The manager is being closed: whoever works under the lease should end. */
  close(): void {
    if (this.#state !== "running") return;
    const { lock, fence } = this.#grant;
    this.#closing = new LockLostError(lock, fence, "closed");
    this.#tellSignal(this.#closing);
  }

  /** Its time has come, and what arrived by then has been read: renew it, or end it. */
  look(now: number): void {
    if (now >= this.#deadline) return this.#expire(now);
    if (now < this.#renewAt || this.#asked > 0) return;
    this.#late = now - this.#renewAt;
    this.#prolong(this.ttl, this);
  }

  /** A report may have been missed: ask whether it is still held. */
  doubt(): void {
    if (this.#state !== "running" || this.#asked > 0) return;
    this.#prolong(this.ttl, this);
    this.#keeper.reschedule(this);
  }

  extended(askedAt: number, grantedUntil: number): void {
    this.#heardExtension();
    this.#trouble = undefined;
    if (this.#state !== "running") return;
    this.#grantedUntil = Math.max(this.#grantedUntil, grantedUntil);
    // The server held it for us all the time, so a deadline that passed while this answer lay unread was none.
    this.#deadline = Math.max(this.#deadline, Math.min(deadline(grantedUntil, askedAt), this.#end));
    if (this.#renew) this.#renewAt = askedAt + this.ttl * RENEW_AFTER;
    this.#keeper.reschedule(this);
  }

  notExtended(error: unknown): void {
    this.#heardExtension();
    if (this.#state !== "running") return;
    this.#trouble = error;
    const pause = Math.min(this.ttl * RETRY_AFTER, Math.max(this.remaining * RETRY_SOON, SHORTEST_RETRY));
    if (this.#renew) this.#renewAt = this.#keeper.clock.now() + pause;
    events.trouble({ lock: this.#grant.lock, token: this.#grant.token, doing: "renew", error }, this.context);
    this.#keeper.reschedule(this);
  }

  /** Ask for at least ttl from now; never for less than was granted before, never for more than maxHold allows. */
  #prolong(ttl: number, caller: Extending): void {
    const now = this.#keeper.clock.now();
    if (this.#asked++ === 0) this.#askedAt = now;
    this.#ground.extend(Math.max(this.#grantedUntil, Math.min(now + ttl, this.#end)), caller);
  }

  /** If another extension is behind it, that one has just been asked for. */
  #heardExtension(): void {
    if (--this.#asked > 0) this.#askedAt = this.#keeper.clock.now();
  }

  #tellSignal(reason: LockLostError): void {
    const abort = this.#abort;
    if (abort) inContext(this.#abortContext, () => abort.abort(reason));
  }

  /**
   * Reaching the deadline ends the lease, unless an extension that was asked for in time is unanswered: its answer may
   * have arrived, unread. The keeper looks again once that has been read.
   */
  #checkDeadline(): void {
    if (this.#state !== "running") return;
    const now = this.#keeper.clock.now();
    if (now < this.#deadline || (this.#asked > 0 && this.#askedAt < this.#deadline)) return;
    this.#expire(now);
  }

  #expire(now: number): void {
    const isOut = this.#asked > 0;
    const blocked = isOut ? this.#late : now - this.#renewAt;
    // What maxHold ends would have ended anyway.
    const couldRenew = this.#grantedUntil < this.#end;
    if (couldRenew && this.#trouble === undefined && blocked > this.ttl * LATE) this.lose("expired", { blocked });
    else if (couldRenew && (isOut || this.#trouble !== undefined)) this.lose("unreachable", { cause: this.#trouble });
    else this.lose("expired");
  }

  #assertHeld(): void {
    const { error } = this;
    if (error) throw error;
    if (this.#state === "released") throw released(this.#grant.lock);
  }
}
