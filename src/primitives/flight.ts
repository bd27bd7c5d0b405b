/**
 * What callers of one process do together if they ask for the same value at about the same time: they share one place
 * in the lock's queue, and one of them computes if nobody else does. While another process computes, the flight waits
 * for a shared lock, so that all processes are let in together when the value is there.
 */
import { ContextOfNow } from "../async-context.ts";
import { pause } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { isLockLost, LockError, quote, SchemeError, sentenceOf } from "../errors.ts";
import type { Lease } from "../leases/lease.ts";
import { Lock } from "../lock.ts";
import { show } from "../options/checks.ts";
import type { CheckedRequest } from "../options/request.ts";
import type { CheckedShare } from "../options/share.ts";
import type { LeftValue, Recalled } from "../schemes/scheme.ts";
import { onAbort } from "../signals.ts";
import { holdDuring } from "./hold.ts";

/** What a flight needs to know of its manager. */
export interface FlightRoom {
  readonly clock: Clock;
  /** A human-readable name for the process that computes. */
  readonly label: string;
  /** Aborted when the manager is closed. */
  readonly closing: AbortSignal;
  lease(request: CheckedRequest): Promise<Lease | null>;
  recall(name: string): Promise<Recalled | undefined>;
  /** Run a callback under this lease. */
  within<T>(lease: Lease, run: () => T): T;
}

/** One call of `share`. */
export interface Asking extends CheckedShare {
  readonly compute: (lock: Lock) => unknown;
}

/** What callers get that did not compute: the stored value; or nothing, and they ask again. */
export type Landing = (Omit<LeftValue, "fence"> & { readonly cause?: unknown }) | "nothing";

/** Pause between attempts to store the value on a server that cannot be reached, in milliseconds. */
const RETRY_AFTER = 250;
/** How many characters of a failure's message are passed on. */
const LONGEST_FAILURE = 1_000;

/** A caller that waits for the landing, and the async context of its code. */
class Asker extends ContextOfNow {
  readonly asking: Asking;
  readonly land: (landing: Landing) => void;
  readonly fail: (error: unknown) => void;
  /** No signal ends its wait any more. */
  stay: () => void = () => {};

  constructor(asking: Asking, land: (landing: Landing) => void, fail: (error: unknown) => void) {
    super("holdfast");
    this.asking = asking;
    this.land = land;
    this.fail = fail;
  }
}

export class Flight {
  /** Nobody can join any more. */
  isOver = false;
  readonly #room: FlightRoom;
  readonly #name: string;
  readonly #over: (flight: Flight) => void;
  /** In the order in which they asked; the first one computes if this flight must. */
  readonly #askers = new Set<Asker>();
  /** Aborted when the last asker has left. */
  readonly #empty = new AbortController();

  constructor(room: FlightRoom, name: string, over: (flight: Flight) => void) {
    this.#room = room;
    this.#name = name;
    this.#over = over;
  }

