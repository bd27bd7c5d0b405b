/**
 * Reads and checks the answers of the `lua` scheme's scripts. An answer of another shape is an error, never an outcome.
 */
import { checkReply, failed, readList, readNumber, readText, rows } from "../../drivers/replies.ts";
import { mismatch, QueueFullError } from "../../errors.ts";
import type { LockError } from "../../errors.ts";
import { TOKEN } from "../scheme.ts";
import type { Extension, HolderState, LockMode, LockState, Victim, WaitedFor, WaiterState } from "../scheme.ts";

/** What the script `acquire` answers. */
export type Acquired =
  | { readonly kind: "granted"; readonly fence: number; readonly wasHeld: boolean }
  | {
      readonly kind: "pending";
      readonly ticket: string;
      readonly rank: number;
      /** Milliseconds until a holder's time ends; negative if it never does. */
      readonly left: number;
      readonly isForeign: boolean;
      readonly holder: WaitedFor | undefined;
      /** The script did as much as it may in one step; the rest is for the next. */
      readonly isUnfinished: boolean;
    }
  /** More has to be cleared away before it can be said: ask again. */
  | { readonly kind: "again" }
  | { readonly kind: "busy" }
  | { readonly kind: "refused"; readonly error: LockError };

/** How a request was asked for, as far as its refusal names it. */
interface Asked {
  readonly lock: string;
  readonly limit?: number | undefined;
  readonly maxQueue?: number | undefined;
}

/** @throws SchemeError for what no script of ours answers, or says that the item failed */
export function readAcquired(reply: unknown, asked: Asked): Acquired {
  if (!Array.isArray(reply)) {
    const fence = readNumber(reply);
    return fence > 0 ? { kind: "granted", fence, wasHeld: false } : { kind: "busy" };
  }
  const [what, second, ...rest] = reply as unknown[];
  const word = readText(what);
  if (word === "ERR") throw failed(second);
  if (word === "holding") return { kind: "granted", fence: readNumber(second), wasHeld: true };
  if (word === "again") return { kind: "again" };
  const error = refusalOf(reply, asked);
  if (error) return { kind: "refused", error };
  const [left, foreign, token, label, unfinished] = rest;
  return {
    kind: "pending",
    ticket: word,
    rank: readNumber(second),
    left: readNumber(left),
    isForeign: readNumber(foreign) === 1,
    holder: token === "" ? undefined : { token: readText(token), label: readText(label) },
    isUnfinished: readNumber(unfinished) === 1,
  };
}

/** Why the request is refused, if that is what the script answered. */
export function refusalOf(reply: readonly unknown[], { lock, limit, maxQueue = 0 }: Asked): LockError | undefined {
  if (reply[0] === "full") return new QueueFullError(lock, maxQueue);
  if (reply[0] === "mismatch") return mismatch(lock, limit, readNumber(reply[1]) || undefined);
  return undefined;
}

export function readExtension(reply: unknown): Extension {
  const number = readNumber(reply);
  return number === 1 ? "extended" : number === 0 ? "gone" : "stolen";
}

/** What the script `release` answers. */
export interface Released {
  readonly wasHeld: boolean;
  /** Others wait. */
  readonly isWanted: boolean;
  /** The script let in as many as it may in one step. */
  readonly isUnfinished: boolean;
}

export function readReleased(reply: unknown): Released {
  const bits = readNumber(reply);
  return { wasHeld: (bits & 1) > 0, isWanted: (bits & 2) > 0, isUnfinished: (bits & 4) > 0 };
}

/** The holders that the script `steal` took the lock from, without foreign ones. */
export function readVictims(reply: unknown): Victim[] {
  if (reply === undefined) return [];
  return rows(reply, 2).map(([token, fence]) => ({
    token: readText(token),
    fence: readNumber(fence),
    label: "",
  }));
}

export function readState(lock: string, reply: unknown): LockState {
  const [kind, held, waiting, total] = readList(checkReply(reply));
  const waiters = rows(waiting, 5).map(readWaiter);
  // If nobody holds, those who wait know the limit.
  const limit = readText(total) === "" ? waiters[0]?.limit : readNumber(total);
  const word = readText(kind);
  return {
    lock,
    mode: word === "" ? undefined : word === "shared" ? "shared" : "exclusive",
    ...(limit !== undefined && { limit }),
    holders: rows(held, 6).map((row) => readHolder(row, word)),
    waiters: waiters.map(({ waiter }) => waiter),
  };
}

function readHolder(row: unknown[], kind: string): HolderState {
  const [token = "", fence, left, label = "", permits, held] = row.map(readText);
  // The set scheme writes bare tokens: foreign to the queue, because it pushes nothing, but one of us.
  const isForeign = kind === "foreign" && !TOKEN.test(token);
  return {
    token: isForeign ? undefined : token,
    fence: fence === "" ? undefined : readNumber(fence),
    remaining: readNumber(left) < 0 ? undefined : readNumber(left),
    label,
    ...(held !== "" && { held: readNumber(held) }),
    ...(isForeign && { foreign: token }),
    ...(permits !== "" && { permits: readNumber(permits) }),
  };
}

function readWaiter(row: unknown[]): { readonly waiter: WaiterState; readonly limit: number | undefined } {
  const [token = "", mode = "", count, label = "", waited] = row.map(readText);
  const [permits, limit] = mode.split("/").map(Number);
  const waiter = { token, waiting: readNumber(count), label, waited: readNumber(waited) };
  if (!limit) return { waiter: { ...waiter, mode: mode as LockMode }, limit: undefined };
  return { waiter: { ...waiter, mode: "shared", permits: Number(permits) }, limit };
}
