/**
 * The `memory` scheme: locks within one process.
 *
 * It is the readable specification of what the scripts of the `lua` scheme do, step by step on plain objects. One
 * address space cannot lose messages or memory, so it guarantees all that the promises ask for, as long as the
 * process lives. It does not reach beyond the process.
 */
import type { Clock } from "../clock.ts";
import { mismatch, QueueFullError } from "../errors.ts";
import { Glob } from "./glob.ts";
import type {
  Answer,
  Extension,
  GivenUp,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Scheme,
  Selection,
  WaitedFor,
} from "./scheme.ts";

/** How long a pushed grant lasts until its holder asks for it. */
export const CLAIM_WINDOW = 1_000;
/** How often a waiter asks whether it missed something. */
export const POKE_INTERVAL = 5_000;
/** How long a waiter that asks no more counts as alive. */
export const STALE_AFTER: number = 3 * POKE_INTERVAL;

/** A holder's time has certainly ended when one looks so much later. */
export const EXPIRY_MARGIN = 2;

interface Holder {
  readonly fence: number;
  readonly label: string;
  /** Of a semaphore. */
  readonly permits: number | undefined;
  expiry: number;
}

/** What a grant is made from. */
type Wish = Pick<LockRequest, "mode" | "ttl" | "fences" | "label" | "permits" | "limit">;

interface Waiter extends Wish {
  readonly ticket: number;
  staleAt: number;
}

interface LockRecord {
  readonly name: string;
  mode: LockMode;
  /** While it is held: of a semaphore. */
  limit: number | undefined;
  readonly holders: Map<string, Holder>;
  /** In the order of the queue. */
  readonly waiters: Map<string, Waiter>;
}

/** Where the locks of several managers of one process live. */
export class MemoryStore {
  readonly clock: Clock;
  readonly clients: Map<string, { readonly label: string; readonly listener: PushListener }> = new Map();
  readonly #locks = new Map<string, LockRecord>();
  #fence = 0;
  #ticket = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get keys(): string[] {
    return [...this.#locks.keys()];
  }

  /** The lock as it is now, without the holders whose time has ended. */
  load(key: string, name: string): LockRecord {
    const unheld = { mode: "exclusive" as const, limit: undefined };
    const lock = this.#locks.get(key) ?? { name, ...unheld, holders: new Map(), waiters: new Map() };
    this.#locks.set(key, lock);
    for (const [token, holder] of lock.holders) if (holder.expiry <= this.clock.now()) lock.holders.delete(token);
    return lock;
  }

  /** A lock at rest leaves nothing. */
  tidy(key: string): void {
    const lock = this.#locks.get(key);
    if (lock?.holders.size === 0 && lock.waiters.size === 0) this.#locks.delete(key);
  }

