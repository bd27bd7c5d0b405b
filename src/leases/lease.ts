import type { Wish } from "../durability.ts";
import { LockLostError, released } from "../errors.ts";
import type { LossReason } from "../errors.ts";
import { events } from "../events.ts";
import type { Context, Origin } from "../events.ts";
import { duration, SHORTEST_TTL } from "../options/checks.ts";
import type { Extension, Grant, Leaving, LeftValue } from "../schemes/scheme.ts";
import { deadline } from "./deadline.ts";
import type { Departing, Departure, Kept } from "./departing.ts";
import type { DetachedLock } from "./detached-lock.ts";
import type { Holding } from "./holding.ts";
import type { LeaseKeeper } from "./keeper.ts";
import { Loss } from "./loss.ts";
import type { Scheduled } from "./schedule.ts";

/** A lease is renewed when a third of its time has passed, and again after each further twelfth while that fails. */
const RENEW_AFTER = 1 / 3;
const RETRY_AFTER = 1 / 12;
/** Share of the time that is left: a short lease must not end during the pause before the next attempt. */
const RETRY_SOON = 1 / 4;
const SHORTEST_RETRY = 20;
/** If a renewal that has not been asked for is later than this share of the ttl, it explains a loss. */
const LATE = 1 / 6;
/** And if the end of a lease is noticed later than this, in milliseconds. */
const UNNOTICED = 1_000;

export interface LeaseTerms {
  readonly ttl: number;
  readonly renew: boolean;
  readonly maxHold: number | undefined;
  /** What must have stored each extension before it counts. */
  readonly durability: Wish | undefined;
}

/**
 * The scheme's grant that a lease is based on. Several leases of one process may be based on one, one after another or,
 * shared, together.
 */
export interface Ground {
  /** As the scheme knows it. */
  readonly grant: Grant;
  readonly origin: Origin;
  /** The scheme keeps it at least until this time, by our clock. */
  readonly grantedUntil: number;
  /** Make it last at least until this time, by our clock. */
  extend(until: number, caller: Extending): void;
  /** This lease is about to be shared. */
  downgrade(): Promise<Extension>;
  /** Leave a value for those who wait. */
  share(value: LeftValue, ttl: number): Promise<Leaving>;
  /** @throws LockError `unsupported` if other leases are based on it */
  assertDetaches(): void;
  /** The lease is over and stays with the scheme. */
  detach(lease: Lease): void;
  /** The lease is over, and is notified of the scheme's answer. */
  leave(lease: Lease): void;
}

/** Is notified of an extension's outcome. */
export interface Extending {
  /** @param askedAt when the server was asked @param grantedUntil it keeps the grant at least until then */
  extended(askedAt: number, grantedUntil: number): void;
  /** @param error undefined if the lease has been lost, because the lease knows that already */
  notExtended(error: unknown): void;
}

type State = "running" | "released" | "lost";

/** A holder's time, by the keeper's clock. */
export class Lease implements Scheduled, Holding, Extending, Departing {
  readonly ttl: number;
  readonly context: Context;
  grant: Grant;
  readonly #keeper: LeaseKeeper;
  readonly #ground: Ground;
  /** Renewal must not extend the lease beyond this time. */
  #end: number | undefined;
  /** Whole milliseconds, rounded to the safe side, as is the next: V8 keeps such a number in the object itself, and others beside it. */
  #deadline: number;
  /** Infinity if it is not renewed. */
  #renewAt: number;
  /** How many extensions have no answer yet, and when the first of them was requested. */
  #asked = 0;
  #askedAt = 0;
  /** The error of the latest extension that failed. */
  #trouble: unknown;
  #state: State = "running";
  #loss: Loss | undefined;
  /** Called with whether the lock was held until it was released. */
  #released: ((wasHeld: boolean) => void) | undefined;
  isGuarded = false;
  kept: Kept | undefined;
  position = -1;
  /** Its neighbours among the leases that are based on the same ground. */
  before: Lease | undefined;
  behind: Lease | undefined;

  /** @param from a time when the lease was certainly running */
  constructor(
    keeper: LeaseKeeper,
    ground: Ground,
    grant: Grant,
    { ttl, renew, maxHold }: LeaseTerms,
    context: Context,
    from: number,
  ) {
    const { grantedUntil } = ground;
    this.#keeper = keeper;
    this.#ground = ground;
    this.grant = grant;
    this.context = context;
    this.ttl = ttl;
    if (maxHold !== undefined) this.#end = from + maxHold;
    this.#deadline = Math.floor(this.#atMost(deadline(grantedUntil, from)));
    // If it was due before the grant arrived, or the grant is short, it is due now: the event loop is not late.
    this.#renewAt = renew ? Math.ceil(Math.max(this.#now(), grantedUntil - ttl + ttl * RENEW_AFTER)) : Infinity;
  }