  /** Rejects with the error of the wait, or of this caller's own computation. */
  join(asking: Asking): Promise<Landing> {
    return new Promise((resolve, reject) => {
      const asker = new Asker(asking, resolve, reject);
      const ends = [asking.signal, this.#room.closing];
      const stops = ends.map((signal) => onAbort(signal, () => this.#leave(asker, signal?.reason)));
      asker.stay = () => stops.forEach((stop) => stop());
      this.#askers.add(asker);
      if (this.#askers.size === 1) void this.#fly();
    });
  }

  #leave(asker: Asker, reason: unknown): void {
    asker.stay();
    this.#askers.delete(asker);
    asker.fail(reason);
    if (this.#askers.size > 0) return;
    this.#end();
    this.#empty.abort(reason);
  }

  #end(): void {
    this.isOver = true;
    this.#over(this);
  }

  /** All callers that are still here get the same outcome. */
  #settle(tell: (asker: Asker) => void): void {
    this.#end();
    for (const asker of this.#askers) {
      asker.stay();
      tell(asker);
    }
    this.#askers.clear();
  }

  async #fly(): Promise<void> {
    try {
      const found = await this.#seek();
      if ("isFresh" in found) this.#settle((asker) => asker.land(found));
      else await this.#compute(found);
    } catch (error) {
      this.#settle((asker) => asker.fail(error));
    }
  }

  /** The value that someone else has made, or the lock to compute under. */
  async #seek(): Promise<Recalled | Lease> {
    const room = this.#room;
    const known = await room.recall(this.#name);
    if (known?.isFresh) return known;
    // A value that was stored before we asked is not for us, unless it is fresh.
    const isForUs = (found: Recalled | undefined): found is Recalled =>
      found !== undefined && found.fence > (known?.fence ?? 0) && !(found.isFailure && this.#first?.asking.retry);
    const { request } = this.#first?.asking ?? {};
    if (!request) throw this.#empty.signal.reason;
    const waits = { ...request, signal: this.#empty.signal };
    let held = await room.lease({ ...request, manner: "try", isTry: true });
    if (!held) {
      const beside = (await room.lease({ ...waits, mode: "shared" })) as Lease;
      const made = await room.recall(this.#name).finally(() => void beside.release());
      if (isForUs(made)) return made;
      // The process that computed has died or failed. From here on, one after the other.
      held = (await room.lease(waits)) as Lease;
    }
    try {
      // It may have been made while we requested the lock.
      const made = await room.recall(this.#name);
      if (!isForUs(made)) return held;
      void held.release();
      return made;
    } catch (error) {
      void held.release();
      throw error;
    }
  }

  get #first(): Asker | undefined {
    const [first] = this.#askers;
    return first;
  }

  async #compute(lease: Lease): Promise<void> {
    const asker = this.#first;
    if (!asker) return void lease.release();
    asker.stay();
    const { ttl, retry } = asker.asking;
    /** The computation's own outcome. */
    let told: string | undefined;
    try {
      await holdDuring(lease, async () => {
        try {
          const text = await asker.runInAsyncScope(() =>
            this.#room.within(lease, () => this.#make(lease, asker.asking)),
          );
          await this.#share(lease, { isFailure: false, text }, ttl);
          if (!lease.error) this.#settle((each) => each.land({ isFailure: false, text }));
        } catch (error) {
          if (!(error instanceof NotMade)) throw error;
          const text = this.#describe(error.cause);
          // A caller that is not told computes: less than was promised, but harmless.
          if (!retry) await this.#share(lease, { isFailure: true, text }, 0).catch(() => {});
          told = text;
          throw error.cause;
        }
      });
    } catch (error) {
      this.#askers.delete(asker);
      asker.fail(error);
      if (told === undefined && !isLockLost(error)) throw error;
      const landing = told === undefined || retry ? "nothing" : { isFailure: true, text: told, cause: error };
      this.#settle((each) => each.land(landing));
    }
  }

  /** @throws NotMade */
  async #make(lease: Lease, { compute, codec, maxSize }: Asking): Promise<string> {
    try {
      const text: unknown = codec.encode(await compute(new Lock(lease)));
      if (typeof text !== "string" || !text.isWellFormed()) {
        throw new TypeError(`Expected codec.encode to return well-formed text; got ${show(text)}.`);
      }
      const size = Buffer.byteLength(text);
      if (size > maxSize) throw tooLarge(this.#name, size, maxSize);
      return text;
    } catch (error) {
      throw new NotMade(error);
    }
  }

  async #share(lease: Lease, left: Omit<LeftValue, "fence">, ttl: number): Promise<void> {
    for (;;) {
      try {
        return await lease.share(left, ttl);
      } catch (error) {
        if (!(error instanceof SchemeError && error.transient) || !lease.held) throw error;
        await pause(this.#room.clock, RETRY_AFTER, lease.signal);
      }
    }
  }

  #describe(error: unknown): string {
    const message = error instanceof Error ? sentenceOf(error) : show(error);
    return `${this.#room.label}: ${message}`.slice(0, LONGEST_FAILURE).toWellFormed();
  }
}

/** An error of the computation, as distinct from errors of the lock or the server. */
class NotMade extends Error {
  constructor(cause: unknown) {
    super("The value was not made.", { cause });
  }
}

function tooLarge(name: string, size: number, maxSize: number): LockError {
  return new LockError(
    "too-large",
    `The value of ${quote(name)} takes ${size} bytes once encoded, and maxSize allows ${maxSize}. ` +
      "Share less of it, or raise maxSize.",
  );
}
