/** What the nodes tell of one lock, put together. */
import { TOKEN } from "../scheme.ts";
import type { LockState } from "../scheme.ts";

/** One node's answer: who holds, milliseconds left (negative: no end), the fence. "" for nothing. */
export type Look = readonly [holder: unknown, left: unknown, fence: unknown];

/** False for a key that is no lock. */
export function isLook(answer: unknown): answer is Look {
  return Array.isArray(answer) && answer[0] !== "ERR";
}

/** A lock is held by whoever holds it on a majority of all nodes, for as long as it is a majority. */
export function majorityState(lock: string, looks: readonly Look[], quorum: number): LockState {
  const byHolder = new Map<string, Look[]>();
  for (const look of looks) {
    const holder = String(look[0]);
    if (holder !== "") byHolder.set(holder, [...(byHolder.get(holder) ?? []), look]);
  }
  const [found] = [...byHolder].filter(([, its]) => its.length >= quorum);
  if (!found) return { lock, mode: undefined, holders: [], waiters: [] };
  const [value, its] = found;
  /** What a majority has at least. */
  const least = (numbers: number[]): number => numbers.sort((a, b) => b - a)[quorum - 1] as number;
  const left = least(its.map(([, each]) => (Number(each) < 0 ? Infinity : Number(each))));
  const fence = least(its.map(([, , each]) => Number(each)));
  const remaining = left === Infinity ? undefined : left;
  const holder = TOKEN.test(value)
    ? { token: value, fence: fence > 0 ? fence : undefined, remaining, label: "" }
    : { token: undefined, fence: undefined, remaining, label: "", foreign: value };
  return { lock, mode: "exclusive", holders: [holder], waiters: [] };
}
