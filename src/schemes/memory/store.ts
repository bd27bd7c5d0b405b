/** The locks in memory, with holders and waiters; and the steps that operations on them share. */
import type { Clock } from "../../clock.ts";
import { CLAIM_WINDOW } from "../scheme.ts";
import type { LockMode, LockRequest, PushListener, Question, WaitedFor } from "../scheme.ts";
import { SortedMap } from "./sorted-map.ts";
import { Values } from "./values.ts";

interface Holder {
  readonly fence: number;
  /** How many fences in a row its grant carried. */
  readonly fences: number;
  readonly label: string;
  /** Of a semaphore. */
  readonly permits: number | undefined;
  readonly since: number;
  readonly expiry: number;
}

/** What a grant is made from. */
type Wish = Pick<LockRequest, "mode" | "ttl" | "label" | "permits" | "limit">;

interface Waiter extends Wish {
  readonly fences: number;
  readonly ticket: number;
  readonly since: number;
  readonly staleAt: number;
}

export interface LockRecord {
  readonly name: string;
  mode: LockMode;
  /** While it is held: for a semaphore. */
  limit: number | undefined;
  /** How many of its permits are held. */
  used: number;
  /** The holder whose time ends first comes first. */
  readonly holders: SortedMap<Holder>;
  /** In the order of the queue. */
  readonly waiters: SortedMap<Waiter>;
}

function newRecord(name: string): LockRecord {
  return {
    name,
    mode: "exclusive",
    limit: undefined,
    used: 0,
    holders: new SortedMap(({ expiry }) => expiry),
    waiters: new SortedMap(({ ticket }) => ticket),
  };
}

/** Where the locks of several managers of one process live. */
export class MemoryStore {
  readonly clock: Clock;
  readonly clients: Map<string, { readonly label: string; readonly listener: PushListener }> = new Map();
  readonly values: Values;
  readonly #locks = new Map<string, LockRecord>();
  #fence = 0;
  #ticket = 0;

  constructor(clock: Clock) {
    this.clock = clock;
    this.values = new Values(clock);
  }

