/** Deadlines on the monotonic clock, and the one timer that renews. Knows how to extend and release, not how to wait. */
import type { Clock, Timer } from "../clock.ts";
import { diagnostics } from "../events.ts";
import type { Wish } from "../durability.ts";
import { LockLostError, SchemeError, unsupported } from "../errors.ts";
import type { LossReason } from "../errors.ts";
import { duration } from "../options/checks.ts";
import { SHORTEST_TTL } from "../options/request.ts";
import type { Extension, GivenUp, Grant, LockMode, Release, Scheme } from "../schemes/scheme.ts";
import { Schedule } from "./schedule.ts";
import type { Scheduled } from "./schedule.ts";

/** A share of the ttl, and a bit, by which our deadline comes before the server's: clocks run at different speeds. */
export function drift(ttl: number): number {
  return ttl * 0.01 + 2;
}

/** Our own deadline, for a lease that a server keeps until then. Counted from `from`, when it was surely running. */
export function deadline(until: number, from: number): number {
  return until - drift(until - from);
}

/** A lease is renewed when a third of its time has gone, and tried again after a twelfth while that fails. */
const RENEW_AFTER = 1 / 3;
const RETRY_AFTER = 1 / 12;
/** Of the time that is left: a short lease must not end while it is waited for the next attempt. */
const RETRY_SOON = 1 / 4;
const SHORTEST_RETRY = 20;

export interface LeaseTerms {
  readonly ttl: number;
  readonly renew: boolean;
  readonly maxHold: number | undefined;
  /** Who must have each extension before it counts. */
  readonly durability?: Wish | undefined;
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
  /** What the lock was asked for with, in milliseconds. */
  readonly ttl: number;
  /** Milliseconds until the lease ends, when it was detached. */
  readonly remaining: number;
}

/** A lock that outlasts its holder: until then a release leaves it held, under that label. */
interface Kept {
  readonly grant: Grant;
  readonly until: number;
  readonly label: string;
}

/** "unheard": the server did not answer. */
export type ReleaseOutcome = Release | "unheard";

type State = "running" | "released" | "lost";

/** A holder's time. */
export class Lease implements Scheduled, Holding {
  #grant: Grant;
  readonly #keeper: LeaseKeeper;
  readonly ttl: number;
  readonly #durability: Wish | undefined;
  #renew: boolean;
  /** Renewal may not take the lease beyond this. */
  #end: number;
  #deadline: number;
  /** The server keeps the lease at least until then. */
  #granted: number;
  #renewAt: number;
  #renewing = false;
  /** What the latest renewal failed with, for want of an answer, or of who acknowledges it. */
  #trouble: unknown;
  #state: State = "running";
  #error: LockLostError | undefined;
  #abort: AbortController | undefined;
  #onLost: ((error: LockLostError) => void) | undefined;
  #kept: Kept | undefined;
  /** Its place in the keeper's schedule. */
  position = -1;

  /**
   * Times are by the keeper's clock.
   *
   * @param sentAt when the request that won the grant was sent
   * @param until when the server's own lease ends at the earliest
   */
  constructor(keeper: LeaseKeeper, grant: Grant, sentAt: number, terms: LeaseTerms, until: number) {
    this.#grant = grant;
    this.#keeper = keeper;
    this.ttl = terms.ttl;
    this.#durability = terms.durability;
    this.#renew = terms.renew;
    this.#end = terms.maxHold === undefined ? Infinity : sentAt + terms.maxHold;
    this.#deadline = Math.min(deadline(until, sentAt), this.#end);
    this.#granted = until;
    const renewAt = until - terms.ttl + terms.ttl * RENEW_AFTER;
    // A pushed grant is short, and made whole at once whether renewal is wanted or not.
    this.#renewAt = this.#renew || renewAt <= sentAt ? renewAt : Infinity;
  }

  get grant(): Grant {
    return this.#grant;
  }

  /** When the keeper must look at this lease next. */
  get due(): number {
    return this.#renewing ? this.#deadline : Math.min(this.#renewAt, this.#deadline);
  }

  get held(): boolean {
    this.#checkDeadline();
    return this.#state === "running";
  }

  get remaining(): number {
    return this.held ? this.#deadline - this.#keeper.clock.now() : 0;
  }

  /** Set once the lease has been lost. */
  get error(): LockLostError | undefined {
    this.#checkDeadline();
    return this.#error;
  }

