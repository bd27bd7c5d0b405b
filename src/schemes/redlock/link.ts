/** One request at one node: what was asked there, what the node said, and the vote that counts. */
import type { Caller } from "../../caller.ts";
import { unknownReply } from "../../drivers/replies.ts";
import { SchemeError } from "../../errors.ts";
import type { NodeKeys } from "../keys.ts";
import type { Item } from "./call.ts";
import type { Node } from "./node.ts";
import type { Refusal } from "./pending.ts";
import type { Said } from "./verdict.ts";

export type How = "take" | "bid" | "back" | "raise";

/** A claim at one node. */
export class Link {
  readonly node: Node;
  /** The question that is out. A vote counts only in answer to the latest one. */
  out: Asked | undefined;
  wasAsked = false;
  /** Its connection broke under the latest question. */
  wasLost = false;
  /** A question was sent to it, so it may know the claim. */
  mayKnow = false;
  /** The number of the latest question, and when it was asked. */
  number = 0;
  askedAt = 0;
  vote: { last: number; readonly until: number } | undefined;
  /** The ticket behind all that it has told of; 0 if it has voted. */
  highest: number | undefined;
  said: Said;
  refusal: Refusal | undefined;
  isFull = false;
  /** A vote of it was taken by force. */
  isRobbed = false;
  /** The node has answered that the claim is given up. */
  isReleased = false;
  /** A vote was pushed in answer to the question that is out. */
  isOvertaken = false;

  constructor(node: Node) {
    this.node = node;
  }

  /** Whether it votes for the claim at that time. */
  votesAt(now: number): boolean {
    return this.vote !== undefined && this.vote.until > now;
  }

  /** What it has said, unless its vote is over. */
  saidBy(now: number): Said {
    if (this.said !== "yes" || this.votesAt(now)) return this.said;
    return { cause: new SchemeError("unreachable", "Its vote came too late to count.", [], true) };
  }

  /** Its question was answered with what keeps the node from voting for it. */
  refused(reply: readonly unknown[]): void {
    this.said = "no";
    const [rank, left, kind, holder, label] = reply;
    this.isFull = rank === "full";
    if (this.isFull) return;
    this.refusal = {
      rank: Number(rank),
      left: Number(left),
      isForeign: Number(kind) === 1,
      isShared: Number(kind) === 2,
      holder: String(holder),
      label: String(label),
    };
  }
}

/** Who asked, and hears the answer. */
export interface Asking {
  readonly keys: NodeKeys;
  readonly isOver: boolean;
  /** The node has answered, though it is over. */
  late(link: Link): void;
  sent(link: Link): void;
  heard(link: Link, asked: Asked, reply: unknown): void;
  failed(link: Link, asked: Asked, cause: unknown): void;
}

/** A question that is out at one node. */
export class Asked implements Item {
  readonly args: readonly string[];
  readonly how: How;
  readonly insists: boolean;
  /** The last fence of the grant in sight, that a raise brings to the node. */
  readonly last: number;
  #isSent = false;
  readonly #claim: Asking;
  readonly #link: Link;

  constructor(claim: Asking, link: Link, how: How, args: readonly string[], insists: boolean, last: number) {
    this.args = args;
    this.how = how;
    this.#claim = claim;
    this.#link = link;
    this.insists = insists;
    this.last = last;
  }

  get keys(): NodeKeys {
    return this.#claim.keys;
  }

  get isOver(): boolean {
    return this.#claim.isOver;
  }

  get isSent(): boolean {
    return this.#isSent;
  }

  set isSent(sent: boolean) {
    this.#isSent = sent;
    this.#claim.sent(this.#link);
  }

  answered(reply: unknown): void {
    if (isVote(reply)) this.#claim.heard(this.#link, this, reply);
    else this.failed(unknownReply(reply));
  }

  failed(error: unknown): void {
    this.#claim.failed(this.#link, this, error);
  }
}

/** What the scripts answer: a number, or a list with what keeps the node from voting, of which the first three are numbers. */
function isVote(reply: unknown): boolean {
  if (!Array.isArray(reply)) return isWhole(reply);
  return reply[0] === "full" || (reply.length >= 3 && reply.slice(0, 3).every(isWhole));
}

function isWhole(reply: unknown): boolean {
  if (typeof reply === "string" ? reply === "" : !["number", "bigint"].includes(typeof reply)) return false;
  return Number.isSafeInteger(Number(reply));
}

/** A lease is made longer at one node. */
export class Renewal implements Item {
  readonly keys: NodeKeys;
  readonly args: readonly string[];
  insists = false;
  readonly #claim: Asking;
  readonly #link: Link;
  readonly #caller: Caller<unknown>;

  constructor(claim: Asking, link: Link, args: readonly string[], caller: Caller<unknown>) {
    this.keys = claim.keys;
    this.args = args;
    this.#claim = claim;
    this.#link = link;
    this.#caller = caller;
  }

  get isOver(): boolean {
    return this.#claim.isOver;
  }

  get isSent(): boolean {
    return this.#link.mayKnow;
  }

  set isSent(_: boolean) {
    this.#link.mayKnow = true;
  }

  answered(reply: unknown): void {
    if (this.#claim.isOver) this.#claim.late(this.#link);
    this.#caller.answered(reply);
  }

  failed(error: unknown): void {
    this.#caller.failed(error);
  }
}
