import type { Durability, Wish } from "./durability.ts";

/** The kind of an error. Match on it rather than on messages; docs/troubleshooting.md has a heading for each. */
export type LockErrorCode =
  /** The lock was not granted within `waitTimeout`. */
  | "timeout"
  /** The lock is no longer held. */
  | "lost"
  /** A guarded write came too late: a later holder has already written. */
  | "stale"
  /** There is no such detached lock any more. */
  | "gone"
  /** The lock has been released already, so it cannot be extended, downgraded or detached. */
  | "released"
  /** The manager has been closed. */
  | "closed"
  /** The scheme in use cannot do what was asked. */
  | "unsupported"
  /** More requests were waiting than `maxQueue` allows. */
  | "queue-full"
  /** The name is in use as something else: as a lock, as a semaphore, or as one with another limit. */
  | "mismatch"
  /** Code that must run under a lock does not. */
  | "not-held"
  /** A request waits for the callback that it is made in. Only reported, on `holdfast:trouble`. */
  | "deadlock"
  /** The computation of a shared value failed, in another call of `share`. */
  | "compute-failed"
  /** A shared value is larger than `maxSize`. */
  | "too-large"
  /** No client library is installed to open a URL with. */
  | "no-client"
  | SchemeErrorCode;

/** Why a server, or the client library in front of it, failed. */
export type SchemeErrorCode =
  /** No answer in time, or no connection. */
  | "unreachable"
  /** The server requires another user or password, or the user lacks a right. */
  | "not-authorized"
  /** The server does not let this user run scripts. */
  | "no-scripting"
  /** A replica, or a primary that may not write now. */
  | "read-only"
  /** The server is reading its data from disk. */
  | "loading"
  /** The server is at its memory limit. */
  | "out-of-memory"
  /** The lock's key holds something that is not a lock. */
  | "wrong-type"
  /** The client is used for something else: it is subscribed to channels, in a transaction, or in MONITOR mode. */
  | "client-busy"
  /** The client uses another database than the one it was created with. */
  | "wrong-database"
  /** Answers take longer than the ttl. */
  | "too-slow"
  /** Of several servers, too few answered to decide anything. */
  | "no-quorum"
  /** Two of the clients lead to the same server. */
  | "same-server"
  /** Too few replicas, or no disk, acknowledged a grant or its extension in time. */
  | "not-durable"
  /** The server may delete held locks when its memory is full. Only reported, on `holdfast:trouble`. */
  | "evicts"
  /** The server cannot report how durable a write is, or this user may not ask. */
  | "no-wait"
  /** Anything else the server or the client said. */
  | "server";

/**
 * The parent of every error of holdfast that the Web Locks specification does not name. Its message ends with `help`.
 */
export class LockError extends Error {
  override readonly name: string = "LockError";
  readonly code: LockErrorCode;

  constructor(code: LockErrorCode, message: string, options?: ErrorOptions) {
    super(`${message}${pointerTo(code)}`, options);
    this.code = code;
  }

  /**
   * Where the documentation says what to do: a page of this package, and the code's heading on it. `holdfast explain`
   * prints what is there.
   */
  get help(): string {
    return helpFor(this.code);
  }
}

function helpFor(code: LockErrorCode): string {
  return `holdfast/docs/troubleshooting.md#${code}`;
}

/** What each message ends with. In parentheses, so that it can follow any sentence. */
function pointerTo(code: LockErrorCode): string {
  return ` (${helpFor(code)})`;
}

/** What an error says, without the address at its end: it becomes part of a longer message. */
export function sentenceOf(error: Error): string {
  const { message } = error;
  const pointer = error instanceof LockError ? pointerTo(error.code) : "";
  return message.endsWith(pointer) ? message.slice(0, message.length - pointer.length) : message;
}

/** The lock was not granted within `waitTimeout`. The request has left the queue. */
export class LockTimeoutError extends LockError {
  override readonly name = "LockTimeoutError";

