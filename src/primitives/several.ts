/**
 * Several locks as one: all or none. They are taken one after the other in the order of their keys, which is the same
 * for everybody, so that callers cannot wait for each other in a circle, however they name them. A caller that holds
 * another lock already, taken separately, is outside this order.
 */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { LockTimeoutError } from "../errors.ts";
import type { LockLostError } from "../errors.ts";
import { Lease } from "../leases/lease.ts";
import type { Holding } from "../leases/holding.ts";
import type { CheckedRequest } from "../options/request.ts";
import type { LockMode } from "../schemes/scheme.ts";
import { onAbort, throwIfAborted } from "../signals.ts";

/** What taking several locks needs to know of its manager. */
export interface SeveralRoom {
  readonly clock: Clock;
  obtain(request: CheckedRequest): Promise<Holding | null>;
}

/** Several locks, as their holder gets them. */
export class SeveralLocks {
  readonly #holdings: readonly Holding[];
  readonly #lost = new AbortController();
  #onLost: ((error: LockLostError) => void) | undefined;

  /** @internal */
  constructor(holdings: readonly Holding[]) {
    this.#holdings = holdings;
    for (const holding of holdings) {
      // Also aborted while a lease still runs, if the manager is closing.
      const { signal } = holding;
      onAbort(signal, () => this.#lost.abort(signal.reason));
      holding.onLost((error) => this.#onLost?.(error));
    }
  }

  /** Each name once, in the order in which the locks were taken. */
  get names(): string[] {
    return this.#holdings.map(({ grant }) => grant.lock);
  }

  get mode(): LockMode {
    return this.#holdings.every(({ grant }) => grant.mode === "shared") ? "shared" : "exclusive";
  }

  /** The fencing token of each lock, by name. Send along the one whose lock protects what you change. */
  get fences(): ReadonlyMap<string, number> {
    return new Map(this.#holdings.map(({ grant }) => [grant.lock, grant.fence]));
  }

  /** The fencing token if there is one name; undefined if there are more, because each has its own in `fences`. */
  get fence(): number | undefined {
    return this.#holdings.length === 1 ? this.#holdings[0]?.grant.fence : undefined;
  }

  /** A unique ID of each grant, never used again, by the lock's name. */
  get tokens(): ReadonlyMap<string, string> {
    return new Map(this.#holdings.map(({ grant }) => [grant.lock, grant.token]));
  }

  /** True only while all leases last by this process's own clock, which is read each time. */
  get held(): boolean {
    return this.#holdings.every(({ held }) => held);
  }

  /** Milliseconds until the first lease ends by this process's own clock; 0 when one is over. */
  get remaining(): number {
    return Math.min(...this.#holdings.map(({ remaining }) => remaining));
  }

  /** Aborted with a `LockLostError` when one of the leases ends against the holder's will; not by `release()`. */
  get signal(): AbortSignal {
    // Reads the clock, so that a lease that is over has aborted the signal.
    void this.error;
    return this.#lost.signal;
  }

  /** @internal Set once one has been lost. */
  get error(): LockLostError | undefined {
    for (const { error } of this.#holdings) if (error) return error;
    return undefined;
  }

  /** @internal Called at once when one is lost; at most one listener. */
  onLost(listener: (error: LockLostError) => void): void {
    this.#onLost = listener;
    if (this.error) listener(this.error);
  }

  /** @internal User code runs under it until it is released. */
  guard(): void {
    for (const holding of this.#holdings) holding.guard();
  }

  /**
   * Makes each lease last at least `ttl` milliseconds from now. This is not atomic: if it rejects, some may be longer.
   *
   * @throws LockLostError if one lock is no longer held, SchemeError if the server did not answer.
   */
  async extend(ttl?: number): Promise<void> {
    await Promise.all(this.#holdings.map((holding) => holding.extend(ttl)));
  }

  /** Releases all of them. Resolves to true if all were held until now. Never rejects. */
  release(): Promise<boolean> {
    return releaseAll(this.#holdings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/**
 * Null if the request is a try and one lock is busy until its time is up. If it rejects or is null, nothing waits or is
 * held.
 */
export async function obtainAll(room: SeveralRoom, requests: readonly CheckedRequest[]): Promise<Holding[] | null> {
  const [{ waitTimeout, isTry, signal, ttl, renew, maxHold }] = requests as [CheckedRequest];
  const held: Holding[] = [];
  /** Ends the wait as a whole: with the user's signal, at the end of its time, or if one is lost while others wait. */
  const end = new AbortController();
  const stop = onAbort(signal, () => end.abort(signal?.reason));
  const granted = new AbortController();
  let waitsFor = "";
  let isTimeUp = false;
  if (waitTimeout) {
    void pause(room.clock, waitTimeout, granted.signal, end.signal).then(() => {
      if (granted.signal.aborted || end.signal.aborted) return;
      isTimeUp = true;
      end.abort(new LockTimeoutError(waitsFor, waitTimeout, "another client holds it, or the server has not answered"));
    });
  }
  // Until all are granted, each is renewed, and its time does not count.
  const terms = { renew: true, maxHold: undefined, signal: end.signal };
  const timeout = { waitTimeout: waitTimeout === 0 ? 0 : undefined };
  try {
    for (const request of inOrder(requests)) {
      waitsFor = request.lock;
      const holding = await room.obtain({ ...request, ...terms, ...timeout });
      if (!holding) {
        await releaseAll(held);
        return null;
      }
      held.push(holding);
      holding.onLost((error) => end.abort(error));
    }
    throwIfAborted(end.signal);
    if (!renew) await Promise.all(held.map((holding) => holding.extend(ttl)));
    for (const holding of held) if (holding instanceof Lease) holding.limit({ renew, maxHold });
    return held;
  } catch (error) {
    // A server that does not answer must not delay the notice.
    void releaseAll(held);
    if (isTry && isTimeUp) return null;
    throw error;
  } finally {
    stop();
    granted.abort();
  }
}

/**
 * All keys of a manager have the same prefix, so their order is that of the names. By UTF-16 code units, independent of
 * the locale.
 */
function inOrder(requests: readonly CheckedRequest[]): CheckedRequest[] {
  const byName = new Map(requests.map((request) => [request.lock, request]));
  return [...byName.values()].sort(({ lock: a }, { lock: b }) => (a < b ? -1 : 1));
}

async function releaseAll(holdings: readonly Holding[]): Promise<boolean> {
  const released = await Promise.all(holdings.map((holding) => holding.release()));
  return released.every(Boolean);
}
