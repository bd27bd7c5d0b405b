/** The one place where what users pass in is checked. Nothing is sent before these functions have returned. */
import { LockError } from "./errors.ts";
import type { LockMode, SchemeName, Selection } from "./scheme.ts";
import type { Wait } from "./waiting.ts";

/** Settings of a {@link LockManager}. Durations are in milliseconds. */
export interface ManagerOptions {
  /** Stands before every key (default `"lock:"`). `""` shares keys with other libraries as they are. */
  prefix?: string | undefined;
  /** How long a grant lasts without renewal (default 30 000, at least 50). */
  ttl?: number | undefined;
  /** `lua` where a client is given (the default), or `set` for servers and accounts without scripting. */
  scheme?: "lua" | "set" | undefined;
  /** Who holds, for people who look (default `host:pid:program`). */
  label?: string | undefined;
  /**
   * How many waiters of this process may follow one another on a lock before another process has its turn (default
   * 16). They share one place in the queue, which makes contention within a process cheap. 1: each waiter stands in
   * the queue by itself, in strict order over all processes. Only the scheme `lua` has turns.
   */
  turn?: number | undefined;
}

/** Settings of one request: those of the Web Locks API, then ours. Durations are in milliseconds. */
export interface LockOptions {
  /** `exclusive` (the default), or `shared`: any number of shared holders together. */
  mode?: LockMode | undefined;
  /** Do not wait: the callback is called with `null` when the lock cannot be had at once. */
  ifAvailable?: boolean | undefined;
  /** Take the lock from whoever holds it. Its request rejects with an `AbortError`. */
  steal?: boolean | undefined;
  /** Withdraws the request while it waits. No effect once granted. */
  signal?: AbortSignal | undefined;
  /** How long a grant lasts without renewal (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /** Give up after this long with `LockTimeoutError` (default: wait for ever; 0: try once). */
  waitTimeout?: number | undefined;
  /** Renew the lease while the lock is held (default true). */
  renew?: boolean | undefined;
  /** However often renewed, the lease ends this long after the grant (default: no cap, at least 50). */
  maxHold?: number | undefined;
  /** Who holds, for people who look (default: the manager's). */
  label?: string | undefined;
  /**
   * Reject with `QueueFullError`, and never enter the queue, where more than so many wait already (default: no bound;
   * 0 to 10 000). Such a request stands in the queue by itself, whatever the manager's `turn`. Needs a scheme with a
   * queue.
   */
  maxQueue?: number | undefined;
  /**
   * Called when the request begins to wait, and when it learns that its position has changed: when it becomes the
   * first in line, and with each question that it sends anyway, every 5 s or so. Such a request stands in the queue by
   * itself, so its position is exact; those of one process that share a place count as one. What it throws ends the
   * wait.
   */
  onWait?: ((wait: Wait) => void) | undefined;
}

/** Settings of a semaphore's request. */
export interface SemaphoreOptions extends Omit<LockOptions, "mode" | "steal"> {
  /** How many permits to hold (default 1, at most the semaphore's limit). All are granted at once, or none. */
  permits?: number | undefined;
}

export const SHORTEST_TTL = 50;
export const LONGEST_NAME = 1024;
const LONGEST_LABEL = 256;
const LONGEST_TURN = 1_000;
const LONGEST_QUEUE = 10_000;
const MOST_PERMITS = 1_000_000;

/** Options with every default filled in. */
export interface CheckedManagerOptions {
  readonly prefix: string;
  readonly ttl: number;
  readonly scheme: SchemeName | undefined;
  readonly label: string | undefined;
  readonly turn: number;
}

/** One request: its name and its options with every default filled in. */
export interface CheckedRequest {
  readonly lock: string;
  readonly mode: LockMode;
  readonly ifAvailable: boolean;
  readonly steal: boolean;
  readonly signal: AbortSignal | undefined;
  readonly ttl: number;
  readonly waitTimeout: number | undefined;
  readonly renew: boolean;
  readonly maxHold: number | undefined;
  readonly label: string;
  readonly maxQueue: number | undefined;
  readonly onWait: ((wait: Wait) => void) | undefined;
  /** Of a semaphore's request. */
  readonly permits: number | undefined;
}

const MANAGER_OPTIONS = new Set(["prefix", "ttl", "scheme", "label", "turn"]);

