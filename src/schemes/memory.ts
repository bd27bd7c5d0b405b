/**
 * The `memory` scheme: locks within one process.
 *
 * It is the readable specification of what the scripts of the `lua` scheme do, step by step on plain objects. One
 * address space cannot lose messages or memory, so it keeps all promises as long as the process lives. It does not
 * reach beyond the process, nor into its worker threads. Several copies of the library in one process share their locks
 * (memory/process-store.ts).
 */
import { report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import { mismatch, QueueFullError } from "../errors.ts";
import { Glob } from "./glob.ts";
import { clientOf, compatible, drop, holderOf, lengthen, MemoryStore } from "./memory/store.ts";
import type { LockRecord } from "./memory/store.ts";
import { EXPIRY_MARGIN, FRONT, FRONT_STEP, POKE_INTERVAL, STALE_AFTER } from "./scheme.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  HolderState,
  Leaving,
  LeftValue,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Question,
  Recalled,
  Release,
  Scheme,
  Selection,
} from "./scheme.ts";

export { MemoryStore };

export class MemoryScheme implements Scheme {
  readonly name = "memory";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly hasSemaphores = true;
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

  /** Nothing can be missed. */
  hearing(): number {
    return 0;
  }

  written(): Promise<void> {
    return Promise.resolve();
  }

  acquire(question: Question): void {
    question.isSent = true;
    report(this.#acquire(question), question);
  }

  #acquire(request: Question): Promise<Answer> {
    return this.#step(request.lock, (lock) => {
      const { token, ttl, fences, limit, ticket: place, maxQueue, wait } = request;
      const now = this.#store.clock.now();
      const holder = lock.holders.get(token);
      if (holder) {
        lengthen(lock, token, holder, now + ttl);
        if (lock.mode === "shared") this.#store.promote(lock);
        return { kind: "granted", fence: holder.fence, fences: holder.fences };
      }
      const inLine = lock.waiters.has(token);
      const other = inLine ? undefined : this.#store.mismatch(lock, limit);
      if (other) return { kind: "refused", error: mismatch(lock.name, limit, other.limit) };
      const bounded = maxQueue !== undefined && place === undefined && !inLine;
      if (!wait || bounded) this.#store.promote(lock);
      if (lock.waiters.size === 0 && compatible(lock, request)) {
        return { kind: "granted", fence: this.#store.grant(lock, token, request, fences), fences };
      }
      if (!wait) return { kind: "busy" };
      if (bounded && this.#store.isFull(lock, maxQueue)) {
        return { kind: "refused", error: new QueueFullError(lock.name, maxQueue) };
      }

      const ticket = this.#store.enqueue(lock, request, now + STALE_AFTER);
      this.#store.promote(lock, token);
      const granted = lock.holders.get(token);
      if (granted) return { kind: "granted", fence: granted.fence, fences };
      request.ticket = ticket;
      const ahead = lock.waiters.rank(token);
      return { kind: "pending", pokeAfter: this.#pokeAfter(lock, ahead), ahead, ...holderOf(lock) };
    });
  }

