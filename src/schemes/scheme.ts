/**
 * The contract of every scheme. A scheme keeps locks: it decides who holds and who waits, and draws
 * fences. It knows no manager and no callback; a manager knows no keys and no servers.
 */
import type { Caller } from "../caller.ts";
import type { Durability, Wish } from "../durability.ts";
import type { LockError } from "../errors.ts";

export type LockMode = "exclusive" | "shared";

export type SchemeName = "memory" | "set" | "lua" | "redlock";

/** How long a pushed grant lasts unless it is claimed, in milliseconds (or its ttl, if that is shorter). */
export const CLAIM_WINDOW = 1_000;
/** How often a waiter asks whether it missed something, in milliseconds. */
export const POKE_INTERVAL = 5_000;
/** How long a waiter that no longer asks counts as alive, in milliseconds. */
export const STALE_AFTER: number = 3 * POKE_INTERVAL;
/** Waiters this close to the head of the queue ask by themselves when the holder's time ends. */
export const FRONT = 4;
/**
 * The delay from one of them to the next, in milliseconds, so that each finds what the one before it has cleared away.
 */
export const FRONT_STEP = 5;
/** A lease has certainly ended this many milliseconds after its time. */
export const EXPIRY_MARGIN = 2;

/**
 * How long a holder's value stays for those who waited, in milliseconds: by then, a live waiter has been granted the
 * lock, or has asked for it again.
 */
export const KEEP_VALUE: number = STALE_AFTER;

/** The form of a token: `<clientId>:<counter>`, the id 128 random bits. */
export const TOKEN: RegExp = /^[\w-]{22}:\w+$/;
/**
 * The counter of a candidate's token begins with this letter, which no counter contains: elections can be recognized.
 */
export const CANDIDATE = "E";

/** A request to the scheme. Its token is never used for another; the same request may be asked again and again. */
export interface LockRequest {
  readonly lock: string;
  readonly token: string;
  readonly mode: LockMode;
  /** How long a grant lasts without renewal, in milliseconds. */
  readonly ttl: number;
  /** The human-readable holder name; "" means the manager's label. */
  readonly label: string;
  /** The permits it wants of a semaphore's `limit`; its mode is shared then. Undefined for a lock. */
  readonly permits?: number | undefined;
  readonly limit?: number | undefined;
  /** Refuse it if this many wait already. */
  readonly maxQueue?: number | undefined;
  /**
   * What must have stored the grant before it is reported. If it has not in time, the scheme takes the grant back and
   * fails with a DurabilityError.
   */
  readonly durability?: Wish | undefined;
}

/** A request that is being asked, and the receiver of the answer. */
export interface Question extends LockRequest, Caller<Answer> {
  /** Whether it may wait in the queue. If not, the answer is never "pending". */
  readonly wait: boolean;
  /** When it was asked last, by our clock. */
  readonly askedAt: number;
  /** How many requests of this process wait for it, for `query()`. */
  readonly waiting: number;
  /** How many consecutive fences its grant must carry. */
  readonly fences: number;
  /** Whether nobody else in this process holds the lock or waits for it, so that it is likely to be free. */
  readonly opens: boolean;
  /** Written by the scheme: everything sent from now on comes after the question. */
  isSent: boolean;
  /** Its place in the queue, written by the scheme; it keeps the place when a server forgets the queue. */
  ticket: string | undefined;
}

/** The one exclusive holder that a waiter waits for. */
export interface WaitedFor {
  readonly token: string;
  /** The request's own label; "" if it has none. */
  readonly label: string;
}

export interface Granted {
  readonly kind: "granted";
  readonly fence: number;
  /** How many fences in a row it carries, from that one on (default 1). */
  readonly fences?: number;
  /** The scheme keeps it at least until then by our clock (default: the ttl, counted from when it was asked). */
  readonly until?: number;
  /** What has stored the grant, if the request required that. */
  readonly durability?: Durability | undefined;
  /** The holders that it was stolen from, as far as the scheme knows. */
  readonly victims?: readonly Victim[];
}

