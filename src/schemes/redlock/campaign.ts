/** Votes over requests: from the first question to a fence that a majority knows, or to nothing left behind. */
import type { SchemeError } from "../../errors.ts";
import type { NodeKeys } from "../keys.ts";
import type { LockRequest } from "../scheme.ts";
import { AheadOfClock, judgeYes, noQuorum } from "./ballot.ts";
import type { Verdict, Vote, Votes } from "./ballot.ts";
import { Wish } from "./node.ts";
import type { Node, Poll, Yes } from "./node.ts";
import type { Proposals } from "./proposals.ts";
import type { Roster } from "./roster.ts";
import type { Round } from "./round.ts";

export interface Manner {
  /** Be told when the lock is released. */
  readonly wait: boolean;
  /** Take the lock from whoever holds it. */
  readonly force: boolean;
  /** Ask all nodes at once. */
  readonly everywhere: boolean;
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
  /** By token: what was won, and not all nodes have been asked yet. */
  readonly #fresh = new Map<string, Round<Node, Vote, Verdict>>();

  constructor(roster: Roster, proposals: Proposals) {
    this.#roster = roster;
    this.#proposals = proposals;
  }

  /** What was not won has been taken back on every node that may have granted it, also later. */
  async run(request: LockRequest, keys: NodeKeys, manner: Manner): Promise<Outcome> {
    const first = await this.#attempt(request, keys, manner);
    if (typeof first.won === "number") return first;
    const refusals = [...first.votes.values()].flatMap(refusal);
    if (refusals.length === 0) return first;
    // The nodes' clocks are behind ours: propose by theirs.
    for (const { micros } of refusals) this.#proposals.refused(micros);
    return this.#attempt(request, keys, manner);
  }

  /** The nodes that may know the token. Those that do not will not be asked any more. */
  end(token: string): readonly Node[] {
    const { nodes } = this.#roster;
    const round = this.#fresh.get(token);
    if (!round) return nodes;
    this.#fresh.delete(token);
    round.stop();
    return round.asked;
  }

  /** One round, and a second one only where the fences of a majority differ. */
  async #attempt(request: LockRequest, keys: NodeKeys, manner: Manner): Promise<Outcome> {
    const { token, ttl, lock } = request;
    const { nodes } = this.#roster;
    this.end(token);
    const wish = new Wish(token, ttl, this.#proposals.next(), manner.wait, manner.force);
    const round = this.#roster.vote(lock, wish, manner.everywhere, {
      // Who has won does not wait: where somebody else holds, it is not to be told.
      ask: (node, poll) => node.vote(keys, poll.isFollowed ? wish.quiet() : wish, poll),
      followed: () => this.#fresh.delete(token),
    });
    const { result, votes } = await round.outcome;
    let outcome: Outcome;
    if (result.kind === "raise") outcome = await this.#raise(token, ttl, keys, votes, result.fence);
    else
      outcome = {
        won: result.kind === "granted" ? result.fence : result.kind,
        votes,
        error: () => noQuorum(nodes, votes),
      };
    if (typeof outcome.won === "number") {
      this.#proposals.drawn(outcome.won);
      if (round.isFollowed) this.#fresh.set(token, round);
      return outcome;
    }
    round.stop();
    for (const node of round.asked) {
      // Nobody waits for this release: telling of it would only make contenders ask at once, and split again.
      if (votes.get(node)?.kind !== "held") node.drop(keys, token, { tell: false, ttl });
    }
    return outcome;
  }

  /** Bring the largest fence of the votes to a majority, where the lock is still ours. */
  async #raise(token: string, ttl: number, keys: NodeKeys, votes: Votes<Node, Vote>, fence: number): Promise<Outcome> {
    const { nodes } = this.#roster;
    const raised = await this.#roster.ask(
      ttl,
      (node, poll: Poll<Yes>) => {
        const vote = votes.get(node);
        if (vote?.kind === "failed") poll.count(node, vote);
        else if (vote?.kind !== "granted") poll.count(node, { kind: "no" });
        else if (vote.fence === fence) poll.count(node, { kind: "yes" });
        else node.raise(keys, token, fence, poll);
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
