/** All nodes are asked the same about one lease, and what they say decides it together. */
import type { Caller } from "../../caller.ts";
import type { Clock } from "../../clock.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import { SchemeError } from "../../errors.ts";
import type { Node } from "./node.ts";
import { DECIDED_WITHIN, noQuorum } from "./verdict.ts";
import type { HolderVote } from "./verdict.ts";

export type Vote = HolderVote & { readonly cause?: unknown };

/** What one node said. */
export type Heard = (vote: Vote) => void;

/** What follows from what was said so far; undefined if nothing does yet. */
export type Judge<R> = (said: readonly Vote[]) => R | undefined;

export interface Polled {
  readonly nodes: readonly Node[];
  /** Whom an error tells of: `nodes`, and those that need not be asked. */
  readonly all: readonly Node[];
  /** What takes longer, in milliseconds, does not count. */
  readonly limit: number;
  readonly clock: Clock;
}

/** Ask each node, and tell the caller of the verdict as soon as there is one; of a QuorumError if there is none. */
export function poll<R>(
  { nodes, all, limit, clock }: Polled,
  ask: (node: Node, heard: Heard) => void,
  judge: Judge<R>,
  caller: Caller<R>,
): void {
  const said = new Map<Node, Vote>();
  const end = clock.now() + Math.max(limit, DECIDED_WITHIN);
  // An error is dear to make, and mostly not needed.
  const late = (): Vote => ({ kind: "failed", cause: tooLate(limit) });
  let isOver = false;
  const look = (): void => {
    if (isOver) return;
    const verdict = judge([...said.values()]);
    if (verdict === undefined && said.size < nodes.length) return;
    isOver = true;
    timer.cancel();
    if (verdict !== undefined) return caller.answered(verdict);
    caller.failed(
      noQuorum(
        all.map((node) => {
          const vote = said.get(node);
          return [node.title, vote?.kind === "failed" ? { cause: schemeError(vote.cause) } : saidOf(vote)] as const;
        }),
      ),
    );
  };
  const heard = (node: Node, vote: Vote): void => {
    // This process may have been blocked, and the timer be behind.
    if (!said.has(node)) said.set(node, clock.now() > end ? late() : vote);
    look();
  };
  const ending = (): void => {
    for (const node of nodes) if (!said.has(node)) said.set(node, late());
    look();
  };
  const timer = clock.after(limit, ending, true);
  for (const node of nodes) ask(node, (vote) => heard(node, vote));
}

function saidOf(vote: Vote | undefined): "yes" | "no" | undefined {
  return vote?.kind === "yes" ? "yes" : vote && "no";
}

/** For a Caller: how a failure is told. */
export function failing(heard: Heard): (cause: unknown) => void {
  return (cause) => heard({ kind: "failed", cause });
}

/** What a node took too long for. */
export function tooLate(limit: number): SchemeError {
  return new SchemeError("unreachable", `No answer within ${Math.round(limit)} ms.`, [], true);
}
