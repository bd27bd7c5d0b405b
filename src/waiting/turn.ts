import type { Timer } from "../clock.ts";
import { unsupported } from "../errors.ts";
import type { LossReason } from "../errors.ts";
import { events } from "../events.ts";
import { drift, Lease } from "../leases/lease.ts";
import type { Extending, Ground } from "../leases/lease.ts";
import type { Caller, Extension, Grant } from "../schemes/scheme.ts";
import type { Farewells } from "./farewells.ts";
import type { Granted, Place } from "./place.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";

/** After that time a turn hands the lock to nobody else, in milliseconds: slow work alternates between processes. */
const TURN_TIME = 50;
/** Nor is a lease handed on that has less than this share of its ttl left. */
const FRESH = 2 / 3;
/**
 * How old the scheme's latest word on the grant may be when it is handed on, in milliseconds: for that long a loss that
 * nobody reports may go unnoticed. It is asked again when half of that has passed, so that mostly nobody waits for it.
 */
const CONFIRM_AFTER = 10;

/** The line that a turn belongs to. */
export interface TurnOwner {
  readonly room: Room;
  readonly farewells: Farewells;
  /** A question about the lock is out. */
  readonly isAsking: boolean;
  /** These must wait on: the turn does not reach them. */
  putBack(requests: readonly Request[]): void;
  ended(turn: Turn): void;
}

const NOBODY: Extending = { extended: () => {}, notExtended: () => {} };

interface Asked {
  readonly askedAt: number;
  /** The scheme keeps the grant until then if it agrees. */
  readonly until: number;
  readonly callers: Extending[];
}

/**
 * The time in which one process has a lock: the scheme's grant, and the leases that stand on it. An exclusive lock goes
 * from hand to hand, first come, first served, each time with a fence of its own: to those who waited at the place when
 * it was granted, and not after {@link TURN_TIME}. Shared ones hold it together.
 *
 * Nothing is handed on while the scheme cannot report a loss, or may have missed to, or once a loss was heard; nor
 * without its word that the grant still stands, which is {@link CONFIRM_AFTER} old at most.
 */
export class Turn implements Ground, Caller<Extension> {
  grant: Grant;
  readonly #owner: TurnOwner;
  readonly place: Place;
  readonly #ttl: number;
  readonly #startedAt: number;
  readonly #lastFence: number;
  /** What the scheme could report when the turn began. */
  readonly #hearing: number | undefined;
  readonly #leases: Lease[] = [];
  #grantedUntil: number;
  /** When the scheme was asked what it answered last. */
  #confirmedAt: number;
  #nextFence: number;
  #isLost = false;
  #isOver = false;
  /** The extension that is out, and the one to ask for behind it. */
  #extension: Asked | undefined;
  #next: { until: number; readonly callers: Extending[] } | undefined;
  /** A release that waits for the extension that is out. */
  #afterExtension: (() => void) | undefined;
  /** Ends the turn for those who have not held by then. */
  #timer: Timer | undefined;

  constructor(owner: TurnOwner, place: Place, { fence, from, until, durability }: Granted) {
    const { lock, token, mode, permits, ttl, requests } = place;
    this.#owner = owner;
    this.place = place;
    this.#ttl = ttl;
    this.#startedAt = owner.room.clock.now();
    this.#grantedUntil = until;
    this.#confirmedAt = from;
    this.#nextFence = fence;
    this.#lastFence = fence + requests.size - 1;
    this.#hearing = owner.room.scheme.hearing(lock);
    this.grant = { lock, token, mode, fence, permits, durability };
  }

  /** The leases that stand on the grant now. */
  get leases(): readonly Lease[] {
    return this.#leases;
  }

