import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { basename } from "node:path";
import { systemClock } from "./clock.ts";
import { Connections } from "./drivers/url/connect.ts";
import type { RedisClient } from "./drivers/index.ts";
import { areUrls } from "./drivers/url/url.ts";
import { campaign, leaders } from "./primitives/election.ts";
import type { ElectionRoom, Leader, Term } from "./primitives/election.ts";
import { LockError, quote, notOverNodes, unsupported } from "./errors.ts";
import type { LockLostError } from "./errors.ts";
import { LeaseKeeper } from "./leases/lease.ts";
import type { DetachedLock, Holding, Lease } from "./leases/lease.ts";
import { Lock } from "./lock.ts";
import { once } from "./primitives/once.ts";
import type { OnceResult, OnceRoom } from "./primitives/once.ts";
import { checkAttach } from "./options/attach.ts";
import { checkCallback, checkName, checkRequest, checkRequests } from "./options/request.ts";
import { checkElection, checkObservation } from "./options/election.ts";
import { checkLimit } from "./options/semaphore.ts";
import { checkManagerOptions } from "./options/manager.ts";
import { checkOnce } from "./options/once.ts";
import { checkSelection } from "./options/selection.ts";
import { refuseDurability } from "./options/durability.ts";
import type { AttachOptions } from "./options/attach.ts";
import type { CheckedManagerOptions, ManagerOptions } from "./options/manager.ts";
import type { CheckedRequest, LockOptions, Verb } from "./options/request.ts";
import type { ElectOptions, ObserveOptions } from "./options/election.ts";
import type { OnceOptions } from "./options/once.ts";
import { Part, Reentrancy, within } from "./primitives/reentrancy.ts";
import type { Grant, LockMode, LockState, Scheme, Selection } from "./schemes/scheme.ts";
import { openScheme } from "./schemes/index.ts";
import { obtainAll, SeveralLocks } from "./primitives/several.ts";
import { EXPIRY_MARGIN, MemoryStore, STALE_AFTER } from "./schemes/memory.ts";
import { Semaphore } from "./primitives/semaphore.ts";
import { Waiting } from "./waiting/waiting.ts";

/** One holder or waiter, as `query()` tells it: what the Web Locks specification names, then ours. */
export interface LockInfo {
  name: string;
  mode: LockMode;
  /** The manager that made the request; "" for a foreign holder (another library's key). */
  clientId: string;
  /** Undefined for a foreign holder, and for those of another process who wait behind its first. */
  token: string | undefined;
  /** Who, for people: the request's label, or its manager's. */
  label: string;
  /** Of a holder, where its scheme tells. */
  fence: number | undefined;
  /** Milliseconds until a holder's lease ends unless renewed. */
  remaining: number | undefined;
  /** Of a semaphore: how many permits it holds or wants, of how many that there are. */
  permits?: number;
  limit?: number;
}

/** What `query()` tells: holders, and waiters in the order of their queues. */
export interface LockManagerSnapshot {
  held: LockInfo[];
  pending: LockInfo[];
}

/** Options of one request without those that say how to wait. */
export type TryOptions = Omit<LockOptions, "ifAvailable" | "signal" | "waitTimeout" | "maxQueue" | "onWait">;

/**
 * Takes, waits for and releases locks. Its `request` and `query` are those of the Web Locks API, for all processes
 * that use the same server and prefix.
 */