/** @throws TypeError for a value of the wrong kind, RangeError for one out of bounds. */
export function checkManagerOptions(options: unknown): CheckedManagerOptions {
  const given = dictionary(options, "options");
  for (const key of Object.keys(given)) {
    if (!MANAGER_OPTIONS.has(key)) {
      throw new TypeError(`Expected options to be among ${[...MANAGER_OPTIONS].join(", ")}; got ${show(key)}.`);
    }
  }
  const prefix = given["prefix"] ?? "lock:";
  if (typeof prefix !== "string" || prefix.length > 256) {
    throw new TypeError(`Expected prefix to be a string of at most 256 characters; got ${show(prefix)}.`);
  }
  if (!prefix.isWellFormed() || /[{}]/.test(prefix.replace(/^[^{}]*\{[^{}]+\}[^{}]*$/, ""))) {
    throw new TypeError(`Expected prefix to hold no brace, or one hash tag such as "{app}:"; got ${show(prefix)}.`);
  }
  if (/:(holders|fence|queue|waiters)$/.test(prefix)) {
    throw new TypeError(`Expected prefix not to end like a key of holdfast's own; got ${show(prefix)}.`);
  }
  return {
    prefix,
    ttl: duration(given["ttl"], "ttl", SHORTEST_TTL) ?? 30_000,
    scheme: oneOf(given["scheme"], "scheme", ["memory", "set", "lua"]),
    label: label(given["label"]),
    turn: count(given["turn"], "turn", LONGEST_TURN) ?? 16,
  };
}

/** The public verbs that make requests. */
export type Verb = "request" | "acquire" | "tryAcquire";

/**
 * The members that the Web Locks specification names are read and converted as Web IDL does it; only then are the
 * rules of its algorithm applied, in its order.
 *
 * @param limit of a semaphore: its request has permits, and no mode
 * @throws TypeError, RangeError, or a DOMException `NotSupportedError` for what the specification refuses.
 */
export function checkRequest(
  name: unknown,
  options: unknown,
  manager: { ttl: number },
  verb: Verb,
  limit?: number,
): CheckedRequest {
  const lock = checkName(name);
  const given = dictionary(options, "options");
  const permits = checkPermits(given, limit);
  const ifAvailable = Boolean(given["ifAvailable"]) || (verb === "tryAcquire" && !given["steal"]);
  const mode = limit ? "shared" : (oneOf(given["mode"], "mode", ["exclusive", "shared"]) ?? "exclusive");
  const signal = given["signal"];
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(`Expected signal to be an AbortSignal; got ${show(signal)}.`);
  }
  const steal = Boolean(given["steal"]);
  const ttl = duration(given["ttl"], "ttl", SHORTEST_TTL) ?? manager.ttl;
  const waitTimeout = duration(given["waitTimeout"], "waitTimeout", 0);
  const maxHold = duration(given["maxHold"], "maxHold", SHORTEST_TTL);
  const renew = given["renew"] ?? true;
  if (typeof renew !== "boolean") throw new TypeError(`Expected renew to be true or false; got ${show(renew)}.`);
  if (verb === "acquire" && ifAvailable) {
    throw new TypeError("Expected acquire without ifAvailable, for it always waits; got it. Use tryAcquire.");
  }
  const maxQueue = count(given["maxQueue"], "maxQueue", LONGEST_QUEUE, 0);
  const onWait = given["onWait"] as CheckedRequest["onWait"];
  if (onWait !== undefined && typeof onWait !== "function") {
    throw new TypeError(`Expected onWait to be a function; got ${show(onWait)}.`);
  }
  const waits = Object.entries({ waitTimeout, maxQueue, onWait }).find(([, value]) => value !== undefined);
  if (waits && (steal || ifAvailable)) {
    const never = steal ? "steal" : verb === "tryAcquire" ? verb : "ifAvailable";
    throw new TypeError(`Expected ${waits[0]} without ${never}, which never waits; got both.`);
  }
  const request = {
    lock,
    mode,
    ifAvailable,
    steal,
    signal,
    ttl,
    waitTimeout,
    renew,
    maxHold,
    label: label(given["label"]) ?? "",
    maxQueue,
    onWait,
    permits,
  };
  refuseUnsupported(request);
  return request;
}

function checkPermits(given: Record<string, unknown>, limit: number | undefined): number | undefined {
  if (limit === undefined) {
    if (given["permits"] === undefined) return undefined;
    throw new TypeError("Expected a lock's request without permits; got some. Use semaphore(name, limit).");
  }
  for (const option of ["mode", "steal"]) {
    if (given[option] === undefined) continue;
    throw new TypeError(`Expected a semaphore's request without ${option}; got ${show(given[option])}.`);
  }
  return count(given["permits"], "permits", limit) ?? 1;
}

