/** All nodes are asked the same about one lease, and what they say decides it together. */
import type { Caller } from "../../caller.ts";
import type { Clock, Timer } from "../../clock.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import { SchemeError } from "../../errors.ts";
import type { Node } from "./node.ts";
import { DECIDED_WITHIN, noQuorum } from "./verdict.ts";
import type { HolderVote, Said } from "./verdict.ts";

export type Vote = HolderVote & { readonly cause?: unknown };

/** What follows from what was said so far; undefined if nothing does yet. */
export type Judge<R> = (said: readonly Vote[]) => R | undefined;

export interface Polled {
  readonly nodes: readonly Node[];
  /** The nodes that an error lists: `nodes`, and those that need not be asked. */
  readonly all: readonly Node[];
  /** What takes longer, in milliseconds, does not count. Undefined if every question ends by itself. */
  readonly limit?: number;
  readonly clock: Clock;
  /** Ask once more, instead of failing because this process was blocked and heard too late what had been said in time. */
  readonly again?: () => void;
}

/** Hears what each node says, and tells the caller the verdict as soon as there is one; a QuorumError if there is none. */
export class Poll<R> {
  readonly #polled: Polled;
  readonly #judge: Judge<R>;
  readonly #caller: Caller<R>;
  readonly #votes: Vote[] = [];
  /** Whose votes these are. */
  readonly #voters: Node[] = [];
  readonly #timer: Timer | undefined;
  readonly #end: number;
  #wasBlocked = false;
  #isOver = false;

  constructor(polled: Polled, judge: Judge<R>, caller: Caller<R>) {
    this.#polled = polled;
    this.#judge = judge;
    this.#caller = caller;
    const { clock, limit } = polled;
    this.#end = limit === undefined ? Infinity : clock.now() + Math.max(limit, DECIDED_WITHIN);
    if (limit !== undefined) this.#timer = clock.after(limit, () => this.#timeOut(limit), true);
  }

  /** Told once by each node. */
  heard(node: Node, vote: Vote): void {
    if (this.#isOver) return;
    const { clock, limit = 0 } = this.#polled;
    // This process was blocked, and the timer is behind.
    const isLate = this.#end !== Infinity && clock.now() > this.#end;
    this.#wasBlocked ||= isLate && vote.kind !== "failed";
    this.#count(node, isLate ? late(limit) : vote);
    this.#look();
  }

  #count(node: Node, vote: Vote): void {
    this.#voters.push(node);
    this.#votes.push(vote);
  }

  #timeOut(limit: number): void {
    for (const node of this.#polled.nodes) if (!this.#voters.includes(node)) this.#count(node, late(limit));
    this.#look();
  }

  #look(): void {
    const verdict = this.#judge(this.#votes);
    if (verdict === undefined && this.#votes.length < this.#polled.nodes.length) return;
    this.#isOver = true;
    this.#timer?.cancel();
    if (verdict !== undefined) return this.#caller.answered(verdict);
    const { again } = this.#polled;
    if (this.#wasBlocked && again) return again();
    this.#caller.failed(noQuorum(this.#polled.all.map((node) => [node.title, this.#saidBy(node)] as const)));
  }

  #saidBy(node: Node): Said {
    const vote = this.#votes[this.#voters.indexOf(node)];
    if (vote?.kind === "failed") return { cause: schemeError(vote.cause) };
    return vote?.kind === "yes" ? "yes" : vote && "no";
  }
}

function late(limit: number): Vote {
  return { kind: "failed", cause: tooLate(limit) };
}

/** What a node took too long for. */
export function tooLate(limit: number): SchemeError {
  return new SchemeError("unreachable", `No answer within ${Math.round(limit)} ms.`, [], true);
}
