import { EventEmitter } from "node:events";
import type { RedisClient } from "../../drivers/index.ts";
import { escapeOdd } from "../../errors.ts";
import { show } from "../../options/checks.ts";
import { Member } from "../member.ts";
import { quitClients } from "../quit.ts";
import { ExecutionError, ResourceLockedError } from "../redlock/errors.ts";
import { Operations } from "../redlock/operations.ts";
import { ACQUIRE, EXTEND, hooked, RELEASE } from "../redlock/scripts.ts";
import type { ScriptHook, ScriptText } from "../redlock/scripts.ts";
import { checkDuration, checkLock, checkResources, settingsOf } from "../redlock/settings.ts";
import type { Settings } from "../redlock/settings.ts";
import type { Disposer } from "./disposer.ts";
import { Lock, LockError } from "./lock.ts";
import type { LockKeeper } from "./lock.ts";

export interface LockOptions {
  /** How often a failed try is repeated (default 10); −1 for without end. */
  readonly retryCount?: number;
  /** Milliseconds between two tries (default 200). */
  readonly retryDelay?: number;
}

export interface Options extends LockOptions {
  /** The share of a ttl by which clocks may run apart (default 0.01). */
  readonly driftFactor?: number;
  /** By how many milliseconds `retryDelay` is changed at random (default 100). */
  readonly retryJitter?: number;
  readonly lockScript?: ScriptHook;
  readonly unlockScript?: ScriptHook;
  readonly extendScript?: ScriptHook;
}

/** redlock 4 reports a key that is no lock as a failure of the server, so here reading it may fail. */
const LOCK = ACQUIRE.replace("redis.pcall", "redis.call");

/**
 * Locks over one or several independent servers, with the interface, the keys and the values of redlock 4, in promises:
 * it and redlock exclude one another.
 *
 * Emits `clientError` with what servers and clients failed of.
 */
export class Redlock extends EventEmitter implements LockKeeper {
  static readonly Lock: typeof Lock = Lock;
  static readonly LockError: typeof LockError = LockError;
  readonly servers: readonly RedisClient[];
  readonly driftFactor: number;
  readonly retryCount: number;
  readonly retryDelay: number;
  readonly retryJitter: number;
  readonly scripts: { readonly [name in "lockScript" | "unlockScript" | "extendScript"]: ScriptText };
  readonly #settings: Settings;
  readonly #members: readonly Member[];
  readonly #operations: Operations;