  /** Answers with the first of its fences. */
  grant(lock: LockRecord, token: string, { mode, ttl, fences = 1, label, permits, limit }: Wish): number {
    const fence = Math.max(this.#fence + 1, this.clock.micros());
    this.#fence = fence + fences - 1;
    lock.mode = mode;
    lock.limit = limit;
    lock.holders.set(token, { fence, label, permits, expiry: this.clock.now() + ttl });
    return fence;
  }

  /** Stand in the queue: in the place that the ticket names, or at the end. Answers with the ticket. */
  enqueue(lock: LockRecord, request: LockRequest, staleAt: number): string {
    const { token, mode, ttl, fences = 1, label, permits, limit } = request;
    const ticket = Number(request.ticket ?? ++this.#ticket);
    const returned = !lock.waiters.has(token) && ticket < this.#ticket;
    lock.waiters.set(token, { mode, ttl, fences, label, permits, limit, ticket, staleAt });
    if (returned) {
      const sorted = [...lock.waiters].sort(([, a], [, b]) => a.ticket - b.ticket);
      lock.waiters.clear();
      for (const [each, waiter] of sorted) lock.waiters.set(each, waiter);
    }
    return String(ticket);
  }

  alive(token: string, waiter: Waiter): boolean {
    return waiter.staleAt > this.clock.now() && this.clients.has(clientOf(token));
  }

  /**
   * Let those at the head of the queue in. `me`, if given, is asking now: it needs no push and gets its whole ttl.
   * `moved` says that the line has moved already. Whoever becomes the first in line is told when to look for itself:
   * the new holder may be frozen, or die.
   */
  promote(lock: LockRecord, me?: string, moved = false): void {
    for (const [token, waiter] of lock.waiters) {
      if (token !== me && !this.alive(token, waiter)) {
        lock.waiters.delete(token);
      } else if (!compatible(lock, waiter)) {
        break;
      } else {
        lock.waiters.delete(token);
        const ttl = token === me ? waiter.ttl : Math.min(waiter.ttl, CLAIM_WINDOW);
        const fence = this.grant(lock, token, { ...waiter, ttl });
        const until = this.clock.now() + ttl;
        if (token !== me) this.tell(token, (listener) => listener.granted(lock.name, token, fence, until));
      }
      moved = true;
    }
    const first = moved ? firstInLine(lock) : undefined;
    if (first === undefined || first === me) return;
    const remaining = Math.max(0, this.timeLeft(lock));
    this.tell(first, (listener) => listener.next(lock.name, first, remaining));
  }

  /**
   * While anybody holds it or waits, a name is that of a lock, or of a semaphore with one limit. Answers with what it
   * is in use as (undefined: a lock) where that is not what is wanted.
   */
  mismatch(lock: LockRecord, limit: number | undefined): { readonly limit: number | undefined } | undefined {
    const [head] = lock.waiters.values();
    // The head may be dead.
    if (lock.holders.size === 0 && head && head.limit !== limit) this.promote(lock);
    return lock.holders.size > 0 && lock.limit !== limit ? { limit: lock.limit } : undefined;
  }

  /** True if more than so many wait. The dead are cleared away on the way. */
  moreWait(lock: LockRecord, most: number): boolean {
    let count = 0;
    for (const [token, waiter] of lock.waiters) {
      if (!this.alive(token, waiter)) lock.waiters.delete(token);
      else if (++count > most) return true;
    }
    return false;
  }

  /** Milliseconds until the last holder's time ends, of a semaphore the first one's. */
  timeLeft(lock: LockRecord): number {
    const expiries = Array.from(lock.holders.values(), (holder) => holder.expiry);
    return (lock.limit === undefined ? Math.max(...expiries) : Math.min(...expiries)) - this.clock.now();
  }

  tell(token: string, message: (listener: PushListener) => void): void {
    const client = this.clients.get(clientOf(token));
    if (client) queueMicrotask(() => message(client.listener));
  }
}

function firstInLine(lock: LockRecord): string | undefined {
  const [first] = lock.waiters.keys();
  return first;
}

function compatible(lock: LockRecord, { mode, permits = 1, limit }: Wish): boolean {
  if (lock.holders.size === 0) return true;
  if (lock.limit !== limit) return false;
  return limit === undefined ? lock.mode === "shared" && mode === "shared" : used(lock) + permits <= limit;
}

/** The permits that are held. The scripts keep the sum. */
function used(lock: LockRecord): number {
  let sum = 0;
  for (const { permits = 0 } of lock.holders.values()) sum += permits;
  return sum;
}

function clientOf(token: string): string {
  return token.slice(0, token.indexOf(":"));
}

export class MemoryScheme implements Scheme {
  readonly name = "memory";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly #store: MemoryStore;
  readonly #prefix: string;
  readonly #clientId: string;
  readonly #label: string;

  constructor(store: MemoryStore, settings: { prefix: string; clientId: string; label: string }) {
    this.#store = store;
    this.#prefix = settings.prefix;
    this.#clientId = settings.clientId;
    this.#label = settings.label;
  }

  listen(listener: PushListener): void {
    this.#store.clients.set(this.#clientId, { label: this.#label, listener });
  }

  acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    return this.#step(request.lock, (lock) => {
      const { token, ttl, fences = 1, limit, ticket: place, maxQueue } = request;
      const now = this.#store.clock.now();
      const holder = lock.holders.get(token);
      if (holder) {
        holder.expiry = Math.max(holder.expiry, now + ttl);
        if (lock.mode === "shared") this.#store.promote(lock);
        return { kind: "granted", fence: holder.fence, fences };
      }
      const inLine = lock.waiters.has(token);
      const other = inLine ? undefined : this.#store.mismatch(lock, limit);
      if (other) return { kind: "refused", error: mismatch(lock.name, limit, other.limit) };
      const bounded = maxQueue !== undefined && place === undefined && !inLine;
      if (!wait || bounded) this.#store.promote(lock);
      if (lock.waiters.size === 0 && compatible(lock, request)) {
        return { kind: "granted", fence: this.#store.grant(lock, token, request), fences };
      }
      if (!wait) return { kind: "busy" };
      if (bounded && this.#store.moreWait(lock, maxQueue)) {
        return { kind: "refused", error: new QueueFullError(lock.name, maxQueue) };
      }

      const ticket = this.#store.enqueue(lock, request, now + STALE_AFTER);
      this.#store.promote(lock, token);
      const granted = lock.holders.get(token);
      if (granted) return { kind: "granted", fence: granted.fence, fences };
      request.ticket = ticket;
      return {
        kind: "pending",
        pokeAfter: this.#pokeAfter(lock, token),
        ahead: [...lock.waiters.keys()].indexOf(token),
        ...holderOf(lock),
      };
    });
  }