  /** @param reason why it was not granted, if known: a sentence without its full stop */
  constructor(lock: string, waited: number, reason: string, options?: ErrorOptions) {
    super("timeout", `Lock ${quote(lock)} was not granted within ${waited} ms: ${reason}.`, options);
  }
}

/** More requests were waiting than `maxQueue` allows. The request never entered the queue. */
export class QueueFullError extends LockError {
  override readonly name = "QueueFullError";

  constructor(lock: string, maxQueue: number) {
    super(
      "queue-full",
      `Too many requests are already waiting for ${quote(lock)} (maxQueue: ${maxQueue}). ` +
        "Try again later, or raise maxQueue.",
    );
  }
}

/** @param wanted @param used the limit of a semaphore; undefined for a lock */
export function mismatch(lock: string, wanted: number | undefined, used: number | undefined): LockError {
  const kind = (limit: number | undefined): string => (limit === undefined ? "a lock" : `a semaphore of ${limit}`);
  const remedy =
    wanted === undefined || used === undefined
      ? "A name is either a lock or a semaphore while it is held or waited for. Use another name."
      : "All who use a semaphore at the same time must give it the same limit.";
  return new LockError(
    "mismatch",
    `Expected ${quote(lock)} to be ${kind(wanted)}; it is in use as ${kind(used)}. ${remedy}`,
  );
}

/** Why a lock was lost. */
export type LossReason =
  /** The lease expired before it was renewed, or the key disappeared from the server. */
  | "expired"
  /** Another client has it: someone took it with `steal` or by force, or the server lost its data and granted it again. */
  | "stolen"
  /**
   * The lease expired while the server could not be reached to renew it, or too few replicas acknowledged the renewal
   * (then `cause` is a DurabilityError).
   */
  | "unreachable"
  /** Its manager was closed. Until its callback has ended the lease is renewed, for as long as `close()` allows. */
  | "closed";

/** The lock was lost. Stop the work it protects; a guarded resource refuses the old fence. */
export class LockLostError extends LockError {
  override readonly name = "LockLostError";
  readonly reason: LossReason;
  /** How long the event loop was blocked, in milliseconds, if that is why the lease could not be renewed in time. */
  readonly blocked: number | undefined;

  constructor(lock: string, fence: number, reason: LossReason, options: { cause?: unknown; blocked?: number } = {}) {
    const { cause, blocked } = options;
    super("lost", `Lost lock ${quote(lock)} (fence ${fence}): ${whyLost(reason, cause, blocked)}`, { cause });
    this.reason = reason;
    this.blocked = blocked;
  }
}

function whyLost(reason: LossReason, cause: unknown, blocked: number | undefined): string {
  if (blocked !== undefined) {
    const long = `the event loop was blocked for ${Math.round(blocked)} ms, so the lease was not renewed in time`;
    return `${long}. Stop the work the lock protects; split long synchronous work, or use a longer ttl.`;
  }
  const stop = "Stop the work it protects.";
  if (reason === "expired") {
    return `the lease expired before it could be renewed, or the key disappeared from the server. ${stop}`;
  }
  if (reason === "stolen") {
    return `another client has it now: it was taken by force, or the server lost its data. ${stop}`;
  }
  if (reason === "closed") return `its LockManager was closed. ${stop}`;
  return cause instanceof DurabilityError
    ? `too few replicas or disks acknowledged its renewal in time. ${stop}`
    : `the server could not be reached to renew it. ${stop}`;
}

/**
 * Whether the error means that a lock was lost: a `LockLostError`, or the `AbortError` that the Web Locks specification
 * requires for a theft.
 */
export function isLockLost(error: unknown): boolean {
  return error instanceof LockLostError || (error instanceof DOMException && error.cause instanceof LockLostError);
}

/** No callback around the running code holds the lock. */
export function notHeld(lock: string): LockError {
  return new LockError(
    "not-held",
    `Expected this code to run under the lock ${quote(lock)}; it does not. Call it in the callback of request(${quote(lock)}, …).`,
  );
}

