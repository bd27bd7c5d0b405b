/** The one place where what users pass in is checked. Nothing is sent before these functions have returned. */
import type { Wish } from "./durability.ts";
import { LockError } from "./errors.ts";
import { TOKEN } from "./scheme.ts";
import type { Grant, LockMode, SchemeName, Selection } from "./scheme.ts";
import type { Wait } from "./waiting.ts";

/**
 * Who must have a grant before its holder is told of it: at least one of `replicas` and `aof`. It outlives the server
 * then, as far as those who have it do, and one of them is what takes its place.
 */
export interface DurabilityOptions {
  /** So many replicas (default 0); with `aof`, so many that have it on their disks. */
  replicas?: number | undefined;
  /**
   * The server's append-only file, on disk (default false). Needs Redis 7.2 or Valkey, and `appendonly yes`. With
   * `appendfsync always` that takes a disk's time; with `everysec` up to a second, in which the client's connection
   * does nothing else; with `no` it never happens.
   */
  aof?: boolean | undefined;
  /**
   * How long that may take, in milliseconds (1 to 4 000, less than the ttl; default 100, or 2 000 with `aof`, and never
   * more than a third of the ttl). It is waited for only where replicas or disk are late; then all that is sent over
   * the same client waits as long.
   */
  timeout?: number | undefined;
}

/** Settings of a {@link LockManager}. Durations are in milliseconds. */
export interface ManagerOptions {
  /** Stands before every key (default `"lock:"`). `""` shares keys with other libraries as they are. */
  prefix?: string | undefined;
  /** How long a grant lasts without renewal (default 30 000, at least 50). */
  ttl?: number | undefined;
  /**
   * `lua` where a client is given (the default), or `set` for servers and accounts without scripting; `redlock`, and
   * nothing else, where an array of clients is given.
   */
  scheme?: "lua" | "set" | "redlock" | undefined;
  /** Who holds, for people who look (default `host:pid:program`). */
  label?: string | undefined;
  /**
   * Scheme `redlock`: how long one server may take to vote (default: a twentieth of the ttl, but at least 100 or a
   * quarter of it, whichever is less; at most 5 000). More than a quarter of a ttl is never waited for.
   */
  nodeTimeout?: number | undefined;
  /**
   * Scheme `redlock`: leave a server that was restarted out of the votes until the largest ttl that this manager has
   * used is over (default true). It may have forgotten leases that still run, and would help to grant a lock twice.
   * Servers that write every change to disk first (`appendonly yes`, `appendfsync always`) are never left out. The
   * cost: for so long after a restart the others must carry every vote, so that of three servers none other may fail.
   * A manager knows of the restarts that it lived through, and of those it finds when it begins, where the others are
   * a majority that has been up for longer; so give all managers the same ttl.
   */
  delayRestarted?: boolean | undefined;
  /**
   * How many waiters of this process may follow one another on a lock before another process has its turn (default
   * 16). They share one place in the queue, which makes contention within a process cheap. 1: each waiter stands in
   * the queue by itself, in strict order over all processes. Only the scheme `lua` has turns.
   */
  turn?: number | undefined;
  /**
   * Tell of a grant, and count on its renewal, only when so many replicas or the disk have it (default: when the server
   * has it in memory). Where they do not in time, the grant is released and the request rejects with
   * `DurabilityError`. Give the manager a client of its own: while replicas are away, all that is sent over it waits.
   * Schemes `lua` and `set`. Requests then stand in the queue by themselves, whatever `turn`.
   */
  durability?: DurabilityOptions | undefined;
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
  /**
   * Inside the callback of a request for the same name that is `reentrant` too: take part in its lease at once (default
   * false). Both have the same fence; the lock is released when the last of them has ended.
   */
  reentrant?: boolean | undefined;
  /** As the manager's option, which it takes the place of; `null`: a grant like any other. */
  durability?: DurabilityOptions | null | undefined;
}

/** Settings of a semaphore's request. */
export interface SemaphoreOptions extends Omit<LockOptions, "mode" | "steal" | "reentrant"> {
  /** How many permits to hold (default 1, at most the semaphore's limit). All are granted at once, or none. */
  permits?: number | undefined;
}

