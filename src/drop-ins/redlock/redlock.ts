import { EventEmitter } from "node:events";
import type { RedisClient } from "../../drivers/index.ts";
import { show } from "../../options/checks.ts";
import { Member } from "../member.ts";
import { quitClients } from "../quit.ts";
import { ExecutionError } from "./errors.ts";
import { Lock } from "./lock.ts";
import type { ExecutionResult, LockKeeper } from "./lock.ts";
import { Operations } from "./operations.ts";
import type { Scripts } from "./operations.ts";
import { ACQUIRE, EXTEND, hooked, RELEASE } from "./scripts.ts";
import type { ScriptHook } from "./scripts.ts";
import { checkDuration, checkLock, checkResources, settingsOf } from "./settings.ts";
import type { Settings } from "./settings.ts";
import { holdDuring } from "./using.ts";
import type { Routine } from "./using.ts";

export interface ScriptHooks {
  readonly acquireScript?: ScriptHook;
  readonly extendScript?: ScriptHook;
  readonly releaseScript?: ScriptHook;
}

/**
 * Locks over one or several independent servers, with the interface, the keys and the values of redlock 5: it and
 * redlock exclude one another. Waiters hear of releases by its like and do not only look now and then.
 *
 * Emits `error` with each server's vote against; without listeners that does nothing.
 */
export class Redlock extends EventEmitter implements LockKeeper {
  readonly clients: Set<RedisClient>;
  readonly settings: Settings;
  readonly scripts: Scripts;
  readonly #members: readonly Member[];
  readonly #operations: Operations;

  /**
   * @param clients ioredis, node-redis or GLIDE clients, each of an independent server or Cluster
   * @param scripts other scripts than the usual, or what makes them of the usual
   * @throws TypeError or RangeError for clients of an unknown kind and settings out of bounds
   */
  constructor(clients: Iterable<RedisClient>, settings: Partial<Settings> = {}, scripts: ScriptHooks = {}) {
    super();
    this.on("error", () => {});
    this.clients = new Set(iterable(clients));
    if (this.clients.size === 0) throw new Error("Redlock must be instantiated with at least one redis client.");
    this.settings = settingsOf(settings);
    this.scripts = {
      acquireScript: hooked(ACQUIRE, scripts.acquireScript),
      extendScript: hooked(EXTEND, scripts.extendScript),
      releaseScript: hooked(RELEASE, scripts.releaseScript),
    };
    this.#members = [...this.clients].map((client) => new Member(client));
    this.#operations = new Operations(this.#members, this.scripts, (error) => void this.emit("error", error));
  }

  /** Ends all clients: each gets QUIT. */
  async quit(): Promise<void> {
    for (const member of this.#members) member.close();
    await quitClients(this.clients);
  }

  /**
   * Lock all resources in one step, or none.
   *
   * @param duration milliseconds until the lock ends by itself
   * @throws (as rejections) ExecutionError if it cannot be had within the tries that `settings` allow; TypeError, RangeError
   *   or Error for what cannot be asked for
   */
  async acquire(resources: string[], duration: number, settings?: Partial<Settings>): Promise<Lock> {
    checkDuration(duration);
    const names = checkResources(resources);
    const all = settingsOf(settings, this.settings);
    const { value, attempts, expiration } = await this.#operations.acquire(names, duration, all);
    return new Lock(this, [...resources], value, attempts, expiration, settings);
  }

  /**
   * Unlock on every server that still has the lock. To release twice, or to ignore the error, does no harm.
   *
   * @throws ExecutionError (as a rejection) if a majority did not have it
   */
  async release(lock: Lock, settings?: Partial<Settings>): Promise<ExecutionResult> {
    checkLock(lock).expiration = 0;
    const names = checkResources(lock.resources);
    const all = settingsOf(settings, this.settings);
    const { attempts, start } = await this.#operations.release(names, lock.value, all);
    return { attempts, start };
  }

  /**
   * Let the lock last for `duration` from now.
   *
   * @returns the lock that replaces the existing one, whose `expiration` is 0 then
   * @throws ExecutionError (as a rejection) if it has ended or a majority does not have it
   */
  async extend(existing: Lock, duration: number, settings?: Partial<Settings>): Promise<Lock> {
    checkDuration(duration);
    if (checkLock(existing).remaining < 0) throw new ExecutionError("Cannot extend an already-expired lock.", []);
    const names = checkResources(existing.resources);
    const all = settingsOf(settings, this.settings);
    const { attempts, expiration } = await this.#operations.extend(names, existing.value, duration, all);
    existing.expiration = 0;
    return new Lock(this, existing.resources, existing.value, attempts, expiration, settings ?? existing.settings);
  }

  /**
   * Hold the resources while the routine runs; the lock is extended until then. The routine's signal is aborted, with
   * the error as `signal.error`, as soon as the lock has ended by this process's own clock or is known to be lost.
   *
   *     await redlock.using(["a", "b"], 5000, async (signal) => {
   *       await work();
   *       if (signal.aborted) throw signal.error;
   *     });
   *
   * @throws (as rejections) what the routine does; else what `acquire` and `release` do
   */
  using<T>(resources: string[], duration: number, settings: Partial<Settings>, routine?: Routine<T>): Promise<T>;
  using<T>(resources: string[], duration: number, routine: Routine<T>): Promise<T>;
  async using<T>(
    resources: string[],
    duration: number,
    settingsOrRoutine: Partial<Settings> | Routine<T>,
    optionalRoutine?: Routine<T>,
  ): Promise<T> {
    checkDuration(duration);
    const settings = typeof settingsOrRoutine === "function" ? undefined : settingsOrRoutine;
    const routine = optionalRoutine ?? settingsOrRoutine;
    if (typeof routine !== "function") throw new Error("INVARIANT: routine is not a function.");
    const all = settingsOf(settings, this.settings);
    if (all.automaticExtensionThreshold > duration - 100) {
      throw new Error(
        "A lock `duration` must be at least 100ms greater than the `automaticExtensionThreshold` setting.",
      );
    }
    const lock = await this.acquire(resources, duration, settings);
    return holdDuring(this, lock, duration, all, routine);
  }
}

/** @throws TypeError */
function iterable<T>(clients: Iterable<T>): Iterable<T> {
  if (typeof clients === "object" && clients !== null && Symbol.iterator in clients) return clients;
  throw new TypeError(`Expected an array of clients; got ${show(clients)}.`);
}
