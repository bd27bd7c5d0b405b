import { systemClock } from "./clock.ts";
import type { RedisClient } from "./drivers/index.ts";
import { Connections } from "./drivers/url/connect.ts";
import { areUrls } from "./drivers/url/url.ts";
import { LockError, notHeld, quote } from "./errors.ts";
import { events } from "./events.ts";
import { LeaseKeeper } from "./leases/keeper.ts";
import type { DetachedLock } from "./leases/detached-lock.ts";
import type { Holding } from "./leases/holding.ts";
import type { Lease } from "./leases/lease.ts";
import { Lock, lockOf } from "./lock.ts";
import { checkAttach } from "./options/attach.ts";
import type { AttachOptions } from "./options/attach.ts";
import { checkClose } from "./options/close.ts";
import type { CloseOptions } from "./options/close.ts";
import { checkElection, checkObservation } from "./options/election.ts";
import type { ElectOptions, ObserveOptions } from "./options/election.ts";
import { checkManagerOptions } from "./options/manager.ts";
import type { CheckedManagerOptions, ManagerOptions } from "./options/manager.ts";
import { checkOnce } from "./options/once.ts";
import type { OnceOptions } from "./options/once.ts";
import { checkCallback, checkName, checkRequest } from "./options/request.ts";
import type { LockOptions, TryOptions, Verb } from "./options/request.ts";
import { checkSelection, checkTokens } from "./options/selection.ts";
import { checkLimit } from "./options/semaphore.ts";
import { checkShare } from "./options/share.ts";
import type { ShareOptions } from "./options/share.ts";
import { campaign, leaders } from "./primitives/election.ts";
import type { Election, ElectionRoom, Leader } from "./primitives/election.ts";
import type { FlightRoom } from "./primitives/flight.ts";
import { holdDuring } from "./primitives/hold.ts";
import { once } from "./primitives/once.ts";
import type { OnceResult, OnceRoom } from "./primitives/once.ts";
import { Semaphore } from "./primitives/semaphore.ts";
import { SeveralLocks } from "./primitives/several.ts";
import { Sharing } from "./primitives/share.ts";
import { Requests } from "./requests.ts";
import { randomId } from "./runtime.ts";
import { openScheme } from "./schemes/index.ts";
import { MemoryStore } from "./schemes/memory.ts";
import type { Scheme, Selection } from "./schemes/scheme.ts";
import { assertShares } from "./schemes/supported.ts";
import { snapshotOf } from "./snapshot.ts";
import type { LockInfo, LockManagerSnapshot } from "./snapshot.ts";
import { Lines } from "./waiting/lines.ts";

/**
 * Takes, waits for and releases locks. Its `request` and `query` are those of the Web Locks API, for all processes
 * that use the same server and prefix.
 */