/** What a guard compares: a lock is one, and so is what a holder passes on to others. */
export interface Fenced {
  readonly fence: number;
  readonly token: string;
}

/** Settings of a lock that is taken up. Durations are in milliseconds. */
export type AttachOptions = Pick<LockOptions, "ttl" | "renew" | "maxHold" | "label" | "durability">;

/** Settings of a candidate. Durations are in milliseconds. */
export interface ElectOptions {
  /** Ends the candidacy: a candidate stops waiting, a leader is asked to stop (`term.signal`), and the loop ends. */
  signal?: AbortSignal | undefined;
  /** How soon a crashed leader is replaced, at the latest (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /** Who leads, for people who look (default: the manager's). */
  label?: string | undefined;
}

/** Settings of an observer. */
export interface ObserveOptions {
  /** Ends the observation: the loop ends. */
  signal?: AbortSignal | undefined;
  /** How often to look, in milliseconds (default 1000, at least 50): two small commands each time. */
  interval?: number | undefined;
}

/** Settings of a job that one of many machines runs. Durations are in milliseconds. */
export interface OnceOptions {
  /** The job may take so long and no longer: then its lock is lost, and `lock.signal` aborted (at least 50). */
  atMost: number;
  /** The job is not run again for so long from its start, however short it is (default 0; at most `atMost`). */
  atLeast?: number | undefined;
  /** How soon after a crash the job may be run again, but for `atLeast` (default: the manager's, at least 50). */
  ttl?: number | undefined;
  /** Who runs it, for people who look (default: the manager's). */
  label?: string | undefined;
}

export const SHORTEST_TTL = 50;
export const LONGEST_NAME = 1024;
const LONGEST_LABEL = 256;
const LONGEST_TURN = 1_000;
const LONGEST_QUEUE = 10_000;
const MOST_PERMITS = 1_000_000;
const MOST_REPLICAS = 1_000;
/** The answer must come within the time limit of a command, {@link COMMAND_LIMIT}, over a network too. */
const LONGEST_PROOF = 4_000;
/** How long replicas may take: a round trip, and what a fork or a full disk makes of it. */
const PROOF_BY_REPLICAS = 100;
/** How long a disk may take: `appendfsync everysec` takes up to 1.02 s. */
const PROOF_BY_DISK = 2_000;

/** Options with every default filled in. */
export interface CheckedManagerOptions {
  readonly prefix: string;
  readonly ttl: number;
  readonly scheme: SchemeName | undefined;
  readonly label: string | undefined;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean | undefined;
  readonly turn: number;
  readonly durability: CheckedDurability | undefined;
}

/** Without a timeout where none was given: the default depends on a request's ttl. */
type CheckedDurability = Omit<Wish, "timeout"> & { readonly timeout: number | undefined };

/** What a request takes from its manager where it says nothing itself. */
interface Defaults {
  readonly ttl: number;
  readonly durability?: CheckedDurability | undefined;
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
  readonly limit: number | undefined;
  readonly reentrant: boolean;
  readonly durability: Wish | undefined;
}

const MANAGER_OPTIONS = new Set([
  "prefix",
  "ttl",
  "scheme",
  "label",
  "turn",
  "nodeTimeout",
  "delayRestarted",
  "durability",
]);

/** @throws TypeError for a value of the wrong kind, RangeError for one out of bounds. */
export function checkManagerOptions(options: unknown): CheckedManagerOptions {
  const given = dictionary(options, "options");
  onlyAmong(given, MANAGER_OPTIONS);
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
  const ttl = duration(given["ttl"], "ttl", SHORTEST_TTL) ?? 30_000;
  const durability = checkDurability(given["durability"]);
  if (durability === null) {
    throw new TypeError("Expected durability to be null only for a request, in place of the manager's; got null.");
  }
  wishFor(durability, ttl);
  return {
    prefix,
    ttl,
    durability,
    scheme: oneOf(given["scheme"], "scheme", ["memory", "set", "lua", "redlock"]),
    label: label(given["label"]),
    nodeTimeout: duration(given["nodeTimeout"], "nodeTimeout", 1),
    delayRestarted: flag(given["delayRestarted"], "delayRestarted"),
    turn: count(given["turn"], "turn", LONGEST_TURN) ?? 16,
  };
}