  steal({ lock: name, token, ttl, label }: LockRequest): Promise<Answer> {
    return this.#step(name, (lock) => {
      const holder = lock.holders.get(token);
      if (holder) {
        lengthen(lock, token, holder, this.#store.clock.now() + ttl);
        return { kind: "granted", fence: holder.fence };
      }
      const other = this.#store.mismatch(lock, undefined);
      if (other) return { kind: "refused", error: mismatch(name, undefined, other.limit) };
      const victims = Array.from(lock.holders, ([victim, { fence, label: whose }]) => {
        return { token: victim, fence, label: whose };
      });
      for (const victim of victims) this.#takeAway(lock, victim.token);
      const fence = this.#store.grant(lock, token, { mode: "exclusive", ttl, label });
      return { kind: "granted", fence, victims };
    });
  }

  extend(grant: Grant, ttl: number, _durability: undefined, caller: Caller<Extension>): void {
    report(this.#extend(grant, ttl), caller);
  }

  #extend({ lock: name, token, fence }: Grant, ttl: number): Promise<Extension> {
    return this.#step(name, (lock) => {
      const holder = lock.holders.get(token);
      if (holder?.fence !== fence) return lock.holders.size > 0 && lock.mode === "exclusive" ? "stolen" : "gone";
      lengthen(lock, token, holder, this.#store.clock.now() + ttl);
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

  release(farewell: Farewell): void {
    report(this.#release(farewell), farewell);
  }

  #release({ lock: name, token }: Farewell): Promise<Release> {
    return this.#step(name, (lock) => {
      const held = drop(lock, token);
      const moved = lock.waiters.first === token;
      lock.waiters.delete(token);
      this.#store.promote(lock, undefined, moved);
      return held ? "released" : "gone";
    });
  }

  keep({ lock: name, token, fence }: Grant, ttl: number, label: string): Promise<"released" | "gone"> {
    return this.#step(name, (lock) => {
      const holder = lock.holders.get(token);
      if (lock.mode !== "exclusive" || holder?.fence !== fence) return "gone";
      lock.holders.set(token, { ...holder, fences: 1, label, expiry: this.#store.clock.now() + ttl });
      // The first in line expected another time.
      this.#store.promote(lock, undefined, true);
      return "released";
    });
  }

  handOver({ lock: name, token, fence }: Grant, heir: LockRequest): Promise<Answer> {
    return this.#step(name, (lock) => {
      // One address space: no call is repeated, so the heir cannot be there already.
      if (lock.holders.get(token)?.fence !== fence || lock.limit !== undefined || lock.mode !== heir.mode)
        return { kind: "busy" };
      drop(lock, token);
      const granted = this.#store.grant(lock, heir.token, heir);
      this.#store.promote(lock, undefined, true);
      return { kind: "granted", fence: granted };
    });
  }

  share({ lock: name, token, fence }: Grant, value: LeftValue, ttl: number): Promise<Leaving> {
    return this.#step(name, (lock) => {
      if (lock.mode !== "exclusive" || lock.holders.get(token)?.fence !== fence) return "gone";
      return this.#store.values.leave(this.#prefix + name, value, ttl) ? "left" : "late";
    });
  }

  recall(name: string): Promise<Recalled | undefined> {
    return Promise.resolve(this.#store.values.recall(this.#prefix + name));
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
    drop(lock, token);
    this.#store.tell(token, (listener) => listener.lost(lock.name, token, fence));
  }

  /** Waiters at the front ask again when the last holder's time ends, all others only to show that they live. */
  #pokeAfter(lock: LockRecord, ahead: number): number {
    if (ahead >= FRONT) return POKE_INTERVAL;
    return Math.min(POKE_INTERVAL, this.#store.timeLeft(lock) + EXPIRY_MARGIN + ahead * FRONT_STEP);
  }

  #look(lock: LockRecord): LockState {
    const now = this.#store.clock.now();
    const limit = lock.holders.size > 0 ? lock.limit : lock.waiters.get(lock.waiters.first)?.limit;
    const labels = (token: string, label: string): { label: string; clientLabel: string } => {
      const clientLabel = this.#store.clients.get(clientOf(token))?.label ?? "";
      return { label: label || clientLabel, clientLabel };
    };
    return {
      lock: lock.name,
      mode: lock.holders.size > 0 ? lock.mode : undefined,
      ...(limit !== undefined && { limit }),
      holders: Array.from(lock.holders, ([token, { fence, since, expiry, label, permits }]) => ({
        token,
        fence,
        remaining: expiry - now,
        held: now - since,
        ...labels(token, label),
        ...(permits !== undefined && { permits }),
      })),
      waiters: Array.from(lock.waiters)
        .filter(([, { staleAt }]) => staleAt > now)
        .map(([token, { mode, since, label, permits }]) => ({
          token,
          mode,
          waited: now - since,
          ...labels(token, label),
          waiting: 1,
          ...(permits !== undefined && { permits }),
        })),
    };
  }
}
