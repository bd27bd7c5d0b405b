/**
 * What an operator should look at first. Each rule compares a lock with what is usual for it, according to earlier
 * looks; a lock without a history is stuck after `after` milliseconds.
 */
import type { LockKind, ObservedHolder } from "./observation.ts";
import type { LockInfo } from "../snapshot.ts";

export type Stuck =
  /** The key of another library never expires: if its owner has gone, nobody releases it. */
  | { readonly reason: "no-expiry"; readonly for: number }
  /** One holder has held it far longer than usual. */
  | { readonly reason: "long-hold"; readonly for: number; readonly usual: number }
  /** The holders have not changed for this long, and others wait. */
  | { readonly reason: "no-progress"; readonly for: number }
  /** Nobody holds it, and yet others wait. */
  | { readonly reason: "unclaimed"; readonly for: number };

/** A hold is far beyond what is usual if it is this many times as long; a queue stands still after this many holds. */
const FAR_BEYOND = 5;
const SEVERAL_HOLDS = 3;
/** A free lock is granted to the first in the queue within this time, even if that one is dead. */
const TO_CLAIM = 20_000;

export interface Suspect {
  readonly kind: LockKind;
  readonly holders: readonly ObservedHolder[];
  readonly waiters: readonly LockInfo[];
  readonly usualHold: number | undefined;
}

/**
 * @param at now, on the clock of `since`
 * @param after the least time after which anything is stuck
 */
export function judge({ kind, holders, waiters, usualHold }: Suspect, at: number, after: number): Stuck | undefined {
  const waited = waiters[0]?.waited ?? 0;
  if (holders.length === 0) return waited > TO_CLAIM ? { reason: "unclaimed", for: waited } : undefined;
  let [longest, shortest] = [0, Infinity];
  for (const { since } of holders)
    [longest, shortest] = [Math.max(longest, at - since), Math.min(shortest, at - since)];
  if (holders.some(({ ends }) => ends === undefined)) return { reason: "no-expiry", for: longest };
  // A leader leads for as long as it can, and its candidates wait for as long.
  if (kind === "election" || kind === "job") return undefined;
  if (usualHold !== undefined && longest > Math.max(after, FAR_BEYOND * usualHold)) {
    return { reason: "long-hold", for: longest, usual: usualHold };
  }
  const still = Math.min(shortest, waited);
  if (waiters.length > 0 && still > Math.max(after, SEVERAL_HOLDS * (usualHold ?? 0))) {
    return { reason: "no-progress", for: still };
  }
  return undefined;
}