const DURABILITY_OPTIONS = new Set(["replicas", "aof", "timeout"]);

/** @throws TypeError or RangeError, also for a wish for nothing */
function checkDurability(value: unknown): CheckedDurability | null | undefined {
  if (value === undefined || value === null) return value;
  const given = dictionary(value, "durability");
  onlyAmong(given, DURABILITY_OPTIONS, "durability");
  const replicas = count(given["replicas"], "durability.replicas", MOST_REPLICAS, 0) ?? 0;
  const aof = flag(given["aof"], "durability.aof") ?? false;
  const timeout = duration(given["timeout"], "durability.timeout", 1);
  if (timeout !== undefined && timeout > LONGEST_PROOF) {
    throw new RangeError(`Expected durability.timeout to be at most ${LONGEST_PROOF} milliseconds; got ${timeout}.`);
  }
  if (replicas > 0 || aof) return { replicas, aof, timeout };
  throw new RangeError(
    "Expected durability to wish for replicas (at least 1), for aof, or for both; got neither. " +
      "For none leave it out, or give a request null.",
  );
}

/** @throws RangeError where a lease would be over before it is known to be durable */
function wishFor(durability: CheckedDurability | null | undefined, ttl: number): Wish | undefined {
  if (!durability) return undefined;
  const {
    replicas,
    aof,
    timeout = Math.min(aof ? PROOF_BY_DISK : PROOF_BY_REPLICAS, Math.floor(ttl / 3)),
  } = durability;
  if (timeout < ttl) return { replicas, aof, timeout };
  throw new RangeError(`Expected durability.timeout to be less than the ttl, ${ttl} milliseconds; got ${timeout}.`);
}

/** @throws TypeError where a wish for durability was made of a scheme that cannot tell */
export function refuseDurability(scheme: SchemeName, durability: object | undefined): void {
  if (!durability) return;
  const remedy =
    scheme === "redlock"
      ? "its grants are on a majority of servers: give each of them appendfsync always"
      : "it has neither replicas nor a disk";
  throw new TypeError(`Expected no durability for the scheme "${scheme}"; got one. Leave it out: ${remedy}.`);
}

/** What is known of a client in an array. */
interface NodeKind {
  readonly client: string;
  readonly isCluster: boolean;
  readonly keyPrefix: string;
}

/** @throws TypeError unless all are clients of single servers, of one kind, and no two the same */
export function checkNodes(clients: readonly unknown[], kinds: readonly NodeKind[]): void {
  if (clients.length === 0) {
    throw new TypeError("Expected an array of one client or more, each of a server of its own; got an array of 0.");
  }
  clients.forEach((client, i) => {
    const first = clients.indexOf(client);
    if (first < i) {
      throw new TypeError(
        `Expected each client of the array to lead to a server of its own; got the same client as node ${first + 1} and node ${i + 1}.`,
      );
    }
    const [one, kind] = [kinds[0], kinds[i]] as [NodeKind, NodeKind];
    if (kind.isCluster) {
      throw new TypeError(
        `Expected each client of the array to lead to an independent server; got a Cluster as node ${i + 1}, whose servers ` +
          "decide together. Give the Cluster's client by itself.",
      );
    }
    if (kind.client !== one.client) {
      throw new TypeError(
        `Expected clients of one library in the array; got ${one.client} as node 1 and ${kind.client} as node ${i + 1}.`,
      );
    }
    if (kind.keyPrefix !== one.keyPrefix) {
      throw new TypeError(
        `Expected clients with the same keyPrefix in the array; got ${show(one.keyPrefix)} for node 1 and ${show(kind.keyPrefix)} for node ${i + 1}.`,
      );
    }
  });
}

