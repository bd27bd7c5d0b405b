/**
 * Requests inside requests. A request with `reentrant` opens a context that follows its callback through everything
 * asynchronous (AsyncLocalStorage); a request with `reentrant` for the same name in there takes part in the same lease
 * and cannot wait for itself. The lock is released when the last part has ended.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { meets } from "../durability.ts";
import { LockError, quote, released } from "../errors.ts";
import type { LockLostError } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";
import type { Lease } from "../leases/lease.ts";
import type { CheckedRequest } from "../options/request.ts";
import type { Grant } from "../schemes/scheme.ts";

/** A lease that a request and those nested in it have together. */
interface Whole {
  readonly lease: Lease;
  parts: number;
  readonly onLost: Set<(error: LockLostError) => void>;
}

type Context = ReadonlyMap<string, Whole>;

/** The contexts of one manager; others' locks are others. */
export class Reentrancy {
  readonly #contexts = new AsyncLocalStorage<Context>();

  /**
   * Take part in the lease that this context has already; undefined where it has none.
   *
   * @throws LockLostError when that lease is over, LockError `unsupported` for an upgrade, also of durability
   */
  join({ lock, mode, durability }: CheckedRequest): Part | undefined {
    const whole = this.#contexts.getStore()?.get(lock);
    if (!whole || whole.parts === 0) return undefined;
    const { error, grant } = whole.lease;
    if (error) throw error;
    if (mode === "exclusive" && grant.mode === "shared") throw upgrade(lock);
    if (durability && !meets(grant.durability, durability)) throw lessDurable(lock);
    return new Part(this.#contexts, whole);
  }

  /** The first part of a lease. */
  open(lease: Lease): Part {
    const whole: Whole = { lease, parts: 0, onLost: new Set() };
    lease.onLost((error) => {
      for (const listener of whole.onLost) listener(error);
    });
    return new Part(this.#contexts, whole);
  }
}

/** One request's part in a lease. */
export class Part implements Holding {
  readonly #contexts: AsyncLocalStorage<Context>;
  readonly #whole: Whole;
  #ended = false;
  #onLost: ((error: LockLostError) => void) | undefined;

  constructor(contexts: AsyncLocalStorage<Context>, whole: Whole) {
    this.#contexts = contexts;
    this.#whole = whole;
    whole.parts++;
  }

  get grant(): Grant {
    return this.#whole.lease.grant;
  }

  get held(): boolean {
    return !this.#ended && this.#whole.lease.held;
  }

  get remaining(): number {
    return this.#ended ? 0 : this.#whole.lease.remaining;
  }

  get error(): LockLostError | undefined {
    return this.#whole.lease.error;
  }

  get signal(): AbortSignal {
    return this.#whole.lease.signal;
  }

  onLost(listener: (error: LockLostError) => void): void {
    if (this.#onLost) this.#whole.onLost.delete(this.#onLost);
    this.#onLost = listener;
    this.#whole.onLost.add(listener);
    if (this.error) listener(this.error);
  }

  guard(): void {
    this.#whole.lease.guard();
  }

  async extend(ttl?: number): Promise<void> {
    if (this.#ended) throw released(this.grant.lock);
    await this.#whole.lease.extend(ttl);
  }

  /** @throws LockError unless it is shared, for the other parts count on being alone */
  downgrade(): Promise<void> {
    return this.grant.mode === "shared" ? Promise.resolve() : this.#refuse("downgrade", "be alone no longer");
  }

  detach(): Promise<never> {
    return this.#refuse("detach", "lose it");
  }

  #refuse(verb: string, harm: string): Promise<never> {
    const message = `Lock ${quote(this.grant.lock)} is reentrant here, and its other parts would ${harm}.`;
    const remedy = `Use ${verb}() on a lock that was requested without reentrant.`;
    return Promise.reject(new LockError("unsupported", `${message} ${remedy}`));
  }

  /** Ends this part; the last one to end releases. */
  async release(): Promise<boolean> {
    if (this.#ended) return false;
    this.#ended = true;
    if (this.#onLost) this.#whole.onLost.delete(this.#onLost);
    this.#whole.parts--;
    return this.#whole.parts === 0 ? this.#whole.lease.release() : this.#whole.lease.held;
  }

  /** Run with this lock in the context. */
  run<T>(callback: () => T): T {
    const context = new Map(this.#contexts.getStore()).set(this.grant.lock, this.#whole);
    return this.#contexts.run(context, callback);
  }
}

/** Run inside the contexts of all parts among the holdings. */
export function within<T>(holdings: readonly Holding[], callback: () => T): T {
  const wrap = (inner: () => T, holding: Holding): (() => T) =>
    holding instanceof Part ? () => holding.run(inner) : inner;
  return holdings.reduceRight(wrap, callback)();
}

function lessDurable(lock: string): LockError {
  return new LockError(
    "unsupported",
    `Lock ${quote(lock)} is held here by a request that wished for less durability than this one. ` +
      "Give the outer request, or the manager, the same durability.",
  );
}

function upgrade(lock: string): LockError {
  return new LockError(
    "unsupported",
    `Lock ${quote(lock)} is held in shared mode here and cannot become exclusive: two holders that both tried would ` +
      "wait for each other for ever. Request it in exclusive mode from the start, or after the shared request has ended.",
  );
}
