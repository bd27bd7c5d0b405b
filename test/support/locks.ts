/** What every test of locks needs: a name of its own, a lock that is held until told, and waiting for what one sees. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { Lock, LockInfo, LockManager, LockOptions } from "../../src/index.ts";
import { until } from "./until.ts";

/** Whether requests of several managers come as they were made, or in turns. */
export type Order = "strict" | "turns";

/** Two managers of the same locks, as in two processes. */
export interface Managers {
  readonly locks: LockManager;
  readonly other: LockManager;
  /** Close both, and what they were opened with. Closing again does nothing. */
  close(): Promise<void>;
}

export type Open = () => Promise<Managers>;

/** A lock's name that no other test has. */
export function unique(about = "lock"): string {
  return `${about} ${randomUUID()}`;
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A request whose callback runs until `end` is called. */
export interface Held {
  readonly lock: Lock;
  /** What `request` returned. Its rejection is looked after. */
  readonly request: Promise<unknown>;
  /** Let the callback return, and wait until the request is settled. */
  end(): Promise<void>;
}

/** Request the lock and resolve when the callback runs. */
export async function hold(locks: LockManager, name: string, options: LockOptions = {}): Promise<Held> {
  const queued = enqueue(locks, name, options);
  const lock = await Promise.race([queued.granted, queued.request.then(() => undefined)]);
  if (!lock) throw new Error(`The lock ${JSON.stringify(name)} was not granted.`);
  return { lock, request: queued.request, end: queued.end };
}

/** A request that may have to wait; its callback runs until `end` is called. */
export interface Queued {
  readonly granted: Promise<Lock>;
  readonly request: Promise<unknown>;
  end(): Promise<void>;
}

export function enqueue(locks: LockManager, name: string, options: LockOptions = {}): Queued {
  const granted = deferred<Lock>();
  const ended = deferred();
  const request = locks.request(name, options, (lock: Lock | null) => {
    if (lock) granted.resolve(lock);
    return ended.promise;
  });
  request.catch(() => undefined);
  return {
    granted: granted.promise,
    request,
    end: async () => {
      ended.resolve();
      await request.catch(() => undefined);
    },
  };
}

/** Request the lock, write `entry` into `log` when the callback starts, and hold for a turn of the event loop. */
export function logged(
  locks: LockManager,
  name: string,
  log: string[],
  entry: string,
  options: LockOptions = {},
): Promise<void> {
  const request = locks.request(name, options, async () => {
    log.push(entry);
    await turn();
  });
  request.catch(() => undefined);
  return request;
}

/** Resolve when the event loop has gone round once. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolve when `count` requests wait for the lock. */
export async function waiting(locks: LockManager, name: string, count: number): Promise<void> {
  const counted = async () => (await stateOf(locks, name)).pending.length === count;
  await until(counted, `${count} requests waited for ${JSON.stringify(name)}`);
}

/** What is held and pending of one lock. */
export async function stateOf(locks: LockManager, name: string) {
  const { held, pending } = await locks.query();
  const ofLock = (each: LockInfo) => each.name === name;
  return { held: held.filter(ofLock), pending: pending.filter(ofLock) };
}

/** What the specification says of a holder or waiter, without what holdfast adds. */
export function specified({ name, mode, clientId }: LockInfo): Pick<LockInfo, "name" | "mode" | "clientId"> {
  return { name, mode, clientId };
}

/** Order of UTF-16 code units, which also tells lone surrogates apart. */
export function byUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** True if nobody has the lock, so that it can be had without waiting. */
export function isFree(locks: LockManager, name: string): Promise<boolean> {
  return locks.request(name, { ifAvailable: true }, (lock) => lock !== null);
}

/** What the promise is rejected with; fails when it is fulfilled. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`Expected a rejection; the promise was fulfilled with ${String(value)}.`);
}

/** Fails unless `error` is a DOMException and nothing under it, with this name. */
export function expectDOMException(error: unknown, name: string): void {
  expect(error).toBeInstanceOf(DOMException);
  expect(Object.getPrototypeOf(error), "no subclass of DOMException").toBe(DOMException.prototype);
  expect((error as DOMException).name).toBe(name);
}

/** Fails unless `error` is a TypeError and nothing under it. */
export function expectTypeError(error: unknown): void {
  expect(error).toBeInstanceOf(TypeError);
  expect(Object.getPrototypeOf(error), "no subclass of TypeError").toBe(TypeError.prototype);
  expect((error as TypeError).name).toBe("TypeError");
  expect((error as TypeError).message).not.toBe("");
}

/** Call `request` with arguments that the types refuse. A synchronous throw fails the test. */
export function requestWith(locks: LockManager, ...args: unknown[]): Promise<unknown> {
  let promise: unknown;
  try {
    promise = Reflect.apply(locks.request, locks, args);
  } catch (error) {
    throw new Error("request() threw instead of returning a promise that rejects.", { cause: error });
  }
  expect(promise).toBeInstanceOf(Promise);
  return promise as Promise<unknown>;
}
