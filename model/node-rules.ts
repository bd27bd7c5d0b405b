/**
 * What a node of the redlock scheme does with votes and fences, in a few lines and without time: the rules of the model
 * in fences.ts. A test (test/redlock-rules.test.ts) runs the scripts beside them on a server.
 */

/** A vote that stands: its fence, and what the counter was before it. */
export interface Vote {
  last: number;
  readonly before: number;
}

/** What a node knows of a lock. */
export interface ModelNode {
  /** By token: that of one holder, or those of readers. */
  readonly votes: Map<number, Vote>;
  /** Whether the votes are those of readers. */
  shared: boolean;
  fence: number;
  /** All new fences must be above it. */
  readonly floor: number;
}

function mayShare(node: ModelNode, shared: boolean): boolean {
  return node.votes.size === 0 || (node.shared && shared);
}

function admit(node: ModelNode, token: number, shared: boolean, vote: Vote): number {
  node.votes.set(token, vote);
  node.shared = shared;
  return vote.last;
}

function draw(node: ModelNode, token: number, shared: boolean, proposal: number): number {
  const before = node.fence;
  node.fence = Math.max(proposal, before + 1, node.floor + 1);
  return admit(node, token, shared, { last: node.fence, before });
}

export const RULES = {
  /** Answers with the fence that is drawn; undefined if somebody else has the vote. */
  take(node: ModelNode, token: number, shared: boolean, proposal: number): number | undefined {
    const vote = node.votes.get(token);
    if (vote) return vote.last;
    return mayShare(node, shared) ? draw(node, token, shared, proposal) : undefined;
  },

  /** Who asks again gives up the vote that it had: the node decides anew. */
  bid(node: ModelNode, token: number, shared: boolean, proposal: number): number | undefined {
    RULES.giveBack(node, token);
    return RULES.take(node, token, shared, proposal);
  },

  /** A vote that has won nothing is given back, and what it raised is put back, unless others have drawn since. */
  giveBack(node: ModelNode, token: number): void {
    const vote = node.votes.get(token);
    if (vote?.last === node.fence) node.fence = vote.before;
    node.votes.delete(token);
  },

  release(node: ModelNode, token: number): void {
    node.votes.delete(token);
  },

  /** A vote gets the fence that a majority is to know, unless another may have it here. */
  raise(node: ModelNode, token: number, shared: boolean, fence: number): boolean {
    const vote = node.votes.get(token);
    if (vote && vote.before >= fence) return false;
    const mayBeAnothers = !vote || (vote.last !== node.fence && vote.last !== fence);
    if (mayBeAnothers && node.fence >= fence) return false;
    return RULES.renew(node, token, shared, fence);
  },

  /** A vote that is gone is put back if the fence says that nobody has been granted the lock since. */
  renew(node: ModelNode, token: number, shared: boolean, fence: number): boolean {
    const vote = node.votes.get(token);
    if (!vote) {
      if (!mayShare(node, shared) || node.fence > fence) return false;
      admit(node, token, shared, { last: fence, before: node.fence });
      node.fence = fence;
      return true;
    }
    if (vote.before > fence) return false;
    if (vote.last === fence) return true;
    const isHighest = node.fence === vote.last;
    // What others have raised since must not be put back with this vote, so the counter passes it.
    if (node.fence < fence) node.fence = isHighest ? fence : fence + 1;
    else if (isHighest && !node.shared) node.fence = fence;
    vote.last = fence;
    return true;
  },

  /** Another token holds in place of this one. Undefined if this one does not hold, or not like that. */
  handOver(node: ModelNode, token: number, heir: number, shared: boolean, proposal: number): number | undefined {
    const inherited = node.votes.get(heir);
    if (inherited) return inherited.last;
    if (!node.votes.has(token) || node.shared !== shared) return undefined;
    node.votes.delete(token);
    return draw(node, heir, shared, proposal);
  },

  /** The thief has the vote instead of all who had it. */
  seize(node: ModelNode, thief: number, proposal: number): number {
    const vote = node.votes.get(thief);
    if (vote) return vote.last;
    node.votes.clear();
    return draw(node, thief, false, proposal);
  },

  /** Also where it does not hold, its fence is passed, by that much: no renewal puts its vote back. */
  evict(node: ModelNode, token: number, fence: number, margin: number = 1): void {
    node.votes.delete(token);
    node.fence = Math.max(node.fence + 1, fence + margin);
  },
};
