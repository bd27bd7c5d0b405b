import type { Caller } from "../caller.ts";
import type { Timer } from "../clock.ts";
import type { Wish } from "../durability.ts";
import { unsupported } from "../errors.ts";
import type { LossReason } from "../errors.ts";
import { events } from "../events.ts";
import type { Origin } from "../events.ts";
import { drift } from "../leases/deadline.ts";
import { Lease } from "../leases/lease.ts";
import type { Extending, Ground } from "../leases/lease.ts";
import type { Extension, Grant, Granted, Leaving, LeftValue } from "../schemes/scheme.ts";
import { assertShares } from "../schemes/supported.ts";
import { Extensions } from "./extensions.ts";
import type { Place } from "./place.ts";
import { Queue } from "../queue.ts";
import type { Queued } from "../queue.ts";
import type { Request } from "./request.ts";
import { originOf } from "./room.ts";
import type { Room } from "./room.ts";

/**
 * After this time, in milliseconds, a turn hands the lock to nobody else, so slow work alternates between processes.
 */
const TURN_TIME = 50;
/** A lease with less than this share of its ttl left is not handed on either. */
const FRESH = 2 / 3;
/**
 * How old the scheme's latest confirmation of the grant may be when it is handed on, in milliseconds: for that long (or
 * for a round trip, if that takes longer) an unreported loss may go unnoticed. It is requested again when half of that
 * time has passed, so that requests hardly ever wait for it.
 */
const CONFIRM_AFTER = 10;

/** The line that a turn belongs to. */
export interface TurnOwner {
  readonly room: Room;
  /** A question about the lock is unanswered. */
  readonly isAsking: boolean;
  /** These requests must keep waiting: the turn does not reach them. */
  putBack(requests: readonly Request[]): void;
  ended(turn: Turn): void;
}

const NOBODY: Extending = { extended: () => {}, notExtended: () => {} };

/**
 * The time in which one process has a lock: the scheme's grant, and the leases that are based on it. An exclusive lock
 * passes from one request to the next, first come, first served, each time with its own fence: to those that waited at
 * the place when it was granted, and not after {@link TURN_TIME}. Shared ones hold it together.
 *
 * Nothing is handed on while the scheme cannot report a loss, or may have missed one, or once a loss was reported; and
 * not without a confirmation that the grant still stands, which is no older than {@link CONFIRM_AFTER} or has just
 * arrived.
 */
export class Turn implements Ground, Queued<Turn> {
  grant: Grant;
  readonly leases: Queue<Lease> = new Queue<Lease>();
  /** Whole milliseconds, as is {@link #confirmedAt}: such numbers need less memory. */
  grantedUntil: number;
  before: Turn | undefined;
  behind: Turn | undefined;
  isOver = false;
  readonly #owner: TurnOwner;
  // Of the terms, only what a turn needs: they are kept by nobody else once the lock is held.
  readonly #ttl: number;
  readonly #label: string;
  readonly #durability: Wish | undefined;
  /** Where the requests waited that the turn has not reached yet. */
  #place: Place | undefined;
  /** When the turn stops handing on the lock; undefined if nobody waits for it. */
  #endsAt: number | undefined;
  /** How many fences it has, and how many of them have been handed out. */
  readonly #fences: number;
  #handed = 0;
  /** What the scheme could report when the turn began. */
  readonly #hearing: number | undefined;
  /** When the question was asked that the scheme answered last. */
  #confirmedAt: number;
  #isLost = false;
  #extensions: Extensions | undefined;
  /** Ends the turn for those that have not held by then. */
  #timer: Timer | undefined;

  /** @param from a time when the grant was certainly running */
  constructor(owner: TurnOwner, place: Place, { fence, until, durability }: Granted, from: number) {
    const { lock, token, requests, terms } = place;
    this.#owner = owner;
    this.#place = place;
    this.#ttl = terms.ttl;
    this.#label = terms.label;
    this.#durability = terms.durability;
    this.grant = { lock, token, mode: terms.mode, fence, permits: terms.permits, durability };
    this.grantedUntil = Math.floor(until ?? from + terms.ttl);
    this.#confirmedAt = Math.floor(from);
    this.#fences = requests.size;
    this.#hearing = owner.room.scheme.hearing(lock);
  }

