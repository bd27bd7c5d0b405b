/**
 * Leader election: the holder of the lock of that name leads. A candidate is a waiter in the lock's queue, so
 * everything that is promised for locks holds here: a leader that resigns is replaced by a push, one that crashes when
 * its lease ends, and one that loses its lease is notified, by its own clock, before anyone else can lead.
 */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { DurabilityError, SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import type { Origin } from "../events.ts";
import type { Lease } from "../leases/lease.ts";
import { Lock } from "../lock.ts";
import type { CheckedElection, CheckedObservation } from "../options/election.ts";
import { onAbort } from "../signals.ts";

/** What an election needs to know of its manager. */
export interface ElectionRoom {
  readonly clock: Clock;
  readonly origin: Origin;
  /** Aborted when the manager is closed. */
  readonly closing: AbortSignal;
  candidacy(name: string, options: object): Promise<Lease | null>;
  query(selection: { name: string }): Promise<{ held: Leader[] }>;
}

/** Who leads. */
export interface Leader {
  /** The human-readable name: the label of the request, or of its manager. */
  readonly label: string;
  /** The leader's manager; "" if another library holds the key. */
  readonly clientId: string;
  readonly token: string | undefined;
  /** Undefined if the scheme does not report it (`set`). */
  readonly fence: number | undefined;
}

/** The time of one leader. */
export class Term {
  readonly #lock: Lock;
  readonly #origin: Origin;
  readonly #over = new AbortController();
  readonly #stops: readonly (() => void)[];

  /** @internal */
  constructor(lock: Lock, origin: Origin, signal: AbortSignal | undefined) {
    this.#lock = lock;
    this.#origin = origin;
    const all = [lock.signal, signal];
    this.#stops = all.map((end) => onAbort(end, () => this.#over.abort(end?.reason)));
    const ended = all.find((end) => end?.aborted);
    if (ended) this.#over.abort(ended.reason);
  }

  get name(): string {
    return this.#lock.name;
  }

  /** Larger than that of every earlier term. Send it along to what the leader changes. */
  get fence(): number {
    return this.#lock.fence;
  }

  /** A unique ID of this term, never used again. */
  get token(): string {
    return this.#lock.token;
  }

  /** True only while the lease lasts by this process's own clock, which is read each time. */
  get held(): boolean {
    return this.#lock.held;
  }

  /**
   * Aborted as soon as the leader should stop: when its lease is lost (the reason is a `LockLostError`), when the
   * signal given to `elect` is aborted, when the manager is closed, and when the term has been resigned.
   */
  get signal(): AbortSignal {
    // Reads the clock, so that a process that was frozen does not see a signal that is late.
    void this.#lock.held;
    return this.#over.signal;
  }

  /** End the term: the next candidate leads at once. Leaving the loop's body does the same. Never rejects. */
  async resign(): Promise<void> {
    for (const stop of this.#stops) stop();
    this.#over.abort(new DOMException("The term was resigned.", "AbortError"));
    if (await this.#lock.release()) events.resigned(this, this.#origin);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.resign();
  }
}

/** A candidacy: a term each time this candidate is elected. */
export interface Election extends AsyncGenerator<Term, void, void> {
  /** Whether this candidate leads now, by this process's own clock, which is read each time. */
  readonly leading: boolean;
}

/** Pause between attempts while the server cannot be reached; an attempt itself takes some seconds. */
const RETRY_AFTER = 1_000;

/** A term each time this candidate is elected, until the signal is aborted. */
export function campaign(room: ElectionRoom, { name, ...options }: CheckedElection): Election {
  const { signal } = options;
  let term: Term | undefined;
  const terms = stoppable(signal, async function* (stop) {
    for (;;) {
      const lock = await elected(room, name, { ...options, signal: stop });
      if (stop.aborted) {
        await lock?.release();
        return;
      }
      if (!lock) continue;
      const origin = options.label ? { ...room.origin, label: options.label } : room.origin;
      term = new Term(lock, origin, signal);
      events.elected(term, origin);
      try {
        yield term;
      } finally {
        await term.resign();
      }
    }
  });
  return Object.defineProperty(terms as Election, "leading", { get: () => term?.held ?? false });
}

/**
 * A generator that ends at once when it is left or the signal aborts, even while it waits.
 *
 * @param run ends when `stop` is aborted
 */
function stoppable<T>(
  signal: AbortSignal | undefined,
  run: (stop: AbortSignal) => AsyncGenerator<T, void, void>,
): AsyncGenerator<T, void, void> {
  const stop = new AbortController();
  const running = (async function* () {
    const ignore = onAbort(signal, () => stop.abort(signal?.reason));
    try {
      if (!signal?.aborted) yield* run(stop.signal);
    } finally {
      ignore();
    }
  })();
  const leave = running.return.bind(running);
  running.return = (value) => {
    stop.abort();
    return leave(value);
  };
  return running;
}

/** Undefined if the wait was ended, the server could not be reached or the lease is over already: it tries again. */
async function elected(
  room: ElectionRoom,
  name: string,
  options: Omit<CheckedElection, "name">,
): Promise<Lock | undefined> {
  try {
    const lease = (await room.candidacy(name, options)) as Lease;
    if (!lease.held) {
      await lease.release();
      return undefined;
    }
    lease.guard();
    return new Lock(lease);
  } catch (error) {
    if (options.signal?.aborted) return undefined;
    if (!isPassing(error)) throw error;
    await pause(room.clock, RETRY_AFTER, options.signal, room.closing);
    return undefined;
  }
}

/** Who leads now, and then each change that is seen, until the signal is aborted. */
export function leaders(
  room: ElectionRoom,
  { name, signal, interval }: CheckedObservation,
): AsyncGenerator<Leader | null, void, void> {
  return stoppable(signal, async function* (stop) {
    let last: string | null | undefined;
    for (;;) {
      const leader = await leaderOf(room, name);
      if (stop.aborted) return;
      const seen = leader && `${leader.token} ${leader.fence}`;
      if (seen !== undefined && seen !== last) {
        last = seen;
        yield leader as Leader | null;
      }
      await pause(room.clock, interval, stop, room.closing);
      if (stop.aborted) return;
    }
  });
}

/** Null if nobody leads; undefined if the server could not be asked. */
async function leaderOf(room: ElectionRoom, name: string): Promise<Leader | null | undefined> {
  try {
    const [holder] = (await room.query({ name })).held;
    if (!holder) return null;
    const { label, clientId, token, fence } = holder;
    return { label, clientId, token, fence };
  } catch (error) {
    if (!isPassing(error)) throw error;
    return undefined;
  }
}

/** A candidate keeps trying while replicas are unreachable, as it does while the server is. */
function isPassing(error: unknown): boolean {
  return error instanceof DurabilityError || (error instanceof SchemeError && error.transient);
}
