import type { Wish } from "../durability.ts";
import type { Grant, LockMode, WaitedFor } from "../schemes/scheme.ts";
import {
  abortSignal,
  count,
  dictionary,
  duration,
  flag,
  label,
  oneOf,
  onlyAmong,
  SHORTEST_TTL,
  show,
} from "./checks.ts";
import { checkDurability, wishFor } from "./durability.ts";
import type { CheckedDurability, DurabilityOptions } from "./durability.ts";
import { byteLength } from "../runtime.ts";
/** Settings of one request: those of the Web Locks API, then those of holdfast. Durations are in milliseconds. */
export interface LockOptions {
  /** `exclusive` (the default), or `shared`: any number of shared holders together. */
  mode?: LockMode | undefined;
  /** Do not wait: the callback is called with `null` if the lock is not free. */
  ifAvailable?: boolean | undefined;
  /** Take the lock from its holder, whose request rejects with an `AbortError`. */
  steal?: boolean | undefined;
  /** Withdraws the request while it waits. Has no effect once the lock is granted. */
  signal?: AbortSignal | undefined;
  /** How long a grant lasts without renewal (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /**
   * Give up after this long: `tryAcquire` resolves to `null`, all others reject with `LockTimeoutError` (default: wait
   * indefinitely, but `tryAcquire` not at all; 0: try once).
   */
  waitTimeout?: number | undefined;
  /** Renew the lease while the lock is held (default true). */
  renew?: boolean | undefined;
  /** The lease ends this long after the grant, even if it is renewed (default: no limit; at least 50). */
  maxHold?: number | undefined;
  /** A name for the holder that people recognize (default: the manager's). */
  label?: string | undefined;
  /**
   * Reject with `QueueFullError`, without entering the queue, if more requests than this are waiting (default: no
   * limit; 0 to 10 000). Such a request has its own place in the queue, whatever the manager's `turn`. Needs a scheme
   * with a queue.
   */
  maxQueue?: number | undefined;
  /**
   * Called when the request starts waiting and whenever its position changes. Becoming first in line is reported at
   * once, other changes within about 5 s. Such a request has its own place in the queue, so its position is exact;
   * requests of another process that share a place count as one. If it throws, the wait ends with that error.
   */
  onWait?: ((wait: Wait) => void) | undefined;
  /**
   * Inside the callback of a `reentrant` request for the same name, take part in its lease at once (default
   * false). Both have the same fence; the lock is released when the last of them has ended.
   */
  reentrant?: boolean | undefined;
  /** Replaces the manager's option for this request; `null` turns it off. */
  durability?: DurabilityOptions | null | undefined;
}

/** Options of `tryAcquire`. Those about waiting (`signal`, `maxQueue`, `onWait`) need a `waitTimeout`. */
export type TryOptions = Omit<LockOptions, "ifAvailable">;

/** The state of a waiting request. */
export interface Wait {
  /** 1 for the first in line. Undefined if the scheme has no queue. */
  readonly position: number | undefined;
  /** The exclusive holder, if it uses holdfast. */
  readonly holder: WaitedFor | undefined;
}

export const LONGEST_NAME = 1024;

const LONGEST_QUEUE = 10_000;

/** The manager's defaults for a request. */
export interface Defaults {
  readonly ttl: number;
  readonly durability?: CheckedDurability | undefined;
}

/** What a request asks for, apart from the lock: its options with every default filled in. */
export interface Terms {
  readonly mode: LockMode;
  /** `wait` in the queue; `try` once; `steal` from the holder. */
  readonly manner: "wait" | "try" | "steal";
  readonly signal: AbortSignal | undefined;
  /** No longer than `maxHold`. */
  readonly ttl: number;
  /** 0: it tries once, and fails like a request that has waited. */
  readonly waitTimeout: number | undefined;
  /** If the lock is busy until its time is up, it resolves to null instead of rejecting. */
  readonly isTry: boolean;
  readonly renew: boolean;
  readonly maxHold: number | undefined;
  readonly label: string;
  readonly maxQueue: number | undefined;
  readonly onWait: ((wait: Wait) => void) | undefined;
  /** Set for a semaphore's request. */
  readonly permits: number | undefined;
  readonly limit: number | undefined;
  readonly reentrant: boolean;
  readonly durability: Wish | undefined;
  /** It belongs to a candidate of an election. */
  readonly isCandidacy: boolean;
  /** Take the place of exactly this grant. */
  readonly from: Grant | undefined;
}

