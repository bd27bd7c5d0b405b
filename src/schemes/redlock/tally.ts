/** What the nodes have said to one request so far, in numbers. */
import type { Link } from "./link.ts";

export interface Tally {
  /** Nodes whose votes count. */
  readonly votes: number;
  /** Nodes that have been asked, and have not answered. */
  readonly out: number;
  readonly unasked: number;
  readonly refused: number;
  readonly failed: number;
  /** Nodes where too many wait already. */
  readonly full: number;
}

export function tally(links: readonly Link[], now: number): Tally {
  let [votes, out, unasked, refused, failed, full] = [0, 0, 0, 0, 0, 0];
  for (const link of links) {
    if (link.votesAt(now)) votes++;
    if (link.out) out++;
    if (!link.wasAsked) unasked++;
    if (link.said === "no") refused++;
    else if (typeof link.said === "object") failed++;
    if (link.isFull) full++;
  }
  return { votes, out, unasked, refused, failed, full };
}