  get keys(): string[] {
    return [...this.#locks.keys()];
  }

  /** The lock as it is now, without the holders whose time has ended. */
  load(key: string, name: string): LockRecord {
    let lock = this.#locks.get(key);
    if (!lock) this.#locks.set(key, (lock = newRecord(name)));
    for (let first = firstHolder(lock); first && first.expiry <= this.clock.now(); first = firstHolder(lock)) {
      drop(lock, lock.holders.first as string);
    }
    return lock;
  }

  /** A lock at rest leaves nothing. */
  tidy(key: string): void {
    const lock = this.#locks.get(key);
    if (lock?.holders.size === 0 && lock.waiters.size === 0) this.#locks.delete(key);
  }

  /** @returns the first of its fences */
  grant(lock: LockRecord, token: string, { mode, ttl, label, permits, limit }: Wish, fences = 1): number {
    const fence = Math.max(this.#fence + 1, this.clock.micros());
    this.#fence = fence + fences - 1;
    lock.mode = mode;
    lock.limit = limit;
    lock.used += permits ?? 0;
    const since = this.clock.now();
    lock.holders.set(token, { fence, fences, label, permits, since, expiry: since + ttl });
    return fence;
  }

  /** Stand in the queue: in the place that the ticket names, or at the end. Answers with the ticket. */
  enqueue(lock: LockRecord, request: Question, staleAt: number): string {
    const { token, mode, ttl, fences, label, permits, limit } = request;
    const ticket = Number(request.ticket ?? lock.waiters.get(token)?.ticket ?? ++this.#ticket);
    const since = lock.waiters.get(token)?.since ?? this.clock.now();
    lock.waiters.set(token, { mode, ttl, fences, label, permits, limit, ticket, since, staleAt });
    return String(ticket);
  }

  alive(token: string, waiter: Waiter): boolean {
    return waiter.staleAt > this.clock.now() && this.clients.has(clientOf(token));
  }

  /**
   * Let those at the head of the queue in. `me`, if given, is asking now: it needs no push and gets its whole ttl.
   * `moved` says that the line has moved already. The new first in line is told when to look for itself:
   * the new holder may be frozen, or die.
   */
  promote(lock: LockRecord, me?: string, moved = false): void {
    for (let token = lock.waiters.first; token !== undefined; token = lock.waiters.first) {
      const waiter = lock.waiters.get(token) as Waiter;
      if (token !== me && !this.alive(token, waiter)) {
        lock.waiters.delete(token);
      } else if (!compatible(lock, waiter)) {
        break;
      } else {
        lock.waiters.delete(token);
        const ttl = token === me ? waiter.ttl : Math.min(waiter.ttl, CLAIM_WINDOW);
        const fence = this.grant(lock, token, { ...waiter, ttl }, waiter.fences);
        const since = this.clock.now();
        const heir = token;
        if (heir !== me) this.tell(heir, (listener) => listener.granted(lock.name, heir, fence, waiter.fences, since));
      }
      moved = true;
    }
    const first = moved ? lock.waiters.first : undefined;
    if (first === undefined || first === me) return;
    const remaining = Math.max(0, this.timeLeft(lock));
    this.tell(first, (listener) => listener.next(lock.name, first, remaining));
  }

  /**
   * While anybody holds it or waits, a name is that of a lock, or of a semaphore with one limit. Returns what it
   * is in use as (undefined: a lock) if that is not what is requested.
   */
  mismatch(lock: LockRecord, limit: number | undefined): { readonly limit: number | undefined } | undefined {
    const head = lock.waiters.get(lock.waiters.first);
    // The head may be dead.
    if (lock.holders.size === 0 && head && head.limit !== limit) this.promote(lock);
    return lock.holders.size > 0 && lock.limit !== limit ? { limit: lock.limit } : undefined;
  }

  /** True if at least that many wait. The dead are cleared away on the way. */
  isFull(lock: LockRecord, most: number): boolean {
    let count = 0;
    const dead: string[] = [];
    for (const [token, waiter] of lock.waiters) {
      if (count >= most) break;
      if (this.alive(token, waiter)) count++;
      else dead.push(token);
    }
    for (const token of dead) lock.waiters.delete(token);
    return count >= most;
  }

  /** Milliseconds until the last holder's time ends, of a semaphore the first one's. */
  timeLeft(lock: LockRecord): number {
    const { first, last } = lock.holders;
    const { expiry = -Infinity } = lock.holders.get(lock.limit === undefined ? last : first) ?? {};
    return expiry - this.clock.now();
  }

  tell(token: string, message: (listener: PushListener) => void): void {
    const client = this.clients.get(clientOf(token));
    if (client) queueMicrotask(() => message(client.listener));
  }
}

function firstHolder({ holders }: LockRecord): Holder | undefined {
  return holders.get(holders.first);
}

/** Take the token out of the holders; false if it was none. */
export function drop(lock: LockRecord, token: string): boolean {
  lock.used -= lock.holders.get(token)?.permits ?? 0;
  return lock.holders.delete(token);
}

/** Makes a holder's time end at this instant, or later. */
export function lengthen(lock: LockRecord, token: string, holder: Holder, expiry: number): void {
  if (holder.expiry < expiry) lock.holders.set(token, { ...holder, expiry });
}

export function compatible(lock: LockRecord, { mode, permits = 1, limit }: Wish): boolean {
  if (lock.holders.size === 0) return true;
  if (lock.limit !== limit) return false;
  return limit === undefined ? lock.mode === "shared" && mode === "shared" : lock.used + permits <= limit;
}

export function clientOf(token: string): string {
  return token.slice(0, token.indexOf(":"));
}

/** The one holder that a waiter waits for, if there is one. */
export function holderOf(lock: LockRecord): { holder?: WaitedFor } {
  const token = lock.mode === "exclusive" ? lock.holders.first : undefined;
  return token === undefined ? {} : { holder: { token, label: lock.holders.get(token)?.label ?? "" } };
}
