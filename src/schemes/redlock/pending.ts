/** What a request is told while it waits, by what keeps the nodes from voting for it. */
import { CLAIM_WINDOW, EXPIRY_MARGIN, FRONT, FRONT_STEP, POKE_INTERVAL } from "../scheme.ts";
import type { Answer } from "../scheme.ts";

/** A foreign holder tells nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a vote within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;

/** Why a node does not vote for the request. */
export interface Refusal {
  readonly rank: number;
  /** Negative if its time never ends. */
  readonly left: number;
  readonly isForeign: boolean;
  readonly isShared: boolean;
  readonly holder: string;
  readonly label: string;
}

/** On how many nodes each exclusive holder holds. */
export function countHolders(refusals: readonly Refusal[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { holder } of refusals) if (holder !== "") counts.set(holder, (counts.get(holder) ?? 0) + 1);
  return counts;
}

/** Whether nothing can come of bidding: a majority is in the way, or other libraries, which take no part in it. */
export function isHeldByOthers(
  refusals: readonly Refusal[],
  holders: ReadonlyMap<string, number>,
  quorum: number,
  nodes: number,
): boolean {
  const foreign = refusals.filter(({ isForeign }) => isForeign).length;
  const shared = refusals.filter(({ isShared }) => isShared).length;
  return Math.max(shared, ...holders.values()) >= quorum || foreign > nodes - quorum;
}

/** @param hears whether pushes arrive */
export function pending(refusals: readonly Refusal[], quorum: number, hears: boolean): Answer {
  const lefts = refusals.map(({ left }) => (left < 0 ? Infinity : left)).sort((a, b) => a - b);
  const left = lefts[Math.min(quorum, lefts.length) - 1] ?? Infinity;
  const ahead = Math.max(0, ...refusals.map(({ rank }) => rank));
  const isForeign = refusals.some((each) => each.isForeign);
  const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
  const longest = isForeign && ahead === 0 ? FOREIGN_POKE : hears ? spread : DEAF_POKE;
  const pokeAfter = ahead < FRONT ? Math.min(longest, left + EXPIRY_MARGIN + ahead * FRONT_STEP) : longest;
  const [token] = [...countHolders(refusals)].sort(([, a], [, b]) => b - a)[0] ?? [];
  const of = refusals.find(({ holder }) => token !== undefined && holder === token);
  return { kind: "pending", pokeAfter, ahead, ...(of && { holder: { token: of.holder, label: of.label } }) };
}
