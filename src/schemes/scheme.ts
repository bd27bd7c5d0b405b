/**
 * What every scheme does, and the terms of it. A scheme keeps locks: it decides who holds, who waits, and draws
 * fences. It knows no manager and no callback; the manager knows no keys and no servers.
 */
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
/** A lease has certainly ended this many milliseconds after its time. */
export const EXPIRY_MARGIN = 2;

/** One wish to hold a lock. The token names it for ever; the same request may be asked again and again. */
export interface LockRequest {
  readonly lock: string;
  readonly token: string;
  readonly mode: LockMode;
  /** How long a grant lasts without renewal, in milliseconds. */
  readonly ttl: number;
  /** Shown to people who look at the lock; "" means the manager's label. */
  readonly label: string;
  /** Its place in the queue, written by the scheme; it keeps the place when a server forgets the queue. */
  ticket?: string;
  /** How many of its process wait at this place, for people who look (default 1: itself). */
  waiting?: number;
  /** How many fences in a row a grant should carry (default 1). */
  fences?: number;
  /** Of a semaphore, whose requests are shared: how many permits it wants, of how many that there are. */
  readonly permits?: number | undefined;
  readonly limit?: number | undefined;
  /** Refuse it where more than so many wait already. */
  readonly maxQueue?: number | undefined;
  /** It stands in the queue by itself, not at one place with others of its process. */
  readonly alone?: boolean;
  /**
   * Who must have the grant before it is told of; a request with such a wish is alone. Where they have it too late the
   * scheme takes the grant back and rejects with a DurabilityError.
   */
  readonly durability?: Wish | undefined;
}

/** Whose release a waiter waits for, as far as one exclusive holder is known. */
export interface WaitedFor {
  readonly token: string;
  /** The request's own label; "" where it has none. */
  readonly label: string;
}

/** What a token looks like: `<clientId>:<counter>`, the id 128 random bits. */
export const TOKEN: RegExp = /^[\w-]{22}:\w+$/;

/** A pushed grant must last so many milliseconds more to be held as it is, while the scheme is asked to extend it. */
export const CLAIM_TIME = 250;

/** What a scheme says to a request. */
export type Answer =
  /**
   * `fences` of them in a row, from `fence` on (default 1). The scheme keeps the grant at least until `until` by this
   * process's clock (default: the ttl from when it was asked for).
   */
  | {
      readonly kind: "granted";
      readonly fence: number;
      readonly fences?: number;
      readonly until?: number;
      /** Who has the grant, where that was wished for. */
      readonly durability?: Durability | undefined;
    }
  /**
   * In line. Ask again when pushed, or after `pokeAfter` milliseconds at the latest. `ahead` is how many places are
   * before it, where that is known.
   */
  | { readonly kind: "pending"; readonly pokeAfter: number; readonly ahead?: number; readonly holder?: WaitedFor }
  | { readonly kind: "busy" }
  /** Neither a holder nor in line, for a reason that asking again would not change. */
  | { readonly kind: "refused"; readonly error: LockError };

/** A grant as its holder knows it. */
export interface Grant {
  readonly lock: string;
  readonly token: string;
  readonly mode: LockMode;
  readonly fence: number;
  /** Of a semaphore. */
  readonly permits?: number | undefined;
  /** Who had it before its holder was told, where that was wished for. */
  readonly durability?: Durability | undefined;
}

/** A request that is over; as much as is known of it. */
export type GivenUp = Pick<LockRequest, "lock" | "token"> & Partial<Grant>;

/** What became of a wish to extend: the lease is longer, nobody knows it any more, or somebody else has it. */
export type Extension = "extended" | "gone" | "stolen";

/** What became of a wish to release: "gone" if it did not hold; "unsure" if so, but the call may have run twice. */
export type Release = "released" | "gone" | "unsure";

