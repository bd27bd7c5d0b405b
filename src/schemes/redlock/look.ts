/** What the nodes tell of one lock, put together. */
import { readList, readNumber, readText, rows } from "../../drivers/replies.ts";
import { TOKEN } from "../scheme.ts";
import type { HolderState, LockMode, LockState, WaiterState } from "../scheme.ts";
import { quorumOf } from "./verdict.ts";

/** One node's answer. */
export interface Look {
  readonly kind: string;
  readonly holders: readonly {
    readonly token: string;
    readonly fence: number;
    readonly left: number;
    readonly label: string;
  }[];
  readonly waiters: readonly (WaiterState & { readonly ticket: number })[];
}

export function readLook(reply: unknown): Look {
  const [kind, held, waiting] = readList(reply);
  const holders = texts(held, 3).map(([token = "", record = "", left]) => {
    const [, fence = "0", label = ""] = /^(\d+)#\d+#\d+#([^]*)$/.exec(record) ?? [];
    return { token, fence: Number(fence), left: readNumber(left), label };
  });
  const waiters = texts(waiting, 5).map(([token = "", ticket, mode, count, label = ""]) => ({
    token,
    ticket: readNumber(ticket),
    mode: mode as LockMode,
    waiting: readNumber(count),
    label,
  }));
  return { kind: String(kind), holders, waiters };
}

/** A lock is held by whoever holds it on a majority of all nodes, for as long as it is a majority; likewise who waits. */
export function majorityState(lock: string, looks: readonly Look[], nodes: number): LockState {
  const quorum = quorumOf(nodes);
  const byHolder = group(looks.flatMap(({ holders }) => holders));
  const byWaiter = group(looks.flatMap(({ waiters }) => waiters));
  const holders: HolderState[] = [];
  for (const [token, its] of byHolder) if (its.length >= quorum) holders.push(holderOf(token, its, quorum));
  const held = new Set(holders.map(({ token }) => token));
  // Some nodes have not answered, and may be among those that know it.
  const least = Math.max(1, quorum - (nodes - looks.length));
  // Who has the vote of a minority waits there no more, and yet waits.
  const waiters = [...byWaiter].filter(
    ([token, its]) => !held.has(token) && its.length + (byHolder.get(token)?.length ?? 0) >= least,
  );
  const inOrder = waiters.map(([, its]) => its[0] as (typeof its)[number]).sort((a, b) => a.ticket - b.ticket);
  const isShared = looks.some(
    ({ kind, holders: its }) => kind === "shared" && its.some(({ token }) => held.has(token)),
  );
  return {
    lock,
    mode: holders.length === 0 ? undefined : isShared ? "shared" : "exclusive",
    holders,
    waiters: inOrder.map(({ token, mode, waiting, label }) => ({ token, mode, waiting, label })),
  };
}

function holderOf(value: string, its: readonly Look["holders"][number][], quorum: number): HolderState {
  /** What a majority has at least. */
  const least = (numbers: number[]): number => numbers.sort((a, b) => b - a)[quorum - 1] as number;
  const left = least(its.map((each) => (each.left < 0 ? Infinity : each.left)));
  const fence = least(its.map((each) => each.fence));
  const remaining = left === Infinity ? undefined : left;
  return TOKEN.test(value)
    ? { token: value, fence: fence > 0 ? fence : undefined, remaining, label: its[0]?.label ?? "" }
    : { token: undefined, fence: undefined, remaining, label: "", foreign: value };
}

function group<T extends { readonly token: string }>(all: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const each of all) groups.set(each.token, [...(groups.get(each.token) ?? []), each]);
  return groups;
}

function texts(reply: unknown, width: number): string[][] {
  return rows(reply, width).map((row) => row.map(readText));
}
