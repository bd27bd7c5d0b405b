/** Turns calls into leases: checks the options of each request, then makes it. */
import type { Clock } from "./clock.ts";
import { LockError, quote } from "./errors.ts";
import { events } from "./events.ts";
import type { Holding } from "./leases/holding.ts";
import type { Lease } from "./leases/lease.ts";
import type { CheckedManagerOptions } from "./options/manager.ts";
import { checkPlainName, checkRequest, checkRequests, plainTerms } from "./options/request.ts";
import type { CheckedRequest, Terms, Verb } from "./options/request.ts";
import { Contexts } from "./primitives/contexts.ts";
import { join, open, Part } from "./primitives/reentrancy.ts";
import { obtainAll } from "./primitives/several.ts";
import { assertSupported } from "./schemes/supported.ts";
import { throwIfAborted } from "./signals.ts";
import type { Lines } from "./waiting/lines.ts";

export class Requests {
  readonly #options: CheckedManagerOptions;
  readonly #lines: Lines;
  readonly #clock: Clock;
  /** The terms of a request without options: one that may wait, and `tryAcquire`. */
  readonly #waits: Terms;
  readonly #tries: Terms;
  /** Made at once if all callbacks must be tracked, otherwise with the first reentrant request. */
  #contexts: Contexts | undefined;
  /** Holdings whose own callbacks wait for them, which has been reported. */
  readonly #reported = new WeakSet<Holding>();

  constructor(options: CheckedManagerOptions, lines: Lines) {
    this.#options = options;
    this.#lines = lines;
    this.#clock = lines.clock;
    this.#waits = plainTerms(options, "acquire");
    this.#tries = plainTerms(options, "tryAcquire");
    if (options.trackContext) this.#contexts = new Contexts();
  }

  /** Null if it is a try and the lock is busy. Everything is checked before anything is sent; bad input throws. */
  obtain<T>(verb: Verb, name: unknown, given: unknown, as: (holding: Holding) => T | Promise<T>): Promise<T | null> {
    if (given === undefined) {
      const terms = verb === "tryAcquire" ? this.#tries : this.#waits;
      const lock = checkPlainName(name);
      this.watch(lock, terms);
      return this.lease(lock, terms, as);
    }
    const request = checkRequest(name, given, this.#options, verb);
    if (request.reentrant) return this.#takePart(verb, request).then((holding) => holding && as(holding));
    this.watch(request.lock, request);
    return this.lease(request.lock, request, as);
  }

  obtainAll(verb: Verb, names: readonly unknown[], given: unknown): Promise<Holding[] | null> {
    const requests = checkRequests(names, given, this.#options, verb);
    for (const request of requests) if (!request.reentrant) this.watch(request.lock, request);
    const obtain = (request: CheckedRequest): Promise<Holding | null> =>
      request.reentrant ? this.#takePart(verb, request) : this.lease(request.lock, request, asLease);
    return obtainAll({ clock: this.#clock, obtain }, requests);
  }

  /** @param limit of a semaphore */
  leaseWith(name: string, options: unknown, verb: Verb, limit?: number): Promise<Lease | null> {
    const request = checkRequest(name, options, this.#options, verb, limit);
    return this.lease(request.lock, request, asLease);
  }

  lease<T>(lock: string, terms: Terms, as: (lease: Lease) => T | Promise<T>): Promise<T | null> {
    this.#lines.assertOpen();
    assertSupported(this.#lines.scheme, terms);
    throwIfAborted(terms.signal);
    return this.#lines.obtain(lock, terms, as);
  }

  /**
   * Runs a callback under these locks, so that requests and questions in it can find them, if an option asks for that.
   */
  within<T>(holdings: readonly Holding[], callback: () => T): T {
    if (!this.#contexts) return callback();
    const contexts = this.#contexts;
    // Others can take part in a reentrant hold, so nothing else replaces it.
    const known = holdings.filter(
      (each) => each instanceof Part || (this.#options.trackContext && !(contexts.of(each.grant.lock) instanceof Part)),
    );
    return known.length > 0 ? contexts.run(known, callback) : callback();
  }

  /**
   * The hold of that lock by the callback around the running code.
   *
   * @throws LockError `unsupported` if callbacks are not tracked
   */
  around(lock: string): Holding | undefined {
    const holding = this.#contexts?.of(lock);
    if (holding || this.#options.trackContext) return holding;
    throw new LockError(
      "unsupported",
      "holds() and assertHeld() can answer only if the manager follows its callbacks. " +
        "Make the LockManager with { trackContext: true }.",
    );
  }

  /** Reports a request that is about to wait for the callback that it is made in, once for each callback. */
  watch(lock: string, { manner, waitTimeout, mode, limit }: Terms): void {
    if (!this.#options.detectDeadlocks || manner !== "wait" || waitTimeout !== undefined || limit !== undefined) return;
    const holding = this.#contexts?.of(lock);
    if (!holding?.held || this.#reported.has(holding)) return;
    // Shared locks wait for each other only if somebody else waits in between.
    if (mode === "shared" && holding.grant.mode === "shared") return;
    this.#reported.add(holding);
    events.trouble("acquire", deadlock(lock), holding.grant, this.#lines, undefined);
  }

  /** Only `request` has a callback, and therefore a context that others can be nested in. */
  async #takePart(verb: Verb, request: CheckedRequest): Promise<Holding | null> {
    this.#lines.assertOpen();
    throwIfAborted(request.signal);
    this.#contexts ??= new Contexts();
    const part = join(this.#contexts.of(request.lock), request);
    if (part) return part;
    this.watch(request.lock, request);
    const lease = await this.lease(request.lock, request, asLease);
    return lease && verb === "request" ? open(lease) : lease;
  }
}

function asLease(lease: Lease): Lease {
  return lease;
}

function deadlock(lock: string): LockError {
  return new LockError(
    "deadlock",
    `A request for ${quote(lock)} waits for the callback that it is made in, which holds that lock, so neither ends. ` +
      "Give both requests { reentrant: true }, or do the work with the lock that the callback was given.",
  );
}