  begin({ from, fence, isPushed }: Granted): void {
    const { requests, revoked } = this.place;
    this.#isLost = fence <= revoked;
    do this.#hand(from, isPushed);
    while (requests.first && this.grant.mode === "shared");
    if (this.#isLost) this.lose("stolen");
    else if (requests.first) this.#timer = this.#owner.room.clock.after(TURN_TIME, () => this.#putBack(), true);
  }

  /** A later grant of the same token: this one has ended, and the scheme forgot it. */
  pushed(fence: number): void {
    if (fence > this.#lastFence) this.lose("expired");
  }

  /** The grant is gone, and all leases with it. */
  lose(reason: LossReason): void {
    this.#isLost = true;
    for (const lease of this.#leases.slice()) lease.lose(reason);
  }

  extend(until: number, caller: Extending): void {
    if (this.#isOver) return caller.notExtended(undefined);
    if (!this.#extension) this.#ask(until, [caller]);
    else if (until <= this.#extension.until) this.#extension.callers.push(caller);
    else {
      this.#next ??= { until, callers: [] };
      this.#next.until = Math.max(this.#next.until, until);
      this.#next.callers.push(caller);
    }
  }

  answered(extension: Extension): void {
    const { askedAt, until, callers } = this.#extensionEnded();
    this.#confirmedAt = askedAt;
    if (extension === "extended") this.#grantedUntil = Math.max(this.#grantedUntil, until);
    else if (!this.#isOver) this.lose(extension === "stolen" ? "stolen" : "expired");
    for (const caller of callers) {
      if (extension === "extended") caller.extended(askedAt, until);
      else caller.notExtended(undefined);
    }
    this.#afterExtension?.();
  }

  failed(error: unknown): void {
    for (const caller of this.#extensionEnded().callers) caller.notExtended(error);
    this.#afterExtension?.();
  }

  /** What is shared is handed to nobody who wants it alone: the turn ends with its present holder. */
  async downgrade(): Promise<Extension> {
    const { scheme } = this.#owner.room;
    if (!scheme.downgrade) {
      throw unsupported(`The scheme "${scheme.name}" has no shared locks to downgrade to`, 'Use the scheme "lua".');
    }
    this.#putBack();
    const extension = await scheme.downgrade(this.grant);
    if (extension === "extended") this.grant = { ...this.grant, mode: "shared" };
    return extension;
  }

  assertDetaches(): void {
    if (this.grant.permits !== undefined) {
      throw unsupported("Permits of a semaphore cannot be detached", "Detach a lock, or release them.");
    }
    this.#owner.room.scheme.assertHandsOver?.();
    if (this.#leases.length > 1) {
      throw unsupported("Others of this process read under the same grant", "Use a manager with { turn: 1 }.");
    }
  }

  detach(lease: Lease): void {
    this.#remove(lease);
    this.#end();
  }

  leave(lease: Lease, told: (wasHeld: boolean) => void): void {
    if (!this.#remove(lease)) return told(false);
    if (lease.kept) return this.#farewell(told, lease.kept);
    this.#passOn(told);
  }

  /** @param isAsked the scheme has been asked for its word */
  #passOn(told: (wasHeld: boolean) => void, isAsked = false): void {
    const mayPass = this.#mayPass();
    if (mayPass && this.#isFresh() && this.#isConfirmed(CONFIRM_AFTER)) {
      this.#hand(this.#owner.room.clock.now(), false);
      told(true);
    } else if (mayPass && this.#hasTime() && !isAsked) {
      this.#afterExtension = () => {
        this.#afterExtension = undefined;
        this.#passOn(told, true);
      };
      // A pushed grant is short until the first extension of it is answered.
      if (!this.#extension) this.extend(this.#owner.room.clock.now() + this.#ttl, NOBODY);
    } else if (this.#leases.length > 0) told(true);
    else this.#farewell(told);
  }

  /** Somebody may follow on this grant. */
  #mayPass(): boolean {
    const { scheme } = this.#owner.room;
    return (
      this.place.requests.size > 0 &&
      this.#leases.length === 0 &&
      !this.#isLost &&
      this.#hearing !== undefined &&
      this.#hearing === scheme.hearing(this.grant.lock)
    );
  }

  /** There is enough time left for the next holder, in the turn and of the lease. */
  #isFresh(): boolean {
    return this.#hasTime() && this.#owner.room.clock.now() < this.#grantedUntil - this.#ttl * FRESH;
  }

  #hasTime(): boolean {
    return this.#owner.room.clock.now() < this.#startedAt + TURN_TIME;
  }

  #isConfirmed(age: number): boolean {
    return this.#owner.room.clock.now() - this.#confirmedAt <= age;
  }

  /**
   * The next request holds. Its code begins once its whole ttl has been asked for: with the grant, or with an extension
   * that has been written by then.
   */
  #hand(from: number, isPushed: boolean): void {
    const { room } = this.#owner;
    const request = this.place.requests.first as Request;
    this.place.leave(request);
    const fence = this.#nextFence++;
    // The first has the token that the scheme knows; a guard must tell the others from it.
    const token = fence === this.grant.fence ? this.grant.token : room.newToken();
    const { terms, context } = request;
    const own = { ...this.grant, token, fence };
    const lease = new Lease(room.keeper, this, own, terms, context, from, this.#grantedUntil);
    this.#leases.push(lease);
    room.keeper.add(lease);
    events.granted(own, context);
    const deliver = request.granted();
    const isWhole = !isPushed && this.#grantedUntil - from >= this.#ttl - drift(this.#ttl);
    // Written or answered: either way it will have arrived if this process is blocked by its own code now.
    const claimed = isWhole ? undefined : Promise.race([lease.claim(), room.scheme.written(this.grant.lock)]);
    room.begin(() => deliver(lease), claimed);
    if (token !== this.grant.token && !this.#isConfirmed(CONFIRM_AFTER / 2)) lease.doubt();
  }

  #farewell(told: (wasHeld: boolean) => void, kept?: Lease["kept"]): void {
    const { farewells, isAsking } = this.#owner;
    this.#isOver = true;
    farewells.say(this.grant, this.#ttl, (outcome) => told(outcome !== "gone"), { isBehind: isAsking, kept });
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.place.state = "over";
    this.#putBack();
    this.#owner.ended(this);
  }

  /** The turn reaches nobody else: those who wait for it must wait in the queue. */
  #putBack(): void {
    this.#timer?.cancel();
    if (this.place.requests.size > 0) this.#owner.putBack(this.place.disband());
  }

  #remove(lease: Lease): boolean {
    const at = this.#leases.indexOf(lease);
    if (at < 0) return false;
    this.#leases.splice(at, 1);
    return true;
  }

  #ask(until: number, callers: Extending[]): void {
    const { scheme, clock } = this.#owner.room;
    const askedAt = clock.now();
    const ttl = Math.ceil(until - askedAt);
    this.#extension = { askedAt, until: askedAt + ttl, callers };
    scheme.extend(this.grant, ttl, this.place.durability, this);
  }

  #extensionEnded(): Asked {
    const ended = this.#extension as Asked;
    const next = this.#next;
    this.#extension = undefined;
    this.#next = undefined;
    if (next && !this.#isOver) this.#ask(next.until, next.callers);
    else for (const caller of next?.callers ?? []) caller.notExtended(undefined);
    return ended;
  }
}