  get origin(): Origin {
    return this.#ground.origin;
  }

  /** Milliseconds since the grant; undefined if nobody listened to events when it was requested. */
  get heldFor(): number | undefined {
    const grantedAt = this.context?.grantedAt;
    return grantedAt === undefined ? undefined : this.#now() - grantedAt;
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
    return this.#state === "running" ? Math.max(0, this.#deadline - this.#now()) : 0;
  }

  get error(): LockLostError | undefined {
    this.#checkDeadline();
    return this.#loss?.error;
  }

  get signal(): AbortSignal {
    this.#checkDeadline();
    return this.#whenLost().signal;
  }

  onLost(listener: (error: LockLostError) => void): void {
    this.#checkDeadline();
    this.#whenLost().listen(listener);
  }

  guard(): void {
    this.isGuarded = true;
  }

  /** From now on: whether it is renewed, and when it ends in any case. */
  limit({ renew, maxHold }: Pick<LeaseTerms, "renew" | "maxHold">): void {
    this.#end = maxHold === undefined ? undefined : this.#now() + maxHold;
    this.#deadline = Math.floor(this.#atMost(this.#deadline));
    if (!renew) this.#renewAt = Infinity;
    this.#keeper.reschedule(this);
  }

  /** Keep the lock held until this time, even if it is released earlier or the manager is closed. */
  keepUntil(until: number, label: string): void {
    this.kept = { until, label };
  }