export interface CheckedRequest extends Terms {
  readonly lock: string;
}

/** The public verbs that make requests. */
export type Verb = "request" | "acquire" | "tryAcquire";

const REQUEST_OPTIONS = new Set([
  "mode",
  "ifAvailable",
  "steal",
  "signal",
  "ttl",
  "waitTimeout",
  "renew",
  "maxHold",
  "label",
  "maxQueue",
  "onWait",
  "reentrant",
  "durability",
  "permits",
]);

/**
 * The members that the Web Locks specification names are read and converted as Web IDL does it; only then are the
 * rules of its algorithm applied, in its order.
 *
 * @param limit how many permits the semaphore has, if it is one: its request has permits, and no mode
 * @throws TypeError, RangeError, or a DOMException `NotSupportedError` for what the specification refuses.
 */
export function checkRequest(
  name: unknown,
  options: unknown,
  manager: Defaults,
  verb: Verb,
  limit?: number,
): CheckedRequest {
  const lock = checkName(name);
  const given = dictionary(options, "options");
  onlyAmong(given, REQUEST_OPTIONS);
  const permits = checkPermits(given, limit);
  const triesOnce = verb === "tryAcquire" && !given["steal"] && given["waitTimeout"] === undefined;
  const ifAvailable = Boolean(given["ifAvailable"]) || triesOnce;
  const mode = limit ? "shared" : (oneOf(given["mode"], "mode", ["exclusive", "shared"]) ?? "exclusive");
  const signal = abortSignal(given["signal"]);
  const steal = Boolean(given["steal"]);
  const ttl = duration(given["ttl"], "ttl", SHORTEST_TTL) ?? manager.ttl;
  const maxHold = duration(given["maxHold"], "maxHold", SHORTEST_TTL);
  const renew = flag(given["renew"], "renew") ?? true;
  const reentrant = flag(given["reentrant"], "reentrant") ?? false;
  const own = checkDurability(given["durability"]);
  const waiting = checkWaiting(given, verb, { steal, ifAvailable, reentrant });
  const request: CheckedRequest = {
    lock,
    mode,
    manner: steal ? "steal" : ifAvailable || waiting.waitTimeout === 0 ? "try" : "wait",
    signal,
    ttl: Math.min(ttl, maxHold ?? ttl),
    ...waiting,
    isTry: ifAvailable || verb === "tryAcquire",
    renew,
    maxHold,
    label: label(given["label"]) ?? "",
    permits,
    limit,
    reentrant,
    durability: wishFor(own === undefined ? manager.durability : own, Math.min(ttl, maxHold ?? ttl)),
    isCandidacy: false,
    from: undefined,
  };
  refuseUnsupported(request, steal, ifAvailable);
  return request;
}

/** The terms of a request without options. Most requests have none, so they share this object. */
export function plainTerms(manager: Defaults, verb: Verb): Terms {
  const { lock: _, ...terms } = checkRequest("", undefined, manager, verb);
  return terms;
}

/**
 * The name of a request without any option.
 *
 * @throws what `checkRequest` throws for it
 */
export function checkPlainName(name: unknown): string {
  const lock = checkName(name);
  if (lock.startsWith("-")) throw reserved(lock);
  return lock;
}

interface Manners {
  readonly steal: boolean;
  readonly ifAvailable: boolean;
  readonly reentrant: boolean;
}

