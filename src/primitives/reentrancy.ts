/**
 * Requests inside requests. A request with `reentrant` opens a context that follows its callback through everything
 * asynchronous (AsyncLocalStorage); in it, a request with `reentrant` for the same name takes part in the same lease
 * and cannot wait for itself. The lock is released when the last part has ended.
 */
import { meets } from "../durability.ts";
import { LockError, quote, released } from "../errors.ts";
import type { LockLostError } from "../errors.ts";
import type { Holding } from "../leases/holding.ts";
import type { Lease } from "../leases/lease.ts";
import type { CheckedRequest } from "../options/request.ts";
import type { Grant } from "../schemes/scheme.ts";

/** A lease that a request shares with the requests nested in it. */
interface Whole {
  readonly lease: Lease;
  parts: number;
  readonly onLost: Set<(error: LockLostError) => void>;
}

/**
 * Takes part in the lease that this context already has; undefined if it has none that can be shared.
 *
 * @param around the context's hold of the lock
 * @throws LockLostError when that lease is over, LockError `unsupported` for an upgrade, also of durability
 */
export function join(around: Holding | undefined, { lock, mode, durability }: CheckedRequest): Part | undefined {
  const whole = around instanceof Part ? around.whole : undefined;
  if (!whole || whole.parts === 0) return undefined;
  const { error, grant } = whole.lease;
  if (error) throw error;
  if (mode === "exclusive" && grant.mode === "shared") throw upgrade(lock);
  if (durability && !meets(grant.durability, durability)) throw lessDurable(lock);
  return new Part(whole);
}

/** The first part of a lease. */
export function open(lease: Lease): Part {
  const whole: Whole = { lease, parts: 0, onLost: new Set() };
  lease.onLost((error) => {
    for (const listener of whole.onLost) listener(error);
  });
  return new Part(whole);
}

/** One request's part in a lease. */
export class Part implements Holding {
  /** What it is a part of. */
  readonly whole: Whole;
  #ended = false;
  #onLost: ((error: LockLostError) => void) | undefined;

  constructor(whole: Whole) {
    this.whole = whole;
    whole.parts++;
  }

  get grant(): Grant {
    return this.whole.lease.grant;
  }

  get held(): boolean {
    return !this.#ended && this.whole.lease.held;
  }

  get remaining(): number {
    return this.#ended ? 0 : this.whole.lease.remaining;
  }

  get error(): LockLostError | undefined {
    return this.whole.lease.error;
  }

  get signal(): AbortSignal {
    return this.whole.lease.signal;
  }

  onLost(listener: (error: LockLostError) => void): void {
    if (this.#onLost) this.whole.onLost.delete(this.#onLost);
    this.#onLost = listener;
    this.whole.onLost.add(listener);
    if (this.error) listener(this.error);
  }

  guard(): void {
    this.whole.lease.guard();
  }

  async extend(ttl?: number): Promise<void> {
    if (this.#ended) throw released(this.grant.lock);
    await this.whole.lease.extend(ttl);
  }

  /** @throws LockError unless it is shared, because the other parts rely on being alone */
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
    if (this.#onLost) this.whole.onLost.delete(this.#onLost);
    this.whole.parts--;
    return this.whole.parts === 0 ? this.whole.lease.release() : this.whole.lease.held;
  }
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
