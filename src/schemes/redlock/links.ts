/** One request at all nodes: what each of them has said so far, and what that comes to. */
import { Link } from "./link.ts";
import type { Node } from "./node.ts";
import { quorumOf } from "./verdict.ts";
import type { Said } from "./verdict.ts";

/** In numbers of nodes. */
export interface Tally {
  /** They vote for it, and the vote counts. */
  readonly votes: number;
  /** They have been asked, and have not answered. */
  readonly out: number;
  readonly unasked: number;
  readonly refused: number;
  readonly failed: number;
  /** Too many wait there already. */
  readonly full: number;
}

export class Links {
  /** In the order in which they are asked. */
  readonly #nodes: readonly Node[];
  readonly #quorum: number;
  /** Those that have been asked: a lock that is released soon is known to no others. */
  readonly #known: Link[] = [];

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
    this.#quorum = quorumOf(nodes.length);
  }

  get known(): readonly Link[] {
    return this.#known;
  }

  get all(): readonly Link[] {
    return this.#atLeast(this.#nodes.length);
  }

  /** Those that are asked first. */
  get majority(): readonly Link[] {
    const links = this.#atLeast(this.#quorum);
    return links.length === this.#quorum ? links : links.slice(0, this.#quorum);
  }

  /** A question is out. */
  get isOut(): boolean {
    return this.#known.some(({ out }) => out);
  }

  /** A question has been put, and has not been sent. */
  get isUnsent(): boolean {
    return this.#known.some(({ out }) => out && !out.isSent);
  }

  /** Where the request may be known. */
  get informed(): Node[] {
    const nodes: Node[] = [];
    for (const { mayKnow, node } of this.#known) if (mayKnow) nodes.push(node);
    return nodes;
  }

  to(node: Node): Link {
    const isIts = (link: Link): boolean => link.node === node;
    return this.#known.find(isIts) ?? (this.all.find(isIts) as Link);
  }

  /** Those whose votes count at that time. */
  votes(now: number): Link[] {
    return this.#known.filter((link) => link.votesAt(now));
  }

  /** Too few votes have come, and enough may still come: as long as nobody refuses, no more need be known. */
  isOpen(now: number): boolean {
    let votes = 0;
    let out = 0;
    for (const link of this.#known) {
      if (link.votesAt(now)) votes++;
      else if (link.out) out++;
    }
    return votes < this.#quorum && votes + out >= this.#quorum;
  }

  /** All are asked anew, and what they have said does not count. */
  restart(): void {
    for (const link of this.#known) {
      link.vote = link.out = undefined;
      link.wasAsked = false;
    }
  }

  said(nodes: readonly Node[], now: number): (readonly [node: string, said: Said])[] {
    return nodes.map((node) => [node.title, this.to(node).saidBy(now)] as const);
  }

  tally(now: number): Tally {
    let votes = 0;
    let out = 0;
    let refused = 0;
    let failed = 0;
    let full = 0;
    let unasked = this.#nodes.length - this.#known.length;
    for (const link of this.#known) {
      if (link.votesAt(now)) votes++;
      if (link.out) out++;
      if (!link.wasAsked) unasked++;
      if (link.said === "no") refused++;
      else if (typeof link.said === "object") failed++;
      if (link.isFull) full++;
    }
    return { votes, out, unasked, refused, failed, full };
  }

  #atLeast(count: number): readonly Link[] {
    for (let i = this.#known.length; i < count; i++) this.#known.push(new Link(this.#nodes[i] as Node));
    return this.#known;
  }
}