/** Whether and how it may wait. */
function checkWaiting(
  given: Record<string, unknown>,
  verb: Verb,
  { steal, ifAvailable, reentrant }: Manners,
): Pick<CheckedRequest, "waitTimeout" | "maxQueue" | "onWait"> {
  const waitTimeout = duration(given["waitTimeout"], "waitTimeout", 0);
  if (verb === "acquire" && ifAvailable) {
    throw new TypeError("acquire() always waits, so it cannot take ifAvailable. Use tryAcquire() instead.");
  }
  const maxQueue = count(given["maxQueue"], "maxQueue", LONGEST_QUEUE, 0);
  const onWait = given["onWait"] as CheckedRequest["onWait"];
  if (onWait !== undefined && typeof onWait !== "function") {
    throw new TypeError(`Expected onWait to be a function; got ${show(onWait)}.`);
  }
  if (steal || ifAvailable) {
    const [waits] = Object.entries({ waitTimeout, maxQueue, onWait }).find(([, value]) => value !== undefined) ?? [];
    const never = steal
      ? "A request with steal"
      : verb === "tryAcquire"
        ? "tryAcquire() without waitTimeout"
        : "A request with ifAvailable";
    if (waits) throw new TypeError(`${never} never waits, so it cannot take ${waits}.`);
  }
  if (reentrant && steal) {
    throw new TypeError(
      "A request with steal takes the lock from its own context too, so it cannot be reentrant. Leave one of them out.",
    );
  }
  return { waitTimeout, maxQueue, onWait };
}

function checkPermits(given: Record<string, unknown>, limit: number | undefined): number | undefined {
  if (limit === undefined) {
    if (given["permits"] === undefined) return undefined;
    throw new TypeError("A lock has no permits. Use semaphore(name, limit) for a limit on concurrency.");
  }
  for (const option of ["mode", "steal", "reentrant"]) {
    if (given[option] === undefined) continue;
    throw new TypeError(`A semaphore's request cannot take ${option}; got ${show(given[option])}.`);
  }
  return count(given["permits"], "permits", limit) ?? 1;
}

/**
 * Several names, for one request each with the same options.
 *
 * @throws TypeError for none, and what `checkRequest` throws
 */
export function checkRequests(
  names: readonly unknown[],
  options: unknown,
  manager: Defaults,
  verb: Verb,
): CheckedRequest[] {
  if (names.length === 0) throw new TypeError("Expected at least one lock's name; got an empty array.");
  return names.map((name) => checkRequest(name, options, manager, verb));
}

function refuseUnsupported({ lock, mode, signal }: CheckedRequest, steal: boolean, ifAvailable: boolean): void {
  if (lock.startsWith("-")) throw reserved(lock);
  if (steal && ifAvailable) throw notSupported("steal and ifAvailable cannot be combined");
  if (steal && mode !== "exclusive") throw notSupported("steal is for exclusive locks only");
  if (signal && steal) throw notSupported("signal and steal cannot be combined: stealing never waits");
  if (signal && ifAvailable) throw notSupported("signal and ifAvailable cannot be combined: there is no wait");
}

function reserved(name: string): DOMException {
  return notSupported(`names that start with "-" are reserved by the Web Locks specification; got ${show(name)}`);
}

/** @throws TypeError or RangeError */
export function checkName(name: unknown): string {
  if (typeof name !== "string") throw new TypeError(`Expected the lock's name to be a string; got ${show(name)}.`);
  // A string has at least as many bytes as characters, and at most three times as many.
  if (name.length * 3 > LONGEST_NAME && byteLength(name) > LONGEST_NAME) {
    throw new RangeError(
      `Expected the lock's name to be at most ${LONGEST_NAME} bytes of UTF-8; got ${byteLength(name)}. Hash long names.`,
    );
  }
  return name;
}

/** @throws TypeError if it is no function. */
export function checkCallback(callback: unknown, what = "the callback"): void {
  if (typeof callback !== "function") {
    throw new TypeError(`Expected ${what} to be a function; got ${show(callback)}.`);
  }
}

function notSupported(message: string): DOMException {
  return new DOMException(`The request is not supported: ${message}.`, "NotSupportedError");
}