/** The holder has released the lock itself. */
export function released(lock: string): LockError {
  return new LockError("released", `Lock ${quote(lock)} has already been released.`);
}

/** A server, or the client library in front of it, failed. `cause` (and `causes`, per node) hold what it said. */
export class SchemeError extends LockError {
  override readonly name: string = "SchemeError";
  declare readonly code: SchemeErrorCode;
  readonly causes: readonly unknown[];
  /** True if trying again may help: after a lost connection, or while a server is loading or failing over. */
  readonly transient: boolean;

  constructor(code: SchemeErrorCode, message: string, causes: readonly unknown[], transient = false) {
    super(code, message, { cause: causes[0] });
    this.causes = causes;
    this.transient = transient;
  }
}

const NOBODY: Durability = { replicas: 0, aof: false };

/**
 * A grant, or its extension, was made, but too few servers acknowledged it in time for the `durability` required. A
 * grant has been released again; a lease that was extended is held until its deadline.
 */
export class DurabilityError extends SchemeError {
  override readonly name = "DurabilityError";
  readonly required: Durability;
  /** What had acknowledged it when the time was over. */
  readonly reached: Durability;

  constructor(lock: string, doing: "grant" | "extend", { replicas, aof, timeout }: Wish, reached: Durability = NOBODY) {
    const by = (level: Durability, disk: string): string =>
      `${level.replicas} ${level.replicas === 1 ? "replica" : "replicas"}${aof ? ` and ${disk}` : ""}`;
    const expected = by({ replicas, aof }, "the server's disk");
    const came = by(reached, reached.aof ? "the disk" : "no disk");
    const [what, outcome] =
      doing === "grant" ? ["the grant", "it was released again"] : ["an extension", "its deadline stays as it was"];
    super(
      "not-durable",
      `Expected ${what} of ${quote(lock)} to be acknowledged by ${expected} within ${timeout} ms; by then ${came} had it, so ${outcome}. ` +
        "Check that replicas are connected and disks can be written (INFO), or allow a longer timeout.",
      [],
    );
    this.required = { replicas, aof };
    this.reached = reached;
  }
}

/** One server's answer, of several. */
export interface NodeVote {
  /** Its client's position in the array that was passed to the manager: `node 2 of 3`. */
  readonly node: string;
  /**
   * `yes`; `no`: somebody else holds the lock there; `failed`: see `cause`; `unknown`: it had not answered when
   * the others had decided.
   */
  readonly vote: "yes" | "no" | "failed" | "unknown";
  readonly cause?: unknown;
}

/** Too few of several servers answered as needed. `votes` has each server's vote, as far as it was known by then. */
export class QuorumError extends SchemeError {
  override readonly name = "QuorumError";
  readonly votes: readonly NodeVote[];

  constructor(code: SchemeErrorCode, message: string, votes: readonly NodeVote[], transient: boolean) {
    const causes = votes.filter(({ vote }) => vote === "failed").map(({ cause }) => cause);
    super(code, message, causes, transient);
    this.votes = votes;
  }
}

/** The scheme in use cannot do what was asked. */
export function unsupported(what: string, remedy: string): LockError {
  return new LockError("unsupported", `${what}. ${remedy}`);
}

/** For what only one server can do. */
export function notOverNodes(what: string): LockError {
  const remedy = 'An array of clients, even of one, means Redlock. Pass a single client to use the scheme "lua".';
  return unsupported(`The scheme "redlock" cannot ${what}`, remedy);
}

/** Characters that a terminal may obey, or that cannot be seen. JSON escapes only some of them. */
const ODD = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A name for messages: quoted, with what could do harm escaped, and shortened if it is long. */
export function quote(name: string): string {
  return escapeOdd(JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}…` : name));
}

/** What others said, as messages show it: on one line, and nothing that a terminal would obey. */
export function escapeOdd(text: string): string {
  return text.replace(ODD, (odd) =>
    Array.from({ length: odd.length }, (_, i) => `\\u${odd.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
  );
}
