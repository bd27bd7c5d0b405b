import { dictionary, show } from "../options/checks.ts";
import { checkElection } from "../options/election.ts";
import type { ElectOptions } from "../options/election.ts";
import { checkOnce } from "../options/once.ts";
import type { OnceOptions } from "../options/once.ts";
import { checkName, checkRequest } from "../options/request.ts";
import type { LockOptions } from "../options/request.ts";
import { candidacyOf } from "./candidacies.ts";
import type { Election } from "./candidacies.ts";
import { under } from "./current-lock.ts";
import { methodName, replaceMethod } from "./method.ts";
import type { AsyncMethod } from "./method.ts";
import { locksIn, wantLocks } from "./tokens.ts";

/** Which of several LockManagers. */
export interface ManagerName {
  /** The name of the module: `HoldfastModule.forRoot({ name })` (default: the one without a name). */
  manager?: string | undefined;
}

/** Settings of `@WithLock`: those of a request that waits. */
export interface WithLockOptions extends Omit<LockOptions, "ifAvailable" | "signal">, ManagerName {}
/** Settings of `@RunOnce`. */
export interface RunOnceOptions extends OnceOptions, ManagerName {}
/** Settings of `@WhileLeader`. */
export interface WhileLeaderOptions extends Omit<ElectOptions, "signal">, ManagerName {}

/** Says in the type of the method's promise that there may be no value. */
type MayBeSkipped<M extends AsyncMethod> =
  undefined extends Awaited<ReturnType<M>>
    ? unknown
    : { readonly value: "the promise must be one of void, or of a type that includes undefined" };

type Skippable = <M extends AsyncMethod>(
  prototype: object,
  property: string | symbol,
  descriptor: TypedPropertyDescriptor<M> & MayBeSkipped<M>,
) => void;

/** The manager's own checks, before there is a manager. */
const DEFAULTS = { ttl: 30_000, label: "" };

/**
 * Hold a lock while the method runs. Calls wait for it, in this process and all others.
 *
 * @param key the lock's name, or a function that makes it of the method's arguments
 * @throws TypeError or RangeError where the class is defined, if an option cannot be used. The method rejects with what
 *   `LockManager.request` rejects with
 */
export function WithLock<A extends unknown[] = []>(
  key: string | ((...args: A) => string),
  given?: WithLockOptions,
): <M extends (...args: [...A, ...never[]]) => Promise<unknown>>(
  prototype: object,
  property: string | symbol,
  descriptor: TypedPropertyDescriptor<M>,
) => void {
  if (typeof key !== "function") checkName(key);
  const { manager, ...options } = dictionary(given, "options") as WithLockOptions;
  if ("ifAvailable" in options) {
    throw new TypeError("@WithLock always waits, so it cannot take ifAvailable. Use LockManager.tryAcquire() instead.");
  }
  checkRequest("", options, DEFAULTS, "request");
  return (prototype, property, descriptor) => {
    const method = methodName(prototype, property);
    wantLocks(prototype, manager);
    replaceMethod("WithLock", descriptor, (instance, args, call) => {
      const locks = locksIn(instance, manager, method);
      const name = typeof key === "function" ? key(...(args as A)) : key;
      if (typeof name !== "string") {
        throw new TypeError(`Expected the key of @WithLock on ${method} to be a string; got ${show(name)}.`);
      }
      return locks.request(name, options, (lock) => under(lock, call));
    });
  };
}

/**
 * Run the method on one of all machines that call it at about the same time, as `LockManager.once` does. On the others
 * the call resolves to undefined, and the method does not run.
 *
 * @param name of the job, the same on all machines
 * @throws TypeError or RangeError where the class is defined, if an option cannot be used. The method rejects with what
 *   it throws, and what `LockManager.once` rejects with
 */
export function RunOnce(name: string, given: RunOnceOptions): Skippable {
  const { manager, ...rest } = dictionary(given, "options") as ManagerName;
  const options = rest as RunOnceOptions;
  checkOnce(name, options, DEFAULTS);
  return (prototype, property, descriptor) => {
    const method = methodName(prototype, property);
    wantLocks(prototype, manager);
    replaceMethod("RunOnce", descriptor, async (instance, _args, call) => {
      const result = await locksIn(instance, manager, method).once(name, options, (lock) => under(lock, call));
      return result.ran ? result.value : undefined;
    });
  };
}

/** Where the explorer finds which elections a class takes part in. */
const ELECTIONS = Symbol("elections of a class");

export interface NamedElection extends Election, ManagerName {}

export function electionsOf(type: object): readonly NamedElection[] {
  return (Reflect.getMetadata(ELECTIONS, type) as readonly NamedElection[] | undefined) ?? [];
}

/**
 * Run the method only while this process leads; otherwise a call resolves to undefined, and the method does not run.
 * The process is a candidate from the application's start until its end. It resigns only once the methods that run have
 * ended, and asks them to stop through `currentLock().signal`.
 *
 * @param name of the election, the same on all machines
 * @throws TypeError or RangeError where the class is defined, if an option cannot be used. The method rejects with what
 *   it throws, and with LockLostError if the leadership was lost while it ran
 */
export function WhileLeader(name: string, given?: WhileLeaderOptions): Skippable {
  const { manager, ...options } = dictionary(given, "options") as WhileLeaderOptions;
  if ("signal" in options) {
    throw new TypeError("@WhileLeader is a candidate as long as the application runs, so it cannot take signal.");
  }
  checkElection(name, options, DEFAULTS);
  return (prototype, property, descriptor) => {
    const method = methodName(prototype, property);
    const election = { name, options, manager };
    wantLocks(prototype, manager);
    Reflect.defineMetadata(ELECTIONS, [...electionsOf(prototype.constructor), election], prototype.constructor);
    replaceMethod("WhileLeader", descriptor, (instance, _args, call) =>
      candidacyOf(locksIn(instance, manager, method), election).run(call),
    );
  };
}