/** @throws TypeError where an option was given that only the scheme redlock knows */
export function refuseNodeOptions({ nodeTimeout, delayRestarted }: CheckedManagerOptions): void {
  if (nodeTimeout === undefined && delayRestarted === undefined) return;
  const option = nodeTimeout === undefined ? "delayRestarted" : "nodeTimeout";
  throw new TypeError(`Expected ${option} only with an array of clients, for the scheme "redlock"; got no array.`);
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
  manager: Defaults,
  verb: Verb,
  limit?: number,
): CheckedRequest {
  const lock = checkName(name);
  const given = dictionary(options, "options");
  const permits = checkPermits(given, limit);
  const ifAvailable = Boolean(given["ifAvailable"]) || (verb === "tryAcquire" && !given["steal"]);
  const mode = limit ? "shared" : (oneOf(given["mode"], "mode", ["exclusive", "shared"]) ?? "exclusive");
  const signal = abortSignal(given["signal"]);
  const steal = Boolean(given["steal"]);
  const ttl = duration(given["ttl"], "ttl", SHORTEST_TTL) ?? manager.ttl;
  const waitTimeout = duration(given["waitTimeout"], "waitTimeout", 0);
  const maxHold = duration(given["maxHold"], "maxHold", SHORTEST_TTL);
  const renew = flag(given["renew"], "renew") ?? true;
  const reentrant = flag(given["reentrant"], "reentrant") ?? false;
  if (verb === "acquire" && ifAvailable) {
    throw new TypeError("Expected acquire without ifAvailable, for it always waits; got it. Use tryAcquire.");
  }
  const maxQueue = count(given["maxQueue"], "maxQueue", LONGEST_QUEUE, 0);
  const onWait = given["onWait"] as CheckedRequest["onWait"];
  if (onWait !== undefined && typeof onWait !== "function") {
    throw new TypeError(`Expected onWait to be a function; got ${show(onWait)}.`);
  }
  const own = checkDurability(given["durability"]);
  const durability = wishFor(own === undefined ? manager.durability : own, Math.min(ttl, maxHold ?? ttl));
  const waits = Object.entries({ waitTimeout, maxQueue, onWait }).find(([, value]) => value !== undefined);
  if (waits && (steal || ifAvailable)) {
    const never = steal ? "steal" : verb === "tryAcquire" ? verb : "ifAvailable";
    throw new TypeError(`Expected ${waits[0]} without ${never}, which never waits; got both.`);
  }
  if (reentrant && steal) {
    throw new TypeError("Expected reentrant without steal, which takes the lock from its own context too; got both.");
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
    limit,
    reentrant,
    durability,
  };
  refuseUnsupported(request);
  return request;
}

