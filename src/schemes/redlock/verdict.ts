/** What the votes of several nodes decide. Pure functions, so that model/ can explore what follows from them. */
import { messageOf } from "../../drivers/server-errors.ts";
import { QuorumError, SchemeError } from "../../errors.ts";
import type { NodeVote } from "../../errors.ts";

/**
 * Answers count together only if their questions were asked within that time, in milliseconds: then every lease that a
 * node had a part in is known to the others that long after the node has forgotten it.
 */
export const DECIDED_WITHIN = 2_000;

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
  const [first] = drawn;
  if (first === undefined || drawn.length < quorum) return undefined;
  // Nearly always.
  if (drawn.every((each) => each === first)) return { kind: "granted", fence: first };
  const sorted = drawn.toSorted((a, b) => a - b);
  // The smallest that will do: a minority whose clocks are far ahead is left out.
  const fence = sorted[quorum - 1] as number;
  const known = sorted.filter((each) => each === fence).length;
  return { kind: known >= quorum ? "granted" : "raise", fence };
}

/**
 * What a node says to a holder: its lease is longer; or not, because `holder` has the lock there, or has had it ("").
 * `unsure` if a release finds nothing, perhaps because it was sent twice.
 */
export type HolderVote =
  { readonly kind: "yes" } | { readonly kind: "no" | "unsure"; readonly holder: string } | { readonly kind: "failed" };

/**
 * Whether a lease is longer. Only a majority can end it: a holder whose majority stands keeps its lease until its
 * deadline, whatever the others say. Undefined if the votes decide neither.
 */
export function judgeRenewal(votes: Iterable<HolderVote>, nodes: number): "extended" | "stolen" | "gone" | undefined {
  const quorum = quorumOf(nodes);
  let [yes, no, others] = [0, 0, 0];
  for (const vote of votes) {
    if (vote.kind === "yes") yes++;
    if (vote.kind !== "no") continue;
    no++;
    if (vote.holder !== "") others++;
  }
  if (yes >= quorum) return "extended";
  // So many that those which might still say yes are no majority.
  if (no <= nodes - quorum) return undefined;
  return others * 2 > no ? "stolen" : "gone";
}

/** Whether a lock was held until it was released, by the answers of the nodes that were asked for it. */
export function judgeRelease(
  votes: Iterable<Pick<HolderVote, "kind">>,
  asked: number,
  nodes: number,
): "released" | "gone" | "unsure" | "no-quorum" | undefined {
  const quorum = quorumOf(nodes);
  const count = { yes: 0, no: 0, unsure: 0, failed: 0 };
  for (const { kind } of votes) count[kind]++;
  if (count.yes >= quorum) return "released";
  if (count.no > asked - quorum) return "gone";
  if (count.failed > nodes - quorum) return "no-quorum";
  return count.yes + count.no + count.unsure + count.failed === asked ? "unsure" : undefined;
}

/** What is known of a node when too few have done their part: yes, no, or why not; undefined if it has not answered. */
export type Said = "yes" | "no" | { readonly cause: unknown } | undefined;

/** Too few nodes did their part. Says how each of them voted. */
export function noQuorum(votes: readonly (readonly [node: string, said: Said])[]): QuorumError {
  const told = votes.map(([node, said]): NodeVote => {
    if (said === undefined) return { node, vote: "unknown" };
    return typeof said === "string" ? { node, vote: said } : { node, vote: "failed", cause: said.cause };
  });
  const failures = told.filter(({ vote }) => vote === "failed");
  const transient =
    failures.length === 0 || failures.some(({ cause }) => !(cause instanceof SchemeError) || cause.transient);
  const codes = new Set(failures.map(({ cause }) => (cause as SchemeError).code));
  // What all say, and will say again, is the reason.
  const [code = "no-quorum"] = transient || codes.size > 1 ? [] : codes;
  const list = told.map(({ node, vote, cause }) => `${node}: ${vote}${cause ? ` (${shown(cause)})` : ""}`).join("; ");
  const remedy = transient
    ? "Bring the nodes back, or, if they are only slow, use a longer ttl or nodeTimeout."
    : "What the nodes say tells what to do.";
  const expected = `expected ${quorumOf(told.length)} to do their part`;
  return new QuorumError(
    code,
    `No majority of the ${told.length} nodes: ${expected}; ${list}. ${remedy}`,
    told,
    transient,
  );
}

function shown(cause: unknown): string {
  return messageOf(cause).replace(/\.$/, "");
}
