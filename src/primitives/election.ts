/**
 * Leader election: whoever holds the lock of that name leads. A candidate is a waiter in the lock's queue, so all
 * that is promised of locks holds here: a leader that resigns hands over by a push, one that crashes within its lease,
 * and one that loses its lease is told, by its own clock, before anybody else can lead.
 */
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { DurabilityError, SchemeError } from "../errors.ts";
import type { Lock } from "../lock.ts";
import type { CheckedElection, CheckedObservation } from "../options/election.ts";

/** What an election needs to know of its manager. */
export interface ElectionRoom {
  readonly clock: Clock;
  /** Aborted when the manager is closed. */
  readonly closing: AbortSignal;
  acquire(name: string, options: Omit<CheckedElection, "name">): Promise<Lock>;
  query(selection: { name: string }): Promise<{ held: Leader[] }>;
}

/** Who leads. */
export interface Leader {
  /** Who, for people: the label of the request, or of its manager. */
  readonly label: string;
  /** The leader's manager; "" where another library holds the key. */
  readonly clientId: string;
  readonly token: string | undefined;
  /** Undefined where the scheme does not tell (`set`). */
  readonly fence: number | undefined;
}

/** The time of one leader. */
export class Term {
  readonly #lock: Lock;
  readonly #over = new AbortController();
  readonly #ends: readonly AbortSignal[];
  readonly #onEnd = (): void => {
    const end = this.#ends.find(({ aborted }) => aborted);
    if (end) this.#over.abort(end.reason);
  };

  /** @internal */
  constructor(lock: Lock, stops: readonly AbortSignal[]) {
    this.#lock = lock;
    this.#ends = [lock.signal, ...stops];
    for (const end of this.#ends) end.addEventListener("abort", this.#onEnd);
    this.#onEnd();
  }

  get name(): string {
    return this.#lock.name;
  }

  /** Larger than that of every earlier term. Send it along to what the leader changes. */
  get fence(): number {
    return this.#lock.fence;
  }

  /** Names this term for ever. */
  get token(): string {
    return this.#lock.token;
  }

  /** True only while the lease lasts by this process's own clock, looked at each time. */
  get held(): boolean {
    return this.#lock.held;
  }

  /**
   * Aborted as soon as the leader should stop: when its lease is lost (the reason is a `LockLostError`), when the
   * signal given to `elect` is aborted, when the manager is closed, and when the term has been resigned.
   */
  get signal(): AbortSignal {
    // Looks at the clock: a process that was frozen shall not read a signal that is late.
    void this.#lock.held;
    return this.#over.signal;
  }

  /** End the term: the next candidate leads at once. Leaving the loop's body does the same. Never rejects. */
  async resign(): Promise<void> {
    for (const end of this.#ends) end.removeEventListener("abort", this.#onEnd);
    this.#over.abort(new DOMException("The term was resigned.", "AbortError"));
    await this.#lock.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.resign();
  }
}

/** Between attempts while the server cannot be reached; an attempt itself is patient for some seconds. */
const RETRY_AFTER = 1_000;

/** A term each time this candidate is elected, until the signal is aborted. */
export async function* campaign(
  room: ElectionRoom,
  { name, ...options }: CheckedElection,
): AsyncGenerator<Term, void, void> {
  const { signal } = options;
  for (;;) {
    if (signal?.aborted) return;
    const lock = await elected(room, name, options);
    if (!lock) continue;
    if (signal?.aborted) {
      await lock.release();
      return;
    }
    const term = new Term(lock, signal ? [signal, room.closing] : [room.closing]);
    try {
      yield term;
    } finally {
      await term.resign();
    }
  }
}

/** Undefined when the wait was ended, or when the server could not be reached: a candidate outlives that. */
async function elected(
  room: ElectionRoom,
  name: string,
  options: Omit<CheckedElection, "name">,
): Promise<Lock | undefined> {
  try {
    return await room.acquire(name, options);
  } catch (error) {
    if (options.signal?.aborted) return undefined;
    if (!isPassing(error)) throw error;
    await pause(room.clock, RETRY_AFTER, options.signal, room.closing);
    return undefined;
  }
}

/** Who leads now, and then each change that is seen, until the signal is aborted. */
export async function* leaders(
  room: ElectionRoom,
  { name, signal, interval }: CheckedObservation,
): AsyncGenerator<Leader | null, void, void> {
  let last: string | null | undefined;
  for (;;) {
    const leader = signal?.aborted ? undefined : await leaderOf(room, name);
    if (signal?.aborted) return;
    const seen = leader && `${leader.token} ${leader.fence}`;
    if (seen !== undefined && seen !== last) {
      last = seen;
      yield leader as Leader | null;
    }
    await pause(room.clock, interval, signal, room.closing);
  }
}

/** Null when nobody leads; undefined when the server could not be asked. */
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

/** A candidate outlives replicas that are away, as it outlives a server that is. */
function isPassing(error: unknown): boolean {
  return error instanceof DurabilityError || (error instanceof SchemeError && error.transient);
}