  get signal(): AbortSignal {
    this.#checkDeadline();
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#error) this.#abort.abort(this.#error);
    }
    return this.#abort.signal;
  }

  /** Called at once when the lease is lost; at most one listener. */
  onLost(listener: (error: LockLostError) => void): void {
    this.#onLost = listener;
    if (this.#error) listener(this.#error);
  }

  /** From now on: whether it is renewed, and after how long it is over at the latest. */
  limit({ renew, maxHold = Infinity }: Pick<LeaseTerms, "renew" | "maxHold">): void {
    this.#renew = renew;
    this.#end = this.#keeper.clock.now() + maxHold;
    this.#deadline = Math.min(this.#deadline, this.#end);
    if (!renew) this.#renewAt = Infinity;
    this.#keeper.reschedule(this);
  }

  get kept(): Kept | undefined {
    return this.#kept;
  }

  /** Let the lock stay held until then, by the keeper's clock, also when it is released before, or the manager closed. */
  keepUntil(until: number, label: string): void {
    this.#kept = { grant: this.grant, until, label };
  }

  async extend(ttl: number = this.ttl): Promise<void> {
    duration(ttl, "ttl", SHORTEST_TTL);
    this.#assertHeld();
    await this.#prolong(ttl);
    this.#assertHeld();
  }

  async downgrade(): Promise<void> {
    this.#assertHeld();
    if (this.#grant.mode === "shared") return;
    const { scheme } = this.#keeper;
    if (!scheme.downgrade) {
      throw unsupported(`The scheme "${scheme.name}" has no shared locks to downgrade to`, 'Use the scheme "lua".');
    }
    this.#heard(await scheme.downgrade(this.#grant));
    this.#assertHeld();
    this.#grant = { ...this.#grant, mode: "shared" };
  }

  /** Stop keeping the lease, which lasts its whole time from now, without giving it back. */
  async detach(): Promise<DetachedLock> {
    if (this.#grant.permits !== undefined) {
      throw unsupported("Permits of a semaphore cannot be detached", "Detach a lock, or release them.");
    }
    await this.extend();
    const { lock, mode, token, fence } = this.#keeper.scheme.detach(this.grant);
    const remaining = Math.floor(this.remaining);
    this.#state = "released";
    this.#keeper.forget(this);
    return { name: lock, mode, token, fence, ttl: this.ttl, remaining };
  }

  /** Resolves to true if the server agrees that the lock was held until now. Never rejects. */
  async release(): Promise<boolean> {
    this.#checkDeadline();
    if (this.#state === "released") return false;
    const held = this.#state === "running";
    if (held) this.#state = "released";
    const outcome = await this.#keeper.release(this);
    if (held && outcome === "gone") {
      this.#state = "running";
      this.lose("expired");
    }
    return held && outcome !== "gone";
  }

  lose(reason: LossReason, cause?: unknown): void {
    if (this.#state !== "running") return;
    this.#state = "lost";
    const { lock, fence } = this.grant;
    this.#error = new LockLostError(lock, fence, reason, { cause });
    this.#keeper.forget(this);
    diagnostics.lost({ ...this.grant, reason });
    this.#abort?.abort(this.#error);
    this.#onLost?.(this.#error);
  }

  /** Renew if it is time to, end if it is over. */
  look(now: number): void {
    if (now >= this.#deadline) this.#checkDeadline();
    else if (now >= this.#renewAt && !this.#renewing) void this.#renewNow();
  }

  async #renewNow(): Promise<void> {
    this.#renewing = true;
    try {
      await this.#prolong(this.ttl);
    } catch (error) {
      this.#renewAt =
        this.#keeper.clock.now() +
        Math.min(this.ttl * RETRY_AFTER, Math.max(this.remaining * RETRY_SOON, SHORTEST_RETRY));
      diagnostics.trouble({ ...this.grant, doing: "renew", error });
    } finally {
      this.#renewing = false;
      this.#keeper.reschedule(this);
    }
  }

  /** Ask the server for at least ttl from now. The deadline counts from when that was asked. */
  async #prolong(ttl: number): Promise<void> {
    const { clock, scheme } = this.#keeper;
    const sentAt = clock.now();
    // Never less than the server has granted already, for our deadline counts on that; never beyond maxHold.
    const wanted = Math.ceil(Math.max(this.#granted - sentAt, Math.min(ttl, this.#end - sentAt)));
    let extension;
    try {
      // One that is not as durable as was wished is a failure, though the server knows of it: what takes the place of
      // the server may not, and end the lease when the last one that it knows of would have ended.
      extension = await scheme.extend(this.grant, wanted, this.#durability);
      this.#trouble = undefined;
    } catch (error) {
      this.#trouble = error;
      throw error;
    }
    this.#heard(extension);
    if (this.#state !== "running") return;
    this.#granted = sentAt + wanted;
    this.#deadline = Math.max(this.#deadline, Math.min(deadline(this.#granted, sentAt), this.#end));
    this.#renewAt = this.#renew ? sentAt + this.ttl * RENEW_AFTER : Infinity;
    this.#keeper.reschedule(this);
  }

  #heard(extension: Extension): void {
    // Reaching the deadline is final, whatever the server says now.
    this.#checkDeadline();
    if (extension !== "extended") this.lose(extension === "stolen" ? "stolen" : "expired");
  }

  #checkDeadline(): void {
    if (this.#state !== "running" || this.#keeper.clock.now() < this.#deadline) return;
    const isUnheard = (this.#trouble !== undefined || this.#renewing) && this.#granted < this.#end;
    this.lose(isUnheard ? "unreachable" : "expired", isUnheard ? this.#trouble : undefined);
  }

  #assertHeld(): void {
    const error = this.error;
    if (error) throw error;
    if (this.#state === "released") throw new LockLostError(this.grant.lock, this.grant.fence, "expired");
  }
}

/** Keeps the leases of one manager: renews them, ends them, releases them. */
export class LeaseKeeper {
  readonly clock: Clock;
  readonly scheme: Scheme;
  readonly #leases = new Map<string, Lease>();
  readonly #schedule = new Schedule<Lease>();
  /** How many releases the server has not yet answered, and who wants to know when it has. */
  #telling = 0;
  #allTold: (() => void) | undefined;
  /** Before the server is told again. */
  readonly #pauses = new Set<Timer>();
  #closed = false;
  #timer: Timer | undefined;
  #timerAt = Infinity;

  constructor(scheme: Scheme, clock: Clock) {
    this.scheme = scheme;
    this.clock = clock;
  }

  start(grant: Grant, sentAt: number, terms: LeaseTerms, until: number = sentAt + terms.ttl): Lease {
    const lease = new Lease(this, grant, sentAt, terms, until);
    this.#leases.set(grant.token, lease);
    lease.look(sentAt);
    this.#schedule.add(lease);
    this.#arm();
    diagnostics.granted(grant);
    return lease;
  }

  find(token: string): Lease | undefined {
    return this.#leases.get(token);
  }

  get all(): Lease[] {
    return [...this.#leases.values()];
  }

  forget(lease: Lease): void {
    this.#leases.delete(lease.grant.token);
    this.#schedule.remove(lease);
  }

  reschedule(lease: Lease): void {
    if (lease.position < 0) return;
    this.#schedule.remove(lease);
    this.#schedule.add(lease);
    this.#arm();
  }

  release(lease: Lease): Promise<ReleaseOutcome> {
    this.forget(lease);
    diagnostics.released(lease.grant);
    return this.giveUp(lease.grant, lease.ttl, lease.kept);
  }

  /**
   * Tell the server that a request is over. Resolves with the first outcome and never rejects; where the server did
   * not hear it, telling goes on by itself until it has, or until nothing can be left there (`ttl` has passed).
   */
  async giveUp(request: GivenUp, ttl: number, kept?: Kept): Promise<ReleaseOutcome> {
    this.#telling++;
    let outcome: ReleaseOutcome;
    try {
      outcome = await this.#tell(request, kept);
    } catch (error) {
      outcome = unheard(request, error);
    }
    if (outcome === "unheard") void this.#keepTelling(request, this.clock.now() + ttl, kept);
    if (--this.#telling === 0) this.#allTold?.();
    return outcome;
  }

  #tell(request: GivenUp, kept: Kept | undefined): Promise<Release> {
    const left = kept ? Math.ceil(kept.until - this.clock.now()) : 0;
    return kept && left > 0 ? this.scheme.keep(kept.grant, left, kept.label) : this.scheme.release(request);
  }

  async #keepTelling(request: GivenUp, until: number, kept?: Kept): Promise<void> {
    for (let pause = 100; !this.#closed && this.clock.now() + pause < until; pause = Math.min(2 * pause, 2_000)) {
      await this.#pause(pause);
      try {
        await this.#tell(request, kept);
        return;
      } catch (error) {
        if (unheard(request, error) !== "unheard") return;
      }
    }
  }

  /** Has no end once the keeper is closed. */
  #pause(delay: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.after(delay, () => {
        this.#pauses.delete(timer);
        resolve();
      });
      this.#pauses.add(timer);
    });
  }

  /** Stop renewing; give everything back. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#pauses) timer.cancel();
    for (const lease of this.all) void lease.release();
    if (this.#telling > 0) await new Promise<void>((resolve) => (this.#allTold = resolve));
    this.#timer?.cancel();
  }

  #arm(): void {
    const first = this.#schedule.first?.due ?? Infinity;
    if (first >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = first;
    this.#timer = this.clock.after(first - this.clock.now(), () => this.#tick());
  }

  #tick(): void {
    this.#timerAt = Infinity;
    const now = this.clock.now();
    for (let lease = this.#schedule.first; lease && lease.due <= now; lease = this.#schedule.first) {
      this.#schedule.remove(lease);
      lease.look(now);
      if (lease.held) this.#schedule.add(lease);
    }
    this.#arm();
  }
}

/** What the server refuses now it will refuse again. */
function unheard(request: GivenUp, error: unknown): ReleaseOutcome {
  diagnostics.trouble({ ...request, doing: "release", error });
  return error instanceof SchemeError && !error.transient ? "unsure" : "unheard";
}