export class LockManager {
  readonly #options: CheckedManagerOptions;
  /** Those that we opened ourselves, for URLs. */
  readonly #connections: Connections | undefined;
  readonly #scheme: Scheme;
  readonly #leases: LeaseKeeper;
  readonly #waiting: Waiting;
  readonly #clientId = randomBytes(16).toString("base64url");
  #requests = 0;
  #reentrancy: Reentrancy | undefined;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  /**
   * @param client an ioredis or node-redis client, which stays yours to close; or a URL, for a connection that is
   *   closed with the manager: `redis://[[user]:password@]host[:port][/db]`, `rediss://…` for TLS, `unix:///path`,
   *   `redis+sentinel://host1,host2,host3/master` or `redis+cluster://host1,host2,host3`; an array of clients or of
   *   URLs, each of an independent server, for Redlock; nothing for locks within this process
   * @throws TypeError or RangeError for a client of an unknown kind, a URL that cannot be used or options out of
   *   bounds; LockError `no-client` where no client library is installed to open a URL with
   */
  constructor(
    client?: RedisClient | string | readonly RedisClient[] | readonly string[] | MemoryStore,
    options?: ManagerOptions,
  ) {
    this.#options = checkManagerOptions(options);
    this.#connections = areUrls(client) ? new Connections(client) : undefined;
    const clock = client instanceof MemoryStore ? client.clock : systemClock;
    const label = this.#options.label ?? defaultLabel();
    const scheme = openScheme(this.#connections?.client ?? client, this.#options, {
      clientId: this.#clientId,
      label,
      clock,
    });
    this.#scheme = scheme;
    this.#leases = new LeaseKeeper(scheme, clock);
    this.#waiting = new Waiting({
      scheme,
      clock,
      newToken: () => this.#newToken(),
      hold: ({ lock, token, mode, permits }, fence, sentAt, terms, until, durability) =>
        this.#leases.start({ lock, token, mode, fence, permits, durability }, sentAt, terms, until),
      // A place in a queue is forgotten by the server only when nobody has asked for a while.
      giveUp: (request) => void this.#leases.giveUp(request, Math.max(request.ttl, STALE_AFTER)),
    });
    scheme.listen({
      granted: (lock, token, fence, until) => this.#pushed(lock, token, fence, until),
      next: (_, token, remaining) => this.#waiting.find(token)?.moveUp(remaining + EXPIRY_MARGIN),
      lost: (_, token, fence) => this.#revoked(token, fence),
      again: (_, token) => this.#waiting.find(token)?.wake(),
      missed: (locks) => this.#waiting.wakeAll(locks),
    });
    // Last, so that a constructor that throws has opened nothing.
    this.#connections?.open();
  }

  /**
   * Hold the lock while the callback runs; settles as the callback does.
   *
   * The Web Locks API: https://w3c.github.io/web-locks/. Beyond it: rejects with `LockTimeoutError` after
   * `waitTimeout`, with `LockLostError` when the lease ended under a callback that succeeded, with `SchemeError` when
   * the server fails. Rejects and never throws.
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
      const holdings = await this.#obtainAll("request", name, options);
      if (!holdings) return run(null);
      const locks = new SeveralLocks(holdings);
      return this.#holdDuring(locks, () => within(holdings, () => run(locks)));
    }
    const holding = await this.#obtain("request", name, options);
    if (!holding) return run(null);
    const lock = new Lock(holding);
    return this.#holdDuring(holding, () => (holding instanceof Part ? holding.run(() => run(lock)) : run(lock)));
  }

  /**
   * Wait for the lock and keep it until `release()`, or the end of an `await using` block.
   *
   * @throws what `request` rejects with
   */
  acquire(name: string, options?: Omit<LockOptions, "ifAvailable">): Promise<Lock>;
  acquire(names: readonly string[], options?: Omit<LockOptions, "ifAvailable">): Promise<SeveralLocks>;
  async acquire(name: string | readonly string[], options?: LockOptions): Promise<Lock | SeveralLocks> {
    // Only those who may not wait are answered with nothing.
    if (Array.isArray(name)) return new SeveralLocks((await this.#obtainAll("acquire", name, options)) as Holding[]);
    return new Lock((await this.#obtain("acquire", name, options)) as Holding);
  }

  /** Take the lock if that is possible at once, else null. */
  tryAcquire(name: string, options?: TryOptions): Promise<Lock | null>;
  tryAcquire(names: readonly string[], options?: TryOptions): Promise<SeveralLocks | null>;
  async tryAcquire(name: string | readonly string[], options?: TryOptions): Promise<Lock | SeveralLocks | null> {
    if (Array.isArray(name)) {
      const holdings = await this.#obtainAll("tryAcquire", name, options);
      return holdings && new SeveralLocks(holdings);
    }
    const holding = await this.#obtain("tryAcquire", name, options);
    return holding && new Lock(holding);
  }

  /**
   * Hold here what `lock.detach()` gave in another process, on the same server and prefix: renewed and released here,
   * with a new token and a larger fence. Works once, and only while the lease lasts.
   *
   * @throws LockError `gone` when it was attached already, taken by force, or its lease has ended; what `acquire`
   *   rejects with
   */
  async attach(detached: DetachedLock, options?: AttachOptions): Promise<Lock> {
    const { grant, request } = checkAttach(detached, options, this.#options);
    const lease = await this.#lease(request, grant);
    if (lease) return new Lock(lease);
    const what = `The detached lock ${quote(grant.lock)} (fence ${grant.fence}) is no longer there`;
    throw new LockError(
      "gone",
      `${what}: it was attached already, taken by force, or its lease has ended. Acquire it.`,
    );
  }

  /**
   * So many permits under a name, for all processes.
   *
   * @param limit how many permits there are, 1 to 1,000,000; the same for all who use the semaphore at the same time
   * @throws TypeError or RangeError
   */
  semaphore(name: string, limit: number): Semaphore {
    checkName(name);
    checkLimit(limit);
    return new Semaphore(name, limit, {
      obtain: (verb, options) => this.#lease(checkRequest(name, options, this.#options, verb, limit)),
      holdDuring: (lease, run) => this.#holdDuring(lease, run),
    });
  }

  /**
   * Who holds and who waits, for all processes. Each lock is looked at in one instant, not all locks in the same.
   *
   * @param selection one lock by name, those that match a glob, or (the default) all under the prefix, which walks
   *   the server's keys
   */
  async query(selection: Selection = "all"): Promise<LockManagerSnapshot> {
    this.#assertOpen();
    const states = await this.#scheme.query(checkSelection(selection));
    return { held: states.flatMap(holdersOf), pending: states.flatMap(waitersOf) };
  }

  /**
   * Take the lock from whoever holds it now; their processes are told, and the next in line follows.
   *
   * @param expected tokens that `query()` told: only these are taken from (default: whoever holds)
   * @returns those that lost the lock
   */
  async forceRelease(name: string, expected?: readonly (string | undefined)[]): Promise<LockInfo[]> {
    this.#assertOpen();
    const [state] = await this.#scheme.query({ name: checkName(name) });
    const taken: LockInfo[] = [];
    for (const holder of state?.holders ?? []) {
      if (expected && !expected.includes(holder.token)) continue;
      if (await this.#scheme.evict(name, holder))
        taken.push(...holdersOf({ ...(state as LockState), holders: [holder] }));
    }
    return taken;
  }

  /**
   * Be a candidate for the leadership of that name, and lead whenever elected. Leaving the loop's body, however it is
   * left, resigns; the loop then goes on as a candidate, also after a lease that was lost and while the server
   * cannot be reached. It ends when `signal` is aborted: a leader resigns only once its body has ended.
   *
   *     for await (const term of locks.elect("scheduler", { signal })) await schedule(term.signal, term.fence);
   *
   * @throws TypeError or RangeError at once; while iterated, what `acquire` rejects with, except passing failures
   */
  elect(name: string, options?: ElectOptions): AsyncGenerator<Term, void, void> {
    return campaign(this.#room, checkElection(name, options, this.#options));
  }

  /**
   * Follow who leads, or holds the lock of that name: at once, then whenever it has changed. Asks the server once per
   * `interval`, so a change is told within that time, and a leader of a shorter time may go unseen. While the server
   * cannot be reached nothing is told.
   *
   * @throws TypeError or RangeError at once; while iterated, what `query` rejects with, except passing failures
   */
  observe(name: string, options?: ObserveOptions): AsyncGenerator<Leader | null, void, void> {
    return leaders(this.#room, checkObservation(name, options));
  }

  /**
   * Run the job unless another machine runs it, or ran it less than `atLeast` ago; else tell who did, at once. The
   * lock stays held for `atLeast` from the job's start, also when the job throws, the manager is closed or the process
   * dies.
   *
   * @throws what the job throws, what `tryAcquire` rejects with, and `LockLostError` when the lock was lost under a job
   *   that succeeded, for one because it took longer than `atMost`
   */
  async once<T>(name: string, options: OnceOptions, job: (lock: Lock) => T): Promise<OnceResult<Awaited<T>>> {
    checkCallback(job);
    if (this.#scheme.name === "redlock") throw notOverNodes("keep a lock for longer than its holder lives");
    const label = this.#options.label ?? defaultLabel();
    return once(this.#room, checkOnce(name, options, { ...this.#options, label }), job);
  }

  /**
   * Release what is held, withdraw what waits, close the connections that this manager opened, those for URLs too; a
   * client passed in stays open. The manager cannot be used afterwards.
   */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      this.#closing.abort(new LockError("closed", "The LockManager was closed."));
      this.#waiting.close();
      try {
        await this.#leases.close();
        await this.#scheme.close();
      } finally {
        this.#connections?.close();
      }
    })();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** What elections and jobs need of us. */
  get #room(): ElectionRoom & OnceRoom {
    return {
      clock: this.#leases.clock,
      closing: this.#closing.signal,
      acquire: (name, options) => this.acquire(name, options),
      query: (selection) => this.query(selection),
      tryLease: (name, options) => this.#lease(checkRequest(name, options, this.#options, "tryAcquire")),
      holdDuring: (lease, run) => this.#holdDuring(lease, () => run(new Lock(lease))),
      look: async (name) => (await this.#scheme.query({ name }))[0],
    };
  }

  /** Null when `ifAvailable` and it is not. Everything is checked before anything is sent; bad input is thrown. */
  #obtain(verb: Verb, name: unknown, given: unknown): Promise<Holding | null> {
    const request = checkRequest(name, given, this.#options, verb);
    return request.reentrant ? this.#takePart(verb, request) : this.#lease(request);
  }

  #obtainAll(verb: Verb, names: readonly unknown[], given: unknown): Promise<Holding[] | null> {
    const requests = checkRequests(names, given, this.#options, verb);
    const obtain = (request: CheckedRequest): Promise<Holding | null> =>
      request.reentrant ? this.#takePart(verb, request) : this.#lease(request);
    return obtainAll({ clock: this.#leases.clock, obtain }, requests);
  }

  /** Only `request` has a callback, and so a context that others can be nested in. */
  async #takePart(verb: Verb, request: CheckedRequest): Promise<Holding | null> {
    this.#assertOpen();
    request.signal?.throwIfAborted();
    this.#reentrancy ??= new Reentrancy();
    const part = this.#reentrancy.join(request);
    if (part) return part;
    const lease = await this.#lease(request);
    return lease && verb === "request" ? this.#reentrancy.open(lease) : lease;
  }

  /** @param from the grant to take the place of */
  #lease(options: CheckedRequest, from?: Grant): Promise<Lease | null> {
    this.#assertOpen();
    this.#assertSupported(options);
    options.signal?.throwIfAborted();
    const { lock, mode, label, permits, limit, maxQueue, waitTimeout, onWait, maxHold, renew, durability } = options;
    const ttl = maxHold === undefined ? options.ttl : Math.min(options.ttl, maxHold);
    const isTry = options.ifAvailable || waitTimeout === 0;
    return this.#waiting.obtain(
      {
        lock,
        token: this.#newToken(),
        mode,
        ttl,
        label,
        permits,
        limit,
        maxQueue,
        // Who is counted, or wants to know its position, is in line for itself; so is who wants its own grant proven.
        alone: limit !== undefined || maxQueue !== undefined || onWait !== undefined || durability !== undefined,
        durability,
      },
      {
        manner: options.steal ? "steal" : isTry ? "try" : "wait",
        timeout: waitTimeout,
        signal: options.signal,
        onWait,
        lease: { ttl, renew, maxHold, durability },
        from,
      },
    );
  }

  #holdDuring<T>(lease: Pick<Holding, "error" | "onLost" | "release">, run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // The specification settles a stolen request at once, whatever its callback still does.
      lease.onLost((error) => error.reason === "stolen" && reject(webLocksError(error)));
      if (lease.error?.reason === "stolen") return;
      run().then(
        async (value) => {
          await lease.release();
          if (lease.error) reject(webLocksError(lease.error));
          else resolve(value);
        },
        async (error: unknown) => {
          await lease.release();
          reject(error);
        },
      );
    });
  }

  /** A grant for a request that is over is given back. */
  #pushed(lock: string, token: string, fence: number, until: number | undefined): void {
    const waiter = this.#waiting.find(token);
    const lease = this.#leases.find(token);
    if (waiter) waiter.granted(fence, until);
    else if (!lease) void this.#leases.giveUp({ lock, token }, 0);
    else if (lease.grant.fence < fence) lease.lose("expired");
  }

  #revoked(token: string, fence: number): void {
    this.#waiting.find(token)?.revoke(fence);
    const lease = this.#leases.find(token);
    if (lease && lease.grant.fence <= fence) lease.lose("stolen");
  }

  #newToken(): string {
    return `${this.#clientId}:${(this.#requests++).toString(36)}`;
  }

  #assertSupported({ mode, permits, maxQueue, durability }: CheckedRequest): void {
    const { name, modes, queues, proves } = this.#scheme;
    if (!proves) refuseDurability(name, durability);
    const missing =
      permits !== undefined && !queues
        ? "semaphores"
        : !modes.has(mode)
          ? `${mode} locks`
          : maxQueue !== undefined && !queues
            ? "queue, so no maxQueue"
            : undefined;
    if (missing) throw unsupported(`The scheme "${name}" has no ${missing}`, 'Use the scheme "lua".');
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new LockError("closed", "Expected an open LockManager; this one has been closed. Make a new one.");
  }
}