  steal({ lock: name, token, ttl, label }: LockRequest): Promise<Answer> {
    return this.#step(name, (lock) => {
      const holder = lock.holders.get(token);
      if (holder) {
        holder.expiry = Math.max(holder.expiry, this.#store.clock.now() + ttl);
        return { kind: "granted", fence: holder.fence };
      }
      const other = this.#store.mismatch(lock, undefined);
      if (other) return { kind: "refused", error: mismatch(name, undefined, other.limit) };
      for (const victim of lock.holders.keys()) this.#takeAway(lock, victim);
      return { kind: "granted", fence: this.#store.grant(lock, token, { mode: "exclusive", ttl, label }) };
    });
  }

  extend({ lock: name, token, fence }: Grant, ttl: number): Promise<Extension> {
    return this.#step(name, (lock) => {
      const holder = lock.holders.get(token);
      if (holder?.fence !== fence) return lock.holders.size > 0 && lock.mode === "exclusive" ? "stolen" : "gone";
      holder.expiry = Math.max(holder.expiry, this.#store.clock.now() + ttl);
      return "extended";
    });
  }

  downgrade({ lock: name, token, fence }: Grant): Promise<Extension> {
    return this.#step(name, (lock) => {
      if (lock.holders.get(token)?.fence !== fence) {
        return lock.holders.size > 0 && lock.mode === "exclusive" ? "stolen" : "gone";
      }
      if (lock.mode === "exclusive") {
        lock.mode = "shared";
        this.#store.promote(lock);
      }
      return "extended";
    });
  }

  release({ lock: name, token }: GivenUp): Promise<"released" | "gone"> {
    return this.#step(name, (lock) => {
      const held = lock.holders.delete(token);
      const moved = firstInLine(lock) === token;
      lock.waiters.delete(token);
      this.#store.promote(lock, undefined, moved);
      return held ? "released" : "gone";
    });
  }

  keep({ lock: name, token, fence }: Grant, ttl: number, label: string): Promise<"released" | "gone"> {
    return this.#step(name, (lock) => {
      if (lock.mode !== "exclusive" || lock.holders.get(token)?.fence !== fence) return "gone";
      lock.holders.set(token, { fence, label, permits: undefined, expiry: this.#store.clock.now() + ttl });
      // The first in line counted on another time.
      this.#store.promote(lock, undefined, true);
      return "released";
    });
  }

  detach(grant: Grant): Grant {
    return grant;
  }

  handOver({ lock: name, token, fence }: Grant, heir: LockRequest): Promise<Answer> {
    return this.#step(name, (lock) => {
      // One address space: no call is repeated, so the heir cannot be there already.
      if (lock.holders.get(token)?.fence !== fence || lock.limit !== undefined || lock.mode !== heir.mode)
        return { kind: "busy" };
      lock.holders.delete(token);
      const granted = this.#store.grant(lock, heir.token, heir);
      this.#store.promote(lock, undefined, true);
      return { kind: "granted", fence: granted };
    });
  }

  evict(name: string, holder: HolderState): Promise<boolean> {
    return this.#step(name, (lock) => {
      if (!holder.token || !lock.holders.has(holder.token)) return false;
      this.#takeAway(lock, holder.token);
      this.#store.promote(lock);
      return true;
    });
  }

  query(selection: Selection): Promise<LockState[]> {
    const names = typeof selection === "object" && "name" in selection ? [selection.name] : this.#names(selection);
    return Promise.all(names.map((name) => this.#step(name, (lock) => this.#look(lock))));
  }

  close(): Promise<void> {
    this.#store.clients.delete(this.#clientId);
    return Promise.resolve();
  }

  #step<T>(name: string, run: (lock: LockRecord) => T): Promise<T> {
    const key = this.#prefix + name;
    const result = run(this.#store.load(key, name));
    this.#store.tidy(key);
    return Promise.resolve(result);
  }

  #names(selection: { readonly match: string } | "all"): string[] {
    const wanted = selection === "all" ? undefined : new Glob(selection.match);
    return this.#store.keys
      .filter((key) => key.startsWith(this.#prefix))
      .map((key) => key.slice(this.#prefix.length))
      .filter((name) => !wanted || wanted.matches(name));
  }

  #takeAway(lock: LockRecord, token: string): void {
    const fence = lock.holders.get(token)?.fence ?? 0;
    lock.holders.delete(token);
    this.#store.tell(token, (listener) => listener.lost(lock.name, token, fence));
  }

  /** The first in line asks again when the last holder's time ends, all others only to show that they live. */
  #pokeAfter(lock: LockRecord, token: string): number {
    if (firstInLine(lock) !== token) return POKE_INTERVAL;
    return Math.min(POKE_INTERVAL, this.#store.timeLeft(lock) + EXPIRY_MARGIN);
  }

  #look(lock: LockRecord): LockState {
    const now = this.#store.clock.now();
    const limit = lock.holders.size > 0 ? lock.limit : lock.waiters.values().next().value?.limit;
    const labelOf = (token: string, label: string): string =>
      label || (this.#store.clients.get(clientOf(token))?.label ?? "");
    return {
      lock: lock.name,
      mode: lock.holders.size > 0 ? lock.mode : undefined,
      ...(limit !== undefined && { limit }),
      holders: Array.from(lock.holders, ([token, { fence, expiry, label, permits }]) => ({
        token,
        fence,
        remaining: expiry - now,
        label: labelOf(token, label),
        ...(permits !== undefined && { permits }),
      })),
      waiters: Array.from(lock.waiters)
        .filter(([, { staleAt }]) => staleAt > now)
        .map(([token, { mode, label, permits }]) => ({
          token,
          mode,
          label: labelOf(token, label),
          waiting: 1,
          ...(permits !== undefined && { permits }),
        })),
    };
  }
}

/** Whom a waiter waits for, where that is one. */
function holderOf(lock: LockRecord): { holder?: WaitedFor } {
  const [holder] = lock.mode === "exclusive" ? lock.holders : [];
  return holder ? { holder: { token: holder[0], label: holder[1].label } } : {};
}