/** A holder whose lock was stolen. */
export interface Victim {
  /** Undefined for a foreign holder. */
  readonly token: string | undefined;
  readonly fence: number | undefined;
  /** The request's own label; "" if it has none, or it is not known. */
  readonly label: string;
}

export type Answer =
  | Granted
  /**
   * In the queue. Ask again when pushed, and in any case after `pokeAfter` milliseconds. `ahead` is how many places are
   * before it, if the scheme knows.
   */
  | { readonly kind: "pending"; readonly pokeAfter: number; readonly ahead?: number; readonly holder?: WaitedFor }
  | { readonly kind: "busy" }
  /** Neither a holder nor in the queue, for a reason that asking again would not change. */
  | { readonly kind: "refused"; readonly error: LockError };

/** A grant as its holder knows it. */
export interface Grant {
  readonly lock: string;
  readonly token: string;
  readonly mode: LockMode;
  readonly fence: number;
  /** Set for permits of a semaphore. */
  readonly permits?: number | undefined;
  /** What had stored the grant before it was reported, if the request required that. */
  readonly durability?: Durability | undefined;
}

/** The outcome of an extension: the lease is longer, nobody knows it any more, or somebody else holds. */
export type Extension = "extended" | "gone" | "stolen";

/** How a release came out: "gone" if it did not hold; "unsure" if so, but the call may have run twice. */
export type Release = "released" | "gone" | "unsure";

/** What the holder of a lock leaves for those who wait for it. */
export interface LeftValue {
  /** That of the holder. */
  readonly fence: number;
  /** The text says why there is no value. */
  readonly isFailure: boolean;
  readonly text: string;
}

export interface Recalled extends LeftValue {
  /** It is for those too who ask only now. */
  readonly isFresh: boolean;
}

/** How it came out to leave a value: "gone" if the grant no longer holds, "late" if a later holder's value is there. */
export type Leaving = "left" | "gone" | "late";

/** A request that is over, as much as is known of it, and who hears that the scheme has heard. */
export interface Farewell extends Caller<Release> {
  readonly lock: string;
  readonly token: string;
  /** The mode and fence of the grant that is given back; undefined if the request may be anything. */
  readonly mode?: LockMode | undefined;
  readonly fence?: number | undefined;
  /** Questions about the same lock were asked before; it must not overtake them. */
  readonly isBehind: boolean;
}

/** What a scheme reports unasked. */
export interface PushListener {
  /**
   * The request was granted, with that many fences in a row, for min(ttl, CLAIM_WINDOW) from a moment no earlier than
   * `since` by our clock: extend it at once. If `since` is undefined, only asking again tells how long it lasts.
   */
  granted(lock: string, token: string, fence: number, fences: number, since?: number): void;
  /** The request has become the first in the queue; the holder's time ends after that many milliseconds. */
  next(lock: string, token: string, remaining: number): void;
  /** The grant was taken away by force. */
  lost(lock: string, token: string, fence: number): void;
  /**
   * Something may have been missed, because a subscription is new or back: waiters of these locks should ask again, and
   * holders should extend.
   *
   * @param locks undefined for all
   */
  missed(locks?: ReadonlySet<string>): void;
}

/** One holder, as it can be seen from outside. */
export interface HolderState {
  /** Undefined for a foreign holder: another library's key. */
  readonly token: string | undefined;
  readonly fence: number | undefined;
  /** Milliseconds until the lease ends; undefined if it never does (a foreign key without expiry). */
  readonly remaining: number | undefined;
  readonly label: string;
  /** The label of the manager that holds it, if it is known. */
  readonly clientLabel?: string;
  /** Milliseconds since the grant, by the server's clock, if the scheme knows. */
  readonly held?: number;
  /** A foreign holder's value, exactly as the key holds it. */
  readonly foreign?: string;
  /** Set for permits of a semaphore. */
  readonly permits?: number;
}

export interface WaiterState {
  readonly token: string;
  readonly mode: LockMode;
  readonly label: string;
  /** The label of the manager that waits, if it is known. */
  readonly clientLabel?: string;
  /** Milliseconds since it took its place in the queue, if the scheme knows. */
  readonly waited?: number;
  /** How many requests of one process wait at this place. */
  readonly waiting: number;
  /** It waits behind the first of its process, and has no token of its own. */
  readonly isBehind?: boolean;
  /** Set for permits of a semaphore. */
  readonly permits?: number;
}