/** What a scheme tells unasked. */
export interface PushListener {
  /**
   * The request was granted for a short while: extend it at once, or ask again, to make it whole. The scheme keeps it
   * at least until `until` by this process's clock; where that is not known, only asking again tells.
   */
  granted(lock: string, token: string, fence: number, until?: number): void;
  /** The request has become the first in line; the present holder's time ends after so many milliseconds. */
  next(lock: string, token: string, remaining: number): void;
  /** The grant was taken away by force. */
  lost(lock: string, token: string, fence: number): void;
  /** The request should ask again at once. */
  again(lock: string, token: string): void;
  /**
   * Something may have been missed (a subscription is new or back): every waiter of these locks should ask again.
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
  /** Milliseconds until the lease ends; undefined where it never does (a foreign key without expiry). */
  readonly remaining: number | undefined;
  readonly label: string;
  /** A foreign holder's value, as it stands in the key. */
  readonly foreign?: string;
  /** Of a semaphore. */
  readonly permits?: number;
}

export interface WaiterState {
  readonly token: string;
  readonly mode: LockMode;
  readonly label: string;
  /** How many of one process wait at this place. */
  readonly waiting: number;
  /** Of a semaphore. */
  readonly permits?: number;
}

/** One lock at one instant. Waiters stand in the order of the queue. */
export interface LockState {
  readonly lock: string;
  /** Of the holders; undefined when there is none. */
  readonly mode: LockMode | undefined;
  /** Of a semaphore: how many permits there are. */
  readonly limit?: number;
  readonly holders: readonly HolderState[];
  readonly waiters: readonly WaiterState[];
}

/** Which locks to look at: one by name, those that match a glob (`*`, `?`, `[a-z]`), or all under the prefix. */
export type Selection = { readonly name: string } | { readonly match: string } | "all";

export interface Scheme {
  readonly name: SchemeName;
  readonly modes: ReadonlySet<LockMode>;
  /** Its waiters stand in a queue, so that it can count them, and permits. */
  readonly queues?: boolean;
  /** It can tell how durable a grant is. */
  readonly proves?: boolean;

  /**
   * Ask for the lock. Idempotent: a holder that asks again has its lease lengthened to at least `ttl`, a waiter that
   * asks again shows that it lives. With `wait` false the answer is never "pending".
   */
  acquire(request: LockRequest, wait: boolean): Promise<Answer>;
  /** Become the holder at once, exclusively; whoever held is told. */
  steal(request: LockRequest): Promise<Answer>;
  /**
   * Lengthen the lease to at least `ttl` from now, if this very grant still holds. Never shortens.
   *
   * @param durability who must have the extension; where they have it too late it rejects with a DurabilityError
   */
  extend(grant: Grant, ttl: number, durability?: Wish): Promise<Extension>;
  /**
   * Let others share what this very grant holds exclusively; nobody else holds exclusively in between. Idempotent.
   * Absent where there are no shared locks.
   */
  downgrade?(grant: Grant): Promise<Extension>;
  /** Give up the request, whether it holds, waits or neither, and let the next in line through. */
  release(request: GivenUp): Promise<Release>;
  /**
   * Give up an exclusive grant, but let the lock stay held for exactly `ttl` from now, under this label; nobody renews
   * it any more. Shortens. Answers as `release` does.
   */
  keep(grant: Grant, ttl: number, label: string): Promise<Release>;
  /** The grant as it must be named to others, who may take its place. It is not handed on here any more. */
  detach(grant: Grant): Grant;
  /** Grant the lock to the heir in place of this very grant, with a new fence, in one step. "busy" if it holds no more. */
  handOver(grant: Grant, heir: LockRequest): Promise<Answer>;
  /** Take the lock from exactly this holder; its process is told. False if it no longer holds. */
  evict(lock: string, holder: HolderState): Promise<boolean>;
  query(selection: Selection): Promise<LockState[]>;
  /** At most one listener: the manager. */
  listen(listener: PushListener): void;
  /** Stop listening and close what the scheme opened; the user's own connection stays open. */
  close(): Promise<void>;
}
