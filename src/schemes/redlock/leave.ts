/** How a token leaves a node. */
import type { NodeKeys } from "../keys.ts";
import type { Release } from "../scheme.ts";
import type { Item } from "./call.ts";
import type { Debt } from "./debts.ts";
import type { Node } from "./node.ts";
import type { Poll, Vote } from "./poll.ts";
import { judgeRelease } from "./verdict.ts";

const YES: Vote = { kind: "yes" };
const NO: Vote = { kind: "no", holder: "" };
const UNSURE: Vote = { kind: "unsure", holder: "" };

/** Its holder is done with it: the node tells whether it held there. */
export class Leave implements Item {
  readonly keys: NodeKeys;
  readonly args: readonly string[];
  insists = false;
  isSent = false;
  protected readonly node: Node;
  readonly #poll: Poll<Release>;
  readonly #drops: number;

  constructor(node: Node, poll: Poll<Release>, keys: NodeKeys, args: readonly string[]) {
    this.node = node;
    this.#poll = poll;
    this.keys = keys;
    this.args = args;
    this.#drops = node.driver.drops;
  }

  get isOver(): boolean {
    return false;
  }

  answered(reply: unknown): void {
    // If the connection was lost meanwhile, the node may have been told before.
    const no = this.#drops === this.node.driver.drops ? NO : UNSURE;
    this.#poll.heard(this.node, Number(reply) === 1 ? YES : no);
  }

  failed(cause: unknown): void {
    this.#poll.heard(this.node, { kind: "failed", cause });
  }
}

/** It is released or withdrawn: a node that does not hear of it is owed that. */
export class Withdrawal extends Leave implements Debt {
  readonly token: string;
  readonly until: number;
  readonly #left: ((node: Node) => void) | undefined;

  /** @param left told when the node has answered */
  constructor(node: Node, poll: Poll<Release>, { keys, args, token, until }: Debt, left?: (node: Node) => void) {
    super(node, poll, keys, args);
    this.token = token;
    this.until = until;
    this.#left = left;
  }

  override answered(reply: unknown): void {
    this.#left?.(this.node);
    super.answered(reply);
  }

  override failed(cause: unknown): void {
    const { keys, args, token, until } = this;
    // What was not sent is owed already.
    if (this.isSent) this.node.owe({ keys, args, token, until });
    super.failed(cause);
  }
}

/** What the nodes say together of a token that leaves them. */
export function judgeLeaving(said: readonly Vote[], asked: number, nodes: number): Release | undefined {
  const outcome = judgeRelease(said, asked, nodes);
  return outcome === "no-quorum" ? undefined : outcome;
}
