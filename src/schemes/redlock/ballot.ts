/** Votes of several nodes, and what they decide. The rules are pure functions, so that they can be explored exhaustively. */
import { messageOf } from "../../drivers/server-errors.ts";
import { QuorumError, SchemeError } from "../../errors.ts";
import type { NodeVote } from "../../errors.ts";

/** What a node answered to the wish to hold. */
export type Vote =
  | { readonly kind: "granted"; readonly fence: number; readonly victim?: string }
  | { readonly kind: "held"; readonly left: number; readonly holder: string };

export interface Failure {
  readonly kind: "failed";
  readonly cause: unknown;
}

/** What a majority decided: a grant; to raise the fences of those that granted; or that there is none. */
export type Verdict =
  | { readonly kind: "granted"; readonly fence: number }
  | { readonly kind: "raise"; readonly fence: number }
  | { readonly kind: "held" }
  | { readonly kind: "no-quorum" };

/** So many nodes are a majority. Any two majorities share a node. */
export function quorumOf(nodes: number): number {
  return Math.floor(nodes / 2) + 1;
}

/**
 * Who holds, and with which fence. A majority that granted the same fence decides at once: each of its nodes had a
 * smaller one before. Where a majority granted different fences the largest has to be brought to all of them.
 * Undefined as long as the votes that are out can still decide it.
 */
export function judgeVotes(votes: Iterable<Vote | Failure>, nodes: number): Verdict | undefined {
  const quorum = quorumOf(nodes);
  const equal = new Map<number, number>();
  let granted = 0;
  let highest = 0;
  let held = 0;
  let failed = 0;
  for (const vote of votes) {
    if (vote.kind === "granted") {
      granted++;
      highest = Math.max(highest, vote.fence);
      const count = (equal.get(vote.fence) ?? 0) + 1;
      if (count >= quorum) return { kind: "granted", fence: vote.fence };
      equal.set(vote.fence, count);
    } else if (vote.kind === "held") held++;
    else failed++;
  }
  if (granted >= quorum) return { kind: "raise", fence: highest };
  if (failed > nodes - quorum) return { kind: "no-quorum" };
  return held + failed > nodes - quorum ? { kind: "held" } : undefined;
}

/** `yes`, `no` and failed votes of a question that a majority must say yes to. */
export function judgeYes(
  votes: Iterable<{ readonly kind: "yes" | "no" | "failed" }>,
  nodes: number,
): "yes" | "no" | "no-quorum" | undefined {
  const quorum = quorumOf(nodes);
  const count = { yes: 0, no: 0, failed: 0 };
  for (const { kind } of votes) count[kind]++;
  if (count.yes >= quorum) return "yes";
  if (count.failed > nodes - quorum) return "no-quorum";
  return count.no + count.failed > nodes - quorum ? "no" : undefined;
}

/**
 * Whether a lock was held until it was released, by the answers of those of all `nodes` that were asked for it: no
 * longer if it is gone from so many that the others are no majority.
 */
export function judgeRelease(
  votes: Iterable<{ readonly kind: "yes" | "no" | "unsure" | "failed" }>,
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

/** What a round of questions is asked of. */
export interface Voter {
  readonly title: string;
}

/** Votes in the order in which they came. */
export type Votes<N, V> = ReadonlyMap<N, V | Failure>;

/** A node refuses a fence too far ahead of its clock: one wild clock would carry all later fences away. */
export class AheadOfClock extends SchemeError {
  /** The node's clock. */
  readonly micros: number;

  constructor(fence: number, micros: number) {
    const seconds = Math.round((fence - micros) / 1e6);
    super(
      "server",
      `The fence ${fence} is ${seconds} s ahead of its clock. Set the clocks of nodes and clients.`,
      [],
      true,
    );
    this.micros = micros;
  }
}

/** Too few nodes did their part. Says how each of them voted. */
export function noQuorum<N extends Voter, V extends { readonly kind: string }>(
  nodes: readonly N[],
  votes: Votes<N, V>,
): QuorumError {
  const told = nodes.map((node): NodeVote => {
    const vote = votes.get(node);
    if (!vote) return { node: node.title, vote: "unknown" };
    if (isFailure(vote)) return { node: node.title, vote: "failed", cause: vote.cause };
    return { node: node.title, vote: vote.kind === "granted" || vote.kind === "yes" ? "yes" : "no" };
  });
  const failures = told.filter(({ vote }) => vote === "failed");
  const transient = failures.some(({ cause }) => !(cause instanceof SchemeError) || cause.transient);
  const codes = new Set(failures.map(({ cause }) => (cause as SchemeError).code));
  // What all say, and will say again, is the reason.
  const [code = "no-quorum"] = transient || codes.size > 1 ? [] : codes;
  const list = told.map(({ node, vote, cause }) => `${node}: ${vote}${cause ? ` (${said(cause)})` : ""}`).join("; ");
  const remedy = transient
    ? "Bring the nodes back, or, if they are only slow, use a longer ttl or nodeTimeout."
    : "What the nodes say tells what to do.";
  return new QuorumError(
    code,
    `No majority of the ${nodes.length} nodes: expected ${quorumOf(nodes.length)} to do their part; ${list}. ${remedy}`,
    told,
    transient,
  );
}

function isFailure(vote: { readonly kind: string }): vote is Failure {
  return vote.kind === "failed";
}

function said(cause: unknown): string {
  return messageOf(cause).replace(/\.$/, "");
}