/** @throws TypeError or RangeError */
export function checkLimit(limit: unknown): number {
  const checked = count(limit, "limit", MOST_PERMITS);
  if (checked !== undefined) return checked;
  throw new TypeError("Expected limit, how many permits the semaphore has, to be a whole number; got undefined.");
}

function refuseUnsupported({ lock, mode, ifAvailable, steal, signal }: CheckedRequest): void {
  if (lock.startsWith("-")) {
    throw notSupported(`names that start with "-" are reserved by the Web Locks specification; got ${show(lock)}`);
  }
  if (steal && ifAvailable) throw notSupported("steal and ifAvailable cannot be combined");
  if (steal && mode !== "exclusive") throw notSupported("steal is for exclusive locks only");
  if (signal && steal) throw notSupported("signal and steal cannot be combined: stealing never waits");
  if (signal && ifAvailable) throw notSupported("signal and ifAvailable cannot be combined: there is no wait");
}

/** @throws TypeError or RangeError */
export function checkName(name: unknown): string {
  if (typeof name !== "string") throw new TypeError(`Expected the lock's name to be a string; got ${show(name)}.`);
  // A string has at least as many bytes as characters, and at most three times as many.
  if (name.length * 3 > LONGEST_NAME && Buffer.byteLength(name) > LONGEST_NAME) {
    throw new RangeError(
      `Expected the lock's name to be at most ${LONGEST_NAME} bytes of UTF-8; got ${Buffer.byteLength(name)}. Hash long names.`,
    );
  }
  return name;
}

/** @throws TypeError for anything that selects no locks */
export function checkSelection(selection: unknown): Selection {
  if (selection === "all") return selection;
  const { name, match } = (typeof selection === "object" && selection !== null ? selection : {}) as Record<
    string,
    unknown
  >;
  if (name !== undefined && match === undefined) return { name: checkName(name) };
  if (typeof match === "string" && name === undefined) return { match };
  throw new TypeError(
    `Expected a selection of locks: { name: "…" }, { match: "a*" } or "all"; got ${show(selection)}.`,
  );
}

/** @throws TypeError if it is no function. */
export function checkCallback(callback: unknown): void {
  if (typeof callback !== "function") {
    throw new TypeError(`Expected the callback to be a function; got ${show(callback)}.`);
  }
}

/** @throws TypeError or RangeError unless `value` is undefined or a safe integer of at least `least`. */
export function duration(value: unknown, name: string, least: number): number | undefined {
  if (value === undefined) return undefined;
  const expected = `Expected ${name} to be a whole number of at least ${least} milliseconds; got ${show(value)}.`;
  if (typeof value !== "number") throw new TypeError(expected);
  if (!Number.isSafeInteger(value) || value < least) throw new RangeError(expected);
  return value;
}

export function unsupported(what: string, remedy: string): LockError {
  return new LockError("unsupported", `${what}. ${remedy}`);
}

function notSupported(message: string): DOMException {
  return new DOMException(`The request is not supported: ${message}.`, "NotSupportedError");
}

function dictionary(value: unknown, name: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") {
    throw new TypeError(`Expected ${name} to be an object; got ${show(value)}.`);
  }
  return value as Record<string, unknown>;
}

function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  // Web IDL converts to a string before it compares, so an object with a fitting toString() passes.
  const text = typeof value === "symbol" ? undefined : String(value);
  const found = allowed.find((each) => each === text);
  if (!found) throw new TypeError(`Expected ${name} to be ${allowed.map(show).join(" or ")}; got ${show(value)}.`);
  return found;
}

function count(value: unknown, name: string, most: number, least = 1): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new TypeError(`Expected ${name} to be a whole number; got ${show(value)}.`);
  }
  if (value < least || value > most)
    throw new RangeError(`Expected ${name} to be from ${least} to ${most}; got ${value}.`);
  return value;
}

function label(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value.length > LONGEST_LABEL || !value.isWellFormed()) {
    throw new TypeError(`Expected label to be a string of at most ${LONGEST_LABEL} characters; got ${show(value)}.`);
  }
  return value;
}

/** A value as it stands in messages. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}…` : value);
  if (typeof value === "function") return `function ${value.name || "(anonymous)"}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return `an object (${value.constructor?.name ?? "no prototype"})`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}