export class LockManager {
  readonly #options: CheckedManagerOptions;
  /** Connections that we opened ourselves, for URLs. */
  readonly #connections: Connections | undefined;
  readonly #scheme: Scheme;
  readonly #keeper: LeaseKeeper;
  readonly #lines: Lines;
  readonly #requests: Requests;
  #sharing: Sharing | undefined;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  /**
   * @param client an ioredis, node-redis or GLIDE client, which you close yourself; or a URL, for a connection that is
   *   closed with the manager: `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, `unix:///path`,
   *   `redis+sentinel://host1,host2,host3/master` or `redis+cluster://host1,host2,host3`; an array of clients or of
   *   URLs, each of an independent server, for Redlock; nothing for locks within this process
   * @throws TypeError or RangeError for a client of an unknown kind, a URL that cannot be used or options out of
   *   bounds; LockError `no-client` if no client library is installed to open a URL with
   */
  constructor(
    client?: RedisClient | string | readonly RedisClient[] | readonly string[] | MemoryStore,
    options?: ManagerOptions,
  ) {
    this.#options = checkManagerOptions(options);
    this.#connections = areUrls(client) ? new Connections(client) : undefined;
    const clock = client instanceof MemoryStore ? client.clock : systemClock;
    const clientId = randomId();
    const { prefix, label } = this.#options;
    const settings = { clientId, label, clock };
    this.#scheme = openScheme(this.#connections?.client ?? client, this.#options, settings);
    this.#keeper = new LeaseKeeper(clock);
    const turn = this.#scheme.hasTurns ? this.#options.turn : 1;
    const origin = { scheme: this.#scheme.name, prefix, label };
    this.#lines = new Lines(this.#scheme, clock, this.#keeper, { clientId, turn, origin });
    this.#requests = new Requests(this.#options, this.#lines);
    // Last, so that a constructor that throws has opened nothing.
    this.#connections?.open();
  }

  /**
   * Holds the lock while the callback runs, and settles as the callback does.
   *
   * The Web Locks API: https://w3c.github.io/web-locks/. Beyond it: rejects with `LockTimeoutError` after
   * `waitTimeout`, with `LockLostError` if the lease ended while the callback ran, with `SchemeError` if the
   * server fails. Rejects and never throws.
   */
  request<T>(name: string, callback: (lock: Lock) => T): Promise<Awaited<T>>;
  request<T>(
    name: string,
    options: LockOptions & { ifAvailable: true },
    callback: (lock: Lock | null) => T,
  ): Promise<Awaited<T>>;
  request<T>(
    name: string,
    options: (LockOptions & { ifAvailable?: false | undefined }) | null | undefined,
    callback: (lock: Lock) => T,
  ): Promise<Awaited<T>>;
  request<T>(name: string, options: LockOptions, callback: (lock: Lock | null) => T): Promise<Awaited<T>>;
  /** Several names: all of them or none, in an order that cannot lead to a deadlock. */
  request<T>(names: readonly string[], callback: (locks: SeveralLocks) => T): Promise<Awaited<T>>;
  request<T>(
    names: readonly string[],
    options: LockOptions & { ifAvailable: true },
    callback: (locks: SeveralLocks | null) => T,
  ): Promise<Awaited<T>>;
  request<T>(
    names: readonly string[],
    options: (LockOptions & { ifAvailable?: false | undefined }) | null | undefined,
    callback: (locks: SeveralLocks) => T,
  ): Promise<Awaited<T>>;
  request<T>(
    names: readonly string[],
    options: LockOptions,
    callback: (locks: SeveralLocks | null) => T,
  ): Promise<Awaited<T>>;
  async request<T>(...args: unknown[]): Promise<Awaited<T>> {
    const [name] = args;
    const callback = args.length > 2 ? args[2] : args[1];
    const options = args.length > 2 ? args[1] : undefined;
    checkCallback(callback);
    const run = async (lock: unknown): Promise<Awaited<T>> => await (callback as (lock: unknown) => T)(lock);
    if (Array.isArray(name)) {
      const holdings = await this.#requests.obtainAll("request", name, options);
      if (!holdings) return run(null);
      const locks = new SeveralLocks(holdings);
      return holdDuring(locks, () => this.#requests.within(holdings, () => run(locks)));
    }
    const holding = await this.#requests.obtain("request", name, options, asHolding);
    if (!holding) return run(null);
    const lock = new Lock(holding);
    return holdDuring(holding, () => this.#requests.within([holding], () => run(lock)));
  }

  /**
   * Waits for the lock and keeps it until `release()`, or until the end of an `await using` block.
   *
   * @throws what `request` rejects with
   */
  acquire(name: string, options?: Omit<LockOptions, "ifAvailable">): Promise<Lock>;
  acquire(names: readonly string[], options?: Omit<LockOptions, "ifAvailable">): Promise<SeveralLocks>;
  acquire(name: string | readonly string[], options?: LockOptions): Promise<Lock | SeveralLocks> {
    // Only a request that may not wait resolves to nothing.
    return this.#acquire("acquire", name, options) as Promise<Lock | SeveralLocks>;
  }

  /**
   * Takes the lock if it is free at once, or within `waitTimeout` milliseconds if you give one; otherwise resolves to
   * null.
   *
   * @throws what `acquire` rejects with; `LockTimeoutError` only if the server fails when the time is up
   */
  tryAcquire(name: string, options?: TryOptions): Promise<Lock | null>;
  tryAcquire(names: readonly string[], options?: TryOptions): Promise<SeveralLocks | null>;
  tryAcquire(name: string | readonly string[], options?: TryOptions): Promise<Lock | SeveralLocks | null> {
    return this.#acquire("tryAcquire", name, options);
  }

  /**
   * Holds a lock that another process detached (`lock.detach()`), on the same server and prefix. It is renewed and
   * released here, with a new token and a larger fence. Works once, and only while the lease lasts.
   *
   * @throws LockError `gone` if it was attached already, taken by force, or its lease has ended; also what `acquire`
   *   rejects with
   */
  async attach(detached: DetachedLock, options?: AttachOptions): Promise<Lock> {
    const request = checkAttach(detached, options, this.#options);
    const lock = await this.#requests.lease(request.lock, request, lockOf);
    if (lock) return lock;
    throw new LockError(
      "gone",
      `The detached lock ${quote(request.lock)} (fence ${request.from?.fence}) is gone: it was attached already, taken by force, or ` +
        "its lease has ended. Acquire it.",
    );
  }

  /**
   * A semaphore: `limit` permits under one name, shared by all processes.
   *
   * @param limit how many permits there are, 1 to 1,000,000; the same for all who use the semaphore at the same time
   * @throws TypeError or RangeError
   */
  semaphore(name: string, limit: number): Semaphore {
    checkName(name);
    checkLimit(limit);
    return new Semaphore(name, limit, {
      obtain: (verb, options) => this.#requests.leaseWith(name, options, verb, limit),
      within: (lease, run) => this.#requests.within([lease], run),
    });
  }

  /**
   * Reports who holds and who waits, in all processes. It takes effect after all earlier calls of this manager. Each
   * lock is read at one instant, but different locks at different instants.
   *
   * @param selection one lock by name, those that match a glob, or (the default) all under the prefix, which walks
   *   the server's keys
   */
  async query(selection: Selection = "all"): Promise<LockManagerSnapshot> {
    this.#lines.assertOpen();
    const states = await this.#lines.query(checkSelection(selection));
    return snapshotOf(states, this.#keeper.clock.micros());
  }

  /**
   * Takes the lock from its current holders. Their processes are notified, and the next in the queue gets the lock.
   *
   * @param expected tokens that `query()` reported: only these lose the lock (default: all current holders)
   * @returns those that lost the lock
   */
  async forceRelease(name: string, expected?: readonly (string | undefined)[]): Promise<LockInfo[]> {
    this.#lines.assertOpen();
    const lock = checkName(name);
    const tokens = checkTokens(expected);
    const [state] = await this.#lines.query({ name: lock });
    if (!state) return [];
    const wanted = state.holders.filter(({ token }) => !tokens || tokens.includes(token));
    const holders = [];
    for (const holder of wanted) {
      this.#lines.assertOpen(); // it may have been closed meanwhile, and nothing may be sent after that
      if (!(await this.#lines.evict(name, holder))) continue;
      holders.push(holder);
      events.forced(state, holder, this.#lines.origin, undefined);
    }
    return snapshotOf([{ ...state, holders }], this.#keeper.clock.micros()).held;
  }

  /**
   * Makes this process a candidate for the leadership of that name. Each pass of the loop is one term. Leaving its body
   * resigns; the loop then continues as a candidate, also after a lost lease and while the server
   * cannot be reached. It ends when `signal` aborts, but a leader resigns only once its body has ended.
   *
   *     for await (const term of locks.elect("scheduler", { signal })) await schedule(term.signal, term.fence);
   *
   * Keep the return value to ask whether this candidate leads: `election.leading`.
   *
   * @throws TypeError or RangeError at once; while iterated, what `acquire` rejects with, except transient failures
   */
  elect(name: string, options?: ElectOptions): Election {
    return campaign(this.#room, checkElection(name, options, this.#options));
  }

  /**
   * Reports who leads, or holds the lock of that name: at once, and then every change. Asks the server once per
   * `interval`, so a change is reported within that time, and a leader that leads for less may go unseen. While the
   * server cannot be reached, nothing is reported.
   *
   * @throws TypeError or RangeError at once; while iterated, what `query` rejects with, except transient failures
   */
  observe(name: string, options?: ObserveOptions): AsyncGenerator<Leader | null, void, void> {
    return leaders(this.#room, checkObservation(name, options));
  }

  /**
   * Runs the job unless another machine is running it, or ran it less than `atLeast` ago; then reports who did. The
   * lock stays held for `atLeast` from the job's start, even if the job throws, the manager is closed or the process
   * dies.
   *
   * @throws what the job throws, what `tryAcquire` rejects with, and `LockLostError` if the lock was lost during a job
   *   that succeeded, for example because it took longer than `atMost`
   */
  async once<T>(name: string, options: OnceOptions, job: (lock: Lock) => T): Promise<OnceResult<Awaited<T>>> {
    checkCallback(job);
    return once(this.#room, checkOnce(name, options, this.#options), job);
  }

  /**
   * Computes a value once for all callers that ask at about the same time, in all processes. One computes, under the
   * lock of that name; the others wait, and get its value, or learn that it failed. Each gets a copy that has been
   * encoded and decoded.
   *
   * @throws what `compute` throws here, `LockError` `compute-failed` if it threw elsewhere, `too-large`, or `unsupported`
   *   by schemes that keep no values; what `request` rejects with
   */
  async share<T>(name: string, options: ShareOptions<T>, compute: (lock: Lock) => T | PromiseLike<T>): Promise<T> {
    checkCallback(compute, "compute");
    const checked = checkShare(name, options, this.#options);
    assertShares(this.#scheme);
    this.#lines.assertOpen();
    this.#requests.watch(name, checked.request);
    this.#sharing ??= new Sharing(this.#room);
    return (await this.#sharing.share({ ...checked, compute })) as T;
  }

  /**
   * Whether the running code is in a callback of `request` (or `once`, `share`, a semaphore) that still holds that
   * lock. Useful for code deep inside a callback. Needs the manager's option `trackContext`.
   *
   * @throws TypeError or RangeError for a bad name, LockError `unsupported` without that option
   */
  holds(name: string): boolean {
    return this.#requests.around(checkName(name))?.held ?? false;
  }

  /**
   * @throws LockLostError if the callback around the running code has lost that lock, LockError `not-held` if there is
   * none; what `holds` throws
   */
  assertHeld(name: string): void {
    const holding = this.#requests.around(checkName(name));
    if (holding?.held) return;
    throw holding?.error ?? notHeld(name);
  }

  /**
   * Shuts down: refuses new requests, rejects waiting ones, and releases what is held. Callbacks that still run have
   * their `lock.signal` aborted at once (`LockLostError`, reason `closed`); their leases are renewed until they end,
   * for at most `timeout` milliseconds (default 5 000; 0: not at all), and are then lost, so their requests reject.
   * Resolves when no request is left. Connections that this manager opened, for URLs too, are closed; a client that you
   * passed in stays open. The manager cannot be used afterwards.
   *
   * @throws TypeError or RangeError
   */
  close(options?: CloseOptions): Promise<void> {
    this.#closed ??= this.#close(checkClose(options));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(timeout: number): Promise<void> {
    this.#closing.abort(new LockError("closed", "The LockManager was closed."));
    this.#lines.refuse();
    try {
      await this.#keeper.close(timeout);
      await this.#lines.idle();
      await this.#scheme.close();
    } finally {
      this.#connections?.close();
    }
  }

  /** What elections, jobs and shared computations use of the manager. */
  get #room(): ElectionRoom & OnceRoom & FlightRoom {
    return {
      clock: this.#keeper.clock,
      origin: this.#lines.origin,
      label: this.#options.label,
      closing: this.#closing.signal,
      job: (name, options) => this.#requests.leaseWith(name, options, "tryAcquire"),
      lease: (request) => this.#requests.lease(request.lock, request, asLease),
      recall: (name) => this.#lines.recall(name),
      within: (lease, run) => this.#requests.within([lease], run),
      candidacy: (name, options) => {
        const request = checkRequest(name, options, this.#options, "acquire");
        this.#requests.watch(name, request);
        return this.#requests.lease(name, { ...request, isCandidacy: true }, asLease);
      },
      query: (selection) => this.query(selection),
      look: async (name) => (await this.#scheme.query({ name }))[0],
    };
  }

  /** Null if it is a try and the lock is busy. Rejects, and never throws. */
  #acquire(verb: Verb, name: unknown, given: unknown): Promise<Lock | SeveralLocks | null> {
    try {
      if (!Array.isArray(name)) return this.#requests.obtain(verb, name, given, lockOf);
      return this.#requests.obtainAll(verb, name, given).then((holdings) => holdings && new SeveralLocks(holdings));
    } catch (error) {
      return Promise.reject(error);
    }
  }
}

function asHolding(holding: Holding): Holding {
  return holding;
}

function asLease(lease: Lease): Lease {
  return lease;
}