/** What the Web Locks specification rejects a stolen request with; our own error is its cause. */
function webLocksError(error: LockLostError): Error {
  if (error.reason !== "stolen") return error;
  return new DOMException(error.message, { name: "AbortError", cause: error });
}

function defaultLabel(): string {
  return `${hostname()}:${process.pid}:${basename(process.argv[1] ?? process.title)}`.slice(0, 256);
}

function clientOf(token: string | undefined): string {
  return token?.slice(0, token.indexOf(":")) ?? "";
}

function holdersOf({ lock, mode, limit, holders }: LockState): LockInfo[] {
  return holders.map(({ token, fence, remaining, label, permits }) => ({
    name: lock,
    mode: mode ?? "exclusive",
    clientId: clientOf(token),
    token,
    label,
    fence,
    remaining,
    ...share(permits, limit),
  }));
}

function share(permits: number | undefined, limit: number | undefined): Pick<LockInfo, "permits" | "limit"> {
  return permits !== undefined && limit !== undefined ? { permits, limit } : {};
}

function waitersOf({ lock, limit, waiters }: LockState): LockInfo[] {
  return waiters.flatMap(({ token, mode, label, waiting, permits }) => {
    const info = {
      name: lock,
      mode,
      clientId: clientOf(token),
      token,
      label,
      fence: undefined,
      remaining: undefined,
      ...share(permits, limit),
    };
    // Of those who share a place elsewhere, only the number is known.
    return Array.from({ length: waiting }, (_, i) => (i === 0 ? info : { ...info, token: undefined }));
  });
}