  async extend(ttl: number = this.ttl): Promise<void> {
    duration(ttl, "ttl", SHORTEST_TTL);
    this.#assertHeld();
    await this.#whenLost().during((resolve, reject) => {
      this.#prolong(
        ttl,
        this.#extending(resolve, (error) => reject(this.error ?? error)),
      );
    });
    this.#assertHeld();
  }

  /** Request the whole ttl now, because the lease began with less. Resolves when that was answered. */
  claim(): Promise<void> {
    return new Promise((resolve) => {
      this.#prolong(
        this.ttl,
        this.#extending(resolve, () => resolve()),
      );
    });
  }

  async downgrade(): Promise<void> {
    this.#assertHeld();
    if (this.grant.mode === "shared") return;
    const extension = await this.#ground.downgrade();
    if (extension !== "extended") this.refused(extension);
    this.#assertHeld();
    this.grant = { ...this.grant, mode: "shared" };
  }

  /**
   * Store a value for those who wait, and for those who ask within `ttl`. If the lock is not held, the lease is lost.
   */
  async share(value: Omit<LeftValue, "fence">, ttl: number): Promise<void> {
    const leaving = await this.#ground.share({ ...value, fence: this.grant.fence }, ttl);
    if (leaving === "gone") this.lose("expired");
  }

  /** Stop keeping the lease without releasing it. It lasts its whole time from now. */
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
    events.detached(this);
    return { name: lock, mode, token, fence, ttl: this.ttl, remaining };
  }

  /** Resolves to true if the server agrees that the lock was held until now. Never rejects. */
  release(): Promise<boolean> {
    this.#checkDeadline();
    if (this.#state !== "running") return Promise.resolve(false);
    this.#state = "released";
    this.#keeper.forget(this);
    return new Promise((resolve) => {
      this.#released = resolve;
      this.#ground.leave(this);
    });
  }

  departed(outcome: Departure): void {
    if (this.#state !== "released") return;
    const wasHeld = outcome !== "gone";
    if (wasHeld) events.released(this);
    else {
      this.#state = "running";
      this.lose("expired");
    }
    this.#released?.(wasHeld);
  }

  lose(reason: LossReason, options: { cause?: unknown; blocked?: number } = {}): void {
    if (this.#state !== "running") return;
    this.#state = "lost";
    const { lock, fence } = this.grant;
    this.#keeper.forget(this);
    events.lost(this, reason, options.blocked);
    this.#whenLost().tell(new LockLostError(lock, fence, reason, options));
    this.#ground.leave(this);
  }

  /** The scheme no longer knows the grant. If someone got the lock after the lease had ended, that is not a theft. */
  refused(extension: Extension): void {
    const now = this.#now();
    if (this.#state === "running" && now >= this.#deadline) this.#expire(now);
    else this.lose(extension === "stolen" ? "stolen" : "expired");
  }

  /** The manager is closing: work under the lease should end. */
  close(): void {
    if (this.#state !== "running") return;
    const { lock, fence } = this.grant;
    this.#whenLost().close(new LockLostError(lock, fence, "closed"));
  }

  /** It is due, and what had arrived has been read: renew it, or end it. */
  look(firedAt: number): void {
    if (firedAt >= this.#deadline) return this.#expire(this.#now(), firedAt - this.#deadline);
    if (firedAt >= this.#renewAt && this.#asked === 0) this.#prolong(this.ttl, this);
    else this.#keeper.reschedule(this);
  }

  /** A notice may have been missed: ask whether it is still held. */
  doubt(): void {
    if (this.#state === "running" && this.#asked === 0) this.#prolong(this.ttl, this);
  }

  extended(askedAt: number, grantedUntil: number): void {
    this.#heardExtension();
    this.#trouble = undefined;
    if (this.#state !== "running") return;
    // The server held it for us all the time, so a deadline that passed while this answer was unread does not count.
    this.#deadline = Math.max(this.#deadline, Math.floor(this.#atMost(deadline(grantedUntil, askedAt))));
    if (this.#renewAt < Infinity) this.#renewAt = Math.ceil(askedAt + this.ttl * RENEW_AFTER);
    this.#keeper.reschedule(this);
    events.renewed(this);
  }

  notExtended(error: unknown): void {
    this.#heardExtension();
    if (this.#state !== "running") return;
    this.#trouble = error;
    const pause = Math.min(this.ttl * RETRY_AFTER, Math.max(this.remaining * RETRY_SOON, SHORTEST_RETRY));
    if (this.#renewAt < Infinity) this.#renewAt = Math.ceil(this.#now() + pause);
    events.trouble("renew", error, this.grant, this, this.context);
    this.#keeper.reschedule(this);
  }

  #now(): number {
    return this.#keeper.clock.now();
  }

  #atMost(time: number): number {
    return this.#end === undefined ? time : Math.min(time, this.#end);
  }

  #whenLost(): Loss {
    return (this.#loss ??= new Loss());
  }

  #extending(resolve: () => void, reject: (error: unknown) => void): Extending {
    return {
      extended: (askedAt, grantedUntil) => {
        this.extended(askedAt, grantedUntil);
        resolve();
      },
      notExtended: (error) => {
        this.notExtended(error);
        reject(error);
      },
    };
  }

  /** Request at least ttl from now; never less than was granted before, never more than maxHold allows. */
  #prolong(ttl: number, caller: Extending): void {
    const now = this.#now();
    if (this.#asked++ === 0) this.#askedAt = now;
    this.#keeper.reschedule(this);
    this.#ground.extend(Math.max(this.#ground.grantedUntil, this.#atMost(now + ttl)), caller);
  }

  /** If another extension is queued behind it, that one has just been requested. */
  #heardExtension(): void {
    if (--this.#asked > 0) this.#askedAt = this.#now();
  }

  /**
   * Reaching the deadline ends the lease, unless an extension that was requested in time is unanswered: its answer may
   * have arrived but not been read. The keeper looks again once that has been read.
   */
  #checkDeadline(): void {
    if (this.#state !== "running") return;
    const now = this.#now();
    if (now < this.#deadline || (this.#asked > 0 && this.#askedAt < this.#deadline)) return;
    this.#expire(now);
  }

  /** @param unnoticed for how long it has been over, when the keeper was due */
  #expire(now: number, unnoticed = 0): void {
    const isOut = this.#asked > 0;
    // How late it was renewed, or is now, or when its answer could be read: because the event loop was blocked.
    const late = (isOut ? this.#askedAt : now) - this.#renewAt;
    // A renewal that had more time to be answered than it was late failed for want of an answer. One that was late only
    // because the answer before it was slow always had more.
    const allowed = isOut ? this.#deadline - this.#askedAt : this.ttl * LATE;
    const isBlocked = late > allowed || (isOut && unnoticed > UNNOTICED);
    // maxHold ends the lease in any case.
    const couldRenew = this.#end === undefined || this.#ground.grantedUntil < this.#end;
    if (couldRenew && this.#trouble === undefined && isBlocked)
      this.lose("expired", { blocked: isOut ? Math.max(late, unnoticed) : late });
    else if (couldRenew && (isOut || this.#trouble !== undefined)) this.lose("unreachable", { cause: this.#trouble });
    else this.lose("expired");
  }

  #assertHeld(): void {
    const { error } = this;
    if (error) throw error;
    if (this.#state === "released") throw released(this.grant.lock);
  }
}