  get origin(): Origin {
    return originOf(this.#owner.room, this.#label);
  }

  /** Requests that wait for this turn to reach them, in order. */
  get followers(): Iterable<Request> {
    return this.#place?.requests ?? [];
  }

  /** Everyone that may begin now does. */
  begin(): void {
    const { revoked, isPushed } = this.#place as Place;
    const from = this.#confirmedAt;
    this.#isLost = this.grant.fence <= revoked;
    do this.#hand(from, isPushed);
    while (this.#hasFollowers && this.grant.mode === "shared");
    if (!this.#isLost && this.#hasFollowers) this.#limit();
  }

  /** A later grant of the same token: this one has ended and was forgotten by the scheme. */
  pushed(fence: number): void {
    if (fence >= this.grant.fence + this.#fences) this.lose("expired");
  }

  /** The grant is gone, and all leases with it. */
  lose(reason: LossReason): void {
    this.#isLost = true;
    for (const lease of Array.from(this.leases)) lease.lose(reason);
  }

  extend(until: number, caller: Extending): void {
    if (this.isOver) return caller.notExtended(undefined);
    if (this.#extensions) this.#extensions.want(until, caller);
    else this.#extensions = new Extensions(this, until, caller);
  }

  ask(until: number, caller: Caller<Extension>): { askedAt: number; until: number } {
    const { scheme, clock } = this.#owner.room;
    const askedAt = clock.now();
    const ttl = Math.ceil(until - askedAt);
    scheme.extend(this.grant, ttl, this.#durability, caller);
    return { askedAt, until: askedAt + ttl };
  }

  extended(extension: Extension, { askedAt, until }: { askedAt: number; until: number }): void {
    this.#confirmedAt = Math.floor(askedAt);
    if (extension === "extended") this.grantedUntil = Math.max(this.grantedUntil, Math.floor(until));
    else if (!this.isOver) {
      this.#isLost = true;
      for (const lease of Array.from(this.leases)) lease.refused(extension);
    }
  }

  settled(): void {
    this.#extensions = undefined;
  }

  /** A shared lock is not handed to a request that wants it exclusively: the turn ends with its present holders. */
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

  share(value: LeftValue, ttl: number): Promise<Leaving> {
    const { scheme } = this.#owner.room;
    assertShares(scheme);
    return scheme.share(this.grant, value, ttl);
  }

  assertDetaches(): void {
    if (this.grant.permits !== undefined) {
      throw unsupported("Permits of a semaphore cannot be detached", "Detach a lock, or release them.");
    }
    if (this.leases.size > 1) {
      throw unsupported("Others of this process read under the same grant", "Use a manager with { turn: 1 }.");
    }
  }

  detach(lease: Lease): void {
    this.leases.remove(lease);
    this.#owner.room.scheme.forget?.(this.grant.token);
    this.#end();
  }

  leave(lease: Lease): void {
    if (!this.leases.has(lease)) return lease.departed("gone");
    this.leases.remove(lease);
    if (lease.kept) this.#farewell(lease);
    else this.#passOn(lease);
  }

  /** @param word whether the scheme has just confirmed, because it was asked, that the grant still stands */
  #passOn(lease: Lease, word?: boolean): void {
    const mayPass = this.#mayPass();
    if (mayPass && this.#isFresh() && (word ?? this.#isConfirmed(CONFIRM_AFTER))) {
      this.#hand(this.#owner.room.clock.now(), false);
      lease.departed("released");
    } else if (mayPass && this.#hasTime() && word === undefined) {
      // A pushed grant is short until the first extension of it is answered.
      this.#extensions ??= new Extensions(this, this.#owner.room.clock.now() + this.#ttl, NOBODY);
      this.#extensions.whenAnswered = (isExtended) => this.#passOn(lease, isExtended);
    } else if (this.leases.size > 0) lease.departed("released");
    else this.#farewell(lease);
  }

  /** Another request may follow on this grant. */
  #mayPass(): boolean {
    return (
      this.#hasFollowers &&
      this.leases.size === 0 &&
      !this.#isLost &&
      this.#hearing !== undefined &&
      this.#hearing === this.#owner.room.scheme.hearing(this.grant.lock)
    );
  }

  get #hasFollowers(): boolean {
    return this.#place?.requests.first !== undefined;
  }

  /** There is enough time left for the next holder, in the turn and of the lease. */
  #isFresh(): boolean {
    return this.#hasTime() && this.#owner.room.clock.now() < this.grantedUntil - this.#ttl * FRESH;
  }

  #hasTime(): boolean {
    return this.#endsAt !== undefined && this.#owner.room.clock.now() < this.#endsAt;
  }

  #limit(): void {
    const { clock } = this.#owner.room;
    this.#endsAt = clock.now() + TURN_TIME;
    if (events.isQueueHeard) for (const request of Array.from(this.followers)) events.queued(request, undefined);
    this.#timer = clock.after(TURN_TIME, () => this.#putBack(), true);
  }

  #isConfirmed(age: number): boolean {
    return this.#owner.room.clock.now() - this.#confirmedAt <= age;
  }

  /**
   * The next request holds. Its code begins once its whole ttl has been requested: with the grant, or with an extension
   * that has been written by then.
   */
  #hand(from: number, isPushed: boolean): void {
    const { room } = this.#owner;
    const ttl = this.#ttl;
    const place = this.#place as Place;
    const request = place.requests.first as Request;
    place.leave(request);
    if (!place.requests.first) this.#place = undefined;
    request.granted();
    const isFirst = this.#handed === 0;
    // The first holder has the token that the scheme knows. Others have their own, so that a guard can tell them apart.
    const own = isFirst
      ? this.grant
      : { ...this.grant, token: room.newToken(request.terms.isCandidacy), fence: this.grant.fence + this.#handed };
    this.#handed++;
    const lease = new Lease(room.keeper, this, own, request.terms, request.context, from);
    this.leases.add(lease);
    room.keeper.add(lease);
    events.granted(lease, request);
    if (this.#isLost) this.lose("stolen");
    const isWhole = !isPushed && this.grantedUntil - from >= ttl - drift(ttl);
    // Written or answered: in both cases it arrives even if this process's own code blocks it now.
    const claimed = isWhole ? undefined : Promise.race([lease.claim(), room.scheme.written(own.lock)]);
    room.begin(request, lease, claimed);
    if (!isFirst && !this.#isConfirmed(CONFIRM_AFTER / 2)) lease.doubt();
  }

  #farewell(lease: Lease): void {
    const { room, isAsking } = this.#owner;
    const { kept } = lease;
    this.isOver = true;
    room.farewell(this.grant, this.#ttl, lease, isAsking || kept ? { isBehind: isAsking, kept } : undefined);
    this.#end();
  }

  #end(): void {
    this.isOver = true;
    this.#putBack();
    this.#owner.ended(this);
  }

  /** The turn reaches nobody else: requests that wait for it must wait in the queue. */
  #putBack(): void {
    this.#timer?.cancel();
    const place = this.#place;
    this.#place = undefined;
    if (place?.requests.first) this.#owner.putBack(place.disband());
  }
}
