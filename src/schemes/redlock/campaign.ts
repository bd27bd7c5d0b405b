/** Votes over requests: from the first question to a fence that a majority knows, or to nothing left behind. */
import type { SchemeError } from "../../errors.ts";
import type { NodeKeys } from "../../keys.ts";
import type { LockRequest } from "../../scheme.ts";
import { AheadOfClock, judgeVotes, judgeYes, noQuorum } from "./ballot.ts";
import type { Vote, Votes } from "./ballot.ts";
import type { Node } from "./node.ts";
import type { Proposals } from "./proposals.ts";
import type { Roster } from "./roster.ts";

export interface Manner {
  /** The manager that is to be told when the lock is released; "" for none. */
  readonly client: string;
  /** Take the lock from whoever holds it. */
  readonly force: boolean;
}

/** How a vote over a request came out. */
export interface Outcome {
  /** The fence of the grant, or why there is none. */
  readonly won: number | "held" | "no-quorum";
  readonly votes: Votes<Node, Vote>;
  /** Made only where it is thrown. */
  readonly error: () => SchemeError;
}

export class Campaign {
  readonly #roster: Roster;
  readonly #proposals: Proposals;

  constructor(roster: Roster, proposals: Proposals) {
    this.#roster = roster;
    this.#proposals = proposals;
  }

  /** What was not won has been taken back on every node that may have granted it, also later. */
  async run(request: LockRequest, keys: NodeKeys, manner: Manner): Promise<Outcome> {
    const first = await this.#attempt(request, keys, manner);
    const refusals = typeof first.won === "number" ? [] : [...first.votes.values()].flatMap(refusal);
    if (refusals.length === 0) return first;
    // The nodes' clocks are behind ours: propose by theirs.
    for (const { micros } of refusals) this.#proposals.refused(micros);
    return this.#attempt(request, keys, manner);
  }

  async #attempt(request: LockRequest, keys: NodeKeys, manner: Manner): Promise<Outcome> {
    const { token, ttl } = request;
    const outcome = await this.#poll(request, keys, manner);
    if (typeof outcome.won === "number") {
      this.#proposals.drawn(outcome.won);
      return outcome;
    }
    for (const node of this.#roster.nodes) {
      // Nobody waits for this release: telling of it would only make contenders ask at once, and split again.
      if (outcome.votes.get(node)?.kind !== "held") node.drop(keys, token, false, ttl).catch(() => {});
    }
    return outcome;
  }

  /** One round, and a second one only where the fences of a majority differ. */
  async #poll({ token, ttl }: LockRequest, keys: NodeKeys, manner: Manner): Promise<Outcome> {
    const { nodes } = this.#roster;
    const wish = { token, ttl, proposal: this.#proposals.next(), ...manner };
    const { result, votes } = await this.#roster.ask(
      ttl,
      (node, open) => node.vote(keys, wish, open),
      (all) => judgeVotes(all.values(), nodes.length),
    );
    if (result.kind === "raise") return this.#raise(token, ttl, keys, votes, result.fence);
    const won = result.kind === "granted" ? result.fence : result.kind;
    return { won, votes, error: () => noQuorum(nodes, votes) };
  }

  /** Bring the largest fence of the votes to a majority, where the lock is still ours. */
  async #raise(token: string, ttl: number, keys: NodeKeys, votes: Votes<Node, Vote>, fence: number): Promise<Outcome> {
    const { nodes } = this.#roster;
    const raised = await this.#roster.ask(
      ttl,
      async (node, open) => {
        const vote = votes.get(node);
        if (vote?.kind === "failed") throw vote.cause;
        if (vote?.kind !== "granted") return { kind: "no" as const };
        return vote.fence === fence ? { kind: "yes" as const } : node.raise(keys, token, fence, open);
      },
      (all) => judgeYes(all.values(), nodes.length),
    );
    const won = raised.result === "yes" ? fence : raised.result === "no" ? "held" : "no-quorum";
    return { won, votes, error: () => noQuorum(nodes, raised.votes) };
  }
}

/** The node's refusal of a fence too far ahead of its clock, if it is one. */
function refusal(vote: { readonly kind: string; readonly cause?: unknown }): AheadOfClock[] {
  return vote.cause instanceof AheadOfClock ? [vote.cause] : [];
}
