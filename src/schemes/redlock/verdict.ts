/** What the votes of several nodes decide. Pure functions, so that model/ can explore what follows from them. */

/** That many nodes are a majority. Any two majorities share a node. */
export function quorumOf(nodes: number): number {
  return Math.floor(nodes / 2) + 1;
}

/**
 * The fence of a grant, by the fences that nodes drew when they voted for it; undefined if too few did. A majority
 * must know the fence and have had only smaller ones before it: `raise` says that some of them must be told it first.
 */
export function judgeVotes(
  drawn: readonly number[],
  nodes: number,
): { readonly kind: "granted" | "raise"; readonly fence: number } | undefined {
  const quorum = quorumOf(nodes);
  if (drawn.length < quorum) return undefined;
  const sorted = drawn.toSorted((a, b) => a - b);
  // The smallest that will do: a minority whose clocks are far ahead is left out.
  const fence = sorted[quorum - 1] as number;
  const known = sorted.filter((each) => each === fence).length;
  return { kind: known >= quorum ? "granted" : "raise", fence };
}

/** What a node says to a holder: its lease is longer; or not, for `holder` has the lock there, or has had it ("") */
export type RenewalVote =
  { readonly kind: "yes" } | { readonly kind: "no"; readonly holder: string } | { readonly kind: "failed" };

/**
 * Whether a lease is longer. Only a majority can end it: a holder whose majority stands keeps its lease until its
 * deadline, whatever the others say. Undefined if the votes decide neither.
 */
export function judgeRenewal(votes: Iterable<RenewalVote>, nodes: number): "extended" | "stolen" | "gone" | undefined {
  const quorum = quorumOf(nodes);
  const byHolder = new Map<string, number>();
  let [yes, no, most] = [0, 0, 0];
  for (const vote of votes) {
    if (vote.kind === "yes") yes++;
    if (vote.kind !== "no") continue;
    no++;
    const count = (byHolder.get(vote.holder) ?? 0) + 1;
    byHolder.set(vote.holder, count);
    if (vote.holder !== "") most = Math.max(most, count);
  }
  if (yes >= quorum) return "extended";
  if (no < quorum) return undefined;
  return most >= quorum ? "stolen" : "gone";
}