function checkPermits(given: Record<string, unknown>, limit: number | undefined): number | undefined {
  if (limit === undefined) {
    if (given["permits"] === undefined) return undefined;
    throw new TypeError("Expected a lock's request without permits; got some. Use semaphore(name, limit).");
  }
  for (const option of ["mode", "steal", "reentrant"]) {
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

const ATTACH_OPTIONS = new Set(["ttl", "renew", "maxHold", "label", "durability"]);

/** @throws what `checkRequest` throws, and TypeError for what `detach()` did not give */
export function checkAttach(
  detached: unknown,
  options: unknown,
  { durability }: Omit<Defaults, "ttl">,
): { grant: Grant; request: CheckedRequest } {
  const { name, mode, token, fence, ttl } = dictionary(detached, "the detached lock");
  onlyAmong(dictionary(options, "options"), ATTACH_OPTIONS);
  if (typeof token !== "string" || !TOKEN.test(token) || !Number.isSafeInteger(fence)) {
    throw new TypeError(`Expected a detached lock with token and fence, as detach() gives it; got ${show(detached)}.`);
  }
  const own = duration(ttl, "the detached lock's ttl", SHORTEST_TTL) ?? SHORTEST_TTL;
  const defaults = { ttl: own, durability };
  const request = checkRequest(name, { ...dictionary(options, "options"), mode }, defaults, "tryAcquire");
  return { grant: { lock: request.lock, token, mode: request.mode, fence: fence as number }, request };
}

/** A candidacy: the options of its request. */
export interface CheckedElection {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly ttl: number;
  readonly label: string;
}

const ELECT_OPTIONS = new Set(["signal", "ttl", "label"]);

/** @throws what `checkRequest` throws, and TypeError for options that elections do not have */
export function checkElection(name: unknown, options: unknown, manager: Defaults): CheckedElection {
  onlyAmong(dictionary(options, "options"), ELECT_OPTIONS);
  const { lock, signal, ttl, label: who } = checkRequest(name, options, manager, "acquire");
  return { name: lock, signal, ttl, label: who };
}

export interface CheckedOnce {
  readonly name: string;
  readonly atMost: number;
  readonly atLeast: number;
  readonly ttl: number;
  readonly label: string;
}

const ONCE_OPTIONS = new Set(["atMost", "atLeast", "ttl", "label"]);

/** @throws what `checkRequest` throws, and TypeError or RangeError for bounds that do not fit together */
export function checkOnce(name: unknown, options: unknown, manager: Defaults & { label: string }): CheckedOnce {
  const given = dictionary(options, "options");
  onlyAmong(given, ONCE_OPTIONS);
  const { lock, ttl, label: who } = checkRequest(name, options, manager, "tryAcquire");
  const atMost = duration(given["atMost"], "atMost", SHORTEST_TTL);
  if (atMost === undefined) throw new TypeError("Expected atMost, how long the job may take at most; got undefined.");
  const atLeast = duration(given["atLeast"], "atLeast", 0) ?? 0;
  if (atLeast > atMost) {
    throw new RangeError(`Expected atLeast to be no longer than atMost, ${atMost} milliseconds; got ${atLeast}.`);
  }
  return { name: lock, atMost, atLeast, ttl: Math.min(ttl, atMost), label: who || manager.label };
}

export interface CheckedObservation {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  readonly interval: number;
}

const OBSERVE_OPTIONS = new Set(["signal", "interval"]);
const SHORTEST_INTERVAL = 50;

/** @throws TypeError or RangeError */
export function checkObservation(name: unknown, options: unknown): CheckedObservation {
  const given = dictionary(options, "options");
  onlyAmong(given, OBSERVE_OPTIONS);
  return {
    name: checkName(name),
    signal: abortSignal(given["signal"]),
    interval: duration(given["interval"], "interval", SHORTEST_INTERVAL) ?? 1_000,
  };
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

/** @throws TypeError for anything that has no fence and token */
export function checkFenced(by: unknown): Fenced {
  const { fence, token } = dictionary(by, "the holder");
  if (typeof fence !== "number" || !Number.isSafeInteger(fence) || fence < 1) {
    throw new TypeError(`Expected the holder's fence to be a whole number, as a lock has it; got ${show(fence)}.`);
  }
  if (typeof token !== "string" || token === "") {
    throw new TypeError(`Expected the holder's token to be a string, as a lock has it; got ${show(token)}.`);
  }
  return { fence, token };
}

/**
 * The command without its key, all strings.
 *
 * @throws TypeError
 */
export function checkRedisWrite(command: unknown, key: unknown, args: readonly unknown[]): string[] {
  if (typeof command !== "string") throw new TypeError(`Expected the command to be a string; got ${show(command)}.`);
  if (typeof key !== "string" || key === "") {
    throw new TypeError(`Expected the key to be a string that is not empty; got ${show(key)}.`);
  }
  const odd = args.find((each) => typeof each !== "string" && typeof each !== "number");
  if (odd !== undefined) throw new TypeError(`Expected arguments to be strings or numbers; got ${show(odd)}.`);
  return [command, ...args.map(String)];
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

export function notOverNodes(what: string): LockError {
  return unsupported(`The scheme "redlock" cannot ${what}`, 'Use one server for it, and the scheme "lua".');
}

export function unsupported(what: string, remedy: string): LockError {
  return new LockError("unsupported", `${what}. ${remedy}`);
}

function notSupported(message: string): DOMException {
  return new DOMException(`The request is not supported: ${message}.`, "NotSupportedError");
}

/** A misspelt option would otherwise be ignored in silence. */
function onlyAmong(given: Record<string, unknown>, allowed: ReadonlySet<string>, of = "options"): void {
  const stranger = Object.keys(given).find((key) => !allowed.has(key));
  if (stranger === undefined) return;
  throw new TypeError(`Expected ${of} to be among ${[...allowed].join(", ")}; got ${show(stranger)}.`);
}

function dictionary(value: unknown, name: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" && typeof value !== "function") {
    throw new TypeError(`Expected ${name} to be an object; got ${show(value)}.`);
  }
  return value as Record<string, unknown>;
}

function flag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw new TypeError(`Expected ${name} to be true or false; got ${show(value)}.`);
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

function abortSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw new TypeError(`Expected signal to be an AbortSignal; got ${show(value)}.`);
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