  /**
   * @param clients ioredis, node-redis or GLIDE clients, each of an independent server or Cluster
   * @throws TypeError or RangeError for clients of an unknown kind and options out of bounds
   */
  constructor(clients: readonly RedisClient[], options: Options = {}) {
    super();
    if (!Array.isArray(clients)) throw new TypeError(`Expected an array of clients; got ${show(clients)}.`);
    if (clients.length === 0) throw new Error("Redlock must be instantiated with at least one redis server.");
    this.servers = clients;
    this.#settings = settingsOf(options);
    ({
      driftFactor: this.driftFactor,
      retryCount: this.retryCount,
      retryDelay: this.retryDelay,
      retryJitter: this.retryJitter,
    } = this.#settings);
    this.scripts = {
      lockScript: hooked(LOCK, options.lockScript),
      unlockScript: hooked(RELEASE, options.unlockScript),
      extendScript: hooked(EXTEND, options.extendScript),
    };
    this.#members = [...new Set(clients)].map((client) => new Member(client));
    const { lockScript: acquireScript, unlockScript: releaseScript, extendScript } = this.scripts;
    this.#operations = new Operations(this.#members, { acquireScript, extendScript, releaseScript }, (error) => {
      if (!(error instanceof ResourceLockedError)) this.emit("clientError", error);
    });
  }

  get lockScript(): string {
    return this.scripts.lockScript.value;
  }

  get unlockScript(): string {
    return this.scripts.unlockScript.value;
  }

  get extendScript(): string {
    return this.scripts.extendScript.value;
  }

  /**
   * Lock one or several resources, all in one step.
   *
   * @param ttl milliseconds until the lock ends by itself
   * @throws (as a rejection) LockError if it cannot be had within the tries
   */
  lock(resource: string | string[], ttl: number, ...callback: undefined[]): Promise<Lock> {
    return this.lockWithOptions(resource, ttl, {}, ...callback);
  }

  acquire(resource: string | string[], ttl: number, ...callback: undefined[]): Promise<Lock> {
    return this.lock(resource, ttl, ...callback);
  }

  /** `lock` with other `retryCount` and `retryDelay`. */
  async lockWithOptions(
    resource: string | string[],
    ttl: number,
    options: LockOptions,
    ...callback: undefined[]
  ): Promise<Lock> {
    refuseCallback(callback);
    checkDuration(ttl);
    const names = checkResources(listOf(resource));
    const { retryCount, retryDelay } = options;
    const settings = settingsOf(
      { ...(retryCount !== undefined && { retryCount }), ...(retryDelay !== undefined && { retryDelay }) },
      this.#settings,
    );
    try {
      const { value, expiration, attempts } = await this.#operations.acquire(names, ttl, settings);
      return new Lock(
        this,
        listOf(resource),
        value,
        expiration,
        attempts.length,
        settings.retryCount - attempts.length,
      );
    } catch (error) {
      throw exceeded(error, resource, settings);
    }
  }

  acquireWithOptions(
    resource: string | string[],
    ttl: number,
    options: LockOptions,
    ...callback: undefined[]
  ): Promise<Lock> {
    return this.lockWithOptions(resource, ttl, options, ...callback);
  }

  /**
   * A lock for `using`, from the same module.
   *
   * @param failed hears of a release that failed
   */
  disposer(resource: string | string[], ttl: number, failed: (error: Error) => void = () => {}): Disposer {
    return { acquire: () => this.lock(resource, ttl), failed };
  }

  /** @throws (as a rejection) LockError if a majority of the servers did not have it */
  async unlock(lock: Lock, ...callback: undefined[]): Promise<void> {
    refuseCallback(callback);
    checkLock(lock).expiration = 0;
    const names = checkResources(listOf(lock.resource));
    try {
      await this.#operations.release(names, lock.value, { ...this.#settings, retryCount: 0 });
    } catch (error) {
      if (!(error instanceof ExecutionError)) throw error;
      throw new LockError(`Unable to fully release the lock on resource "${escapeOdd(String(lock.resource))}".`);
    }
  }

  release(lock: Lock, ...callback: undefined[]): Promise<void> {
    return this.unlock(lock, ...callback);
  }

  /**
   * Let the lock last for `ttl` from now.
   *
   * @returns the same lock
   * @throws (as a rejection) LockError if it has ended, or a majority of the servers does not have it
   */
  async extend(lock: Lock, ttl: number, ...callback: undefined[]): Promise<Lock> {
    refuseCallback(callback);
    checkDuration(ttl);
    if (checkLock(lock).remaining < 0) {
      const message = `Cannot extend lock on resource "${escapeOdd(String(lock.resource))}" because the lock has already expired.`;
      throw new LockError(message, 0);
    }
    const names = checkResources(listOf(lock.resource));
    try {
      const { expiration } = await this.#operations.extend(names, lock.value, ttl, this.#settings);
      // A lock that was released meanwhile stays so.
      if (lock.expiration !== 0) lock.expiration = expiration;
      return lock;
    } catch (error) {
      throw exceeded(error, lock.resource, this.#settings);
    }
  }

  /** Ends all clients: each gets QUIT. */
  async quit(...callback: undefined[]): Promise<unknown[]> {
    refuseCallback(callback);
    for (const member of this.#members) member.close();
    return quitClients(this.servers);
  }
}

function listOf(resource: string | string[]): string[] {
  return Array.isArray(resource) ? resource : [resource];
}

/** In redlock 4's words. */
function exceeded(error: unknown, resource: string | string[], { retryCount }: Settings): unknown {
  if (!(error instanceof ExecutionError)) return error;
  const message = `Exceeded ${retryCount} attempts to lock the resource "${escapeOdd(String(resource))}".`;
  return new LockError(message, error.attempts.length);
}

function refuseCallback([callback]: readonly unknown[]): void {
  if (callback === undefined) return;
  throw new TypeError(`Expected no callback; got ${show(callback)}. Await the promise that is returned.`);
}