/** One lock at one instant. Waiters are in the order of the queue. */
export interface LockState {
  readonly lock: string;
  /** The holders' mode; undefined if nobody holds. */
  readonly mode: LockMode | undefined;
  /** Set for a semaphore: how many permits there are. */
  readonly limit?: number;
  readonly holders: readonly HolderState[];
  readonly waiters: readonly WaiterState[];
}

/** Which locks to look at: one by name, those that match a glob (`*`, `?`, `[a-z]`), or all under the prefix. */
export type Selection = { readonly name: string } | { readonly match: string } | "all";

export interface Scheme {
  readonly name: SchemeName;
  readonly modes: ReadonlySet<LockMode>;
  /** Its waiters wait in a queue, so it can count them, and permits. */
  readonly queues?: boolean;
  /** It counts permits. */
  readonly hasSemaphores?: boolean;
  /** It can prove how durable a grant is. */
  readonly proves?: boolean;
  /** Asking is dear enough for requests of one process to share a place in the queue. */
  readonly hasTurns?: boolean;

  /**
   * Ask for the lock. Idempotent: a holder that asks again has its lease lengthened to at least `ttl`; a waiter that
   * asks again shows that it lives. Questions about one lock take effect in the order in which they were asked.
   */
  acquire(question: Question): void;
  /** Become the only holder at once; earlier holders are notified. */
  steal(request: LockRequest): Promise<Answer>;
  /**
   * Lengthen the lease to at least `ttl` from now, if exactly this grant still holds. Never shortens.
   *
   * @param durability who must have the extension; if they do not have it in time, fails with a DurabilityError
   */
  extend(grant: Grant, ttl: number, durability: Wish | undefined, caller: Caller<Extension>): void;
  /**
   * Let others share what exactly this grant holds exclusively; nobody else holds exclusively in between. Idempotent.
   * Absent if there are no shared locks.
   */
  downgrade?(grant: Grant): Promise<Extension>;
  /** Ends the request, whether it holds, waits or neither, and lets the next in the queue through. */
  release(farewell: Farewell): void;
  /**
   * Ends an exclusive grant, but keeps the lock held for exactly `ttl` from now, under this label; nobody renews it
   * any more. Shortens. Answers as `release` does.
   */
  keep(grant: Grant, ttl: number, label: string): Promise<Release>;
  /** The grant has been detached: nothing more is asked for it here. */
  forget?(token: string): void;
  /**
   * Grant the lock to the heir in place of exactly this grant, with a new fence, in one step. "busy" if it holds no
   * more.
   */
  handOver(grant: Grant, heir: LockRequest): Promise<Answer>;
  /**
   * Stores a value beside the lock: for all who ask within `ttl` milliseconds, and for those who waited for
   * {@link KEEP_VALUE} longer. Only while exactly this exclusive grant holds, and never in place of a larger fence's.
   * Absent, with `recall`, if values cannot be kept.
   */
  share?(grant: Grant, value: LeftValue, ttl: number): Promise<Leaving>;
  /** The value that was last stored beside the lock, if it is still there. */
  recall?(lock: string): Promise<Recalled | undefined>;
  /** Takes the lock from exactly this holder, and notifies its process. False if it no longer holds. */
  evict(lock: string, holder: HolderState): Promise<boolean>;
  query(selection: Selection): Promise<LockState[]>;
  /** At most one listener: the manager. */
  listen(listener: PushListener): void;
  /**
   * Whether the loss of this lock would be reported now: a number that changes whenever a report may have been missed;
   * undefined while none can arrive.
   */
  hearing(lock: string): number | undefined;
  /**
   * Resolves when all questions about the lock so far are on their way, so that they arrive even if this process is
   * blocked from now on. May be pending for as long as the connection is down. Never rejects.
   */
  written(lock: string): Promise<void>;
  /** Stops listening and closes what the scheme opened; the user's own connection stays open. */
  close(): Promise<void>;
}
