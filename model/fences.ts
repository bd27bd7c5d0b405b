/**
 * Fences over three nodes, as a model: votes, second rounds, votes given back and renewals that arrive at any time or
 * never, keys that vanish from under their holder, nodes that forget or come back with old data, readers, a lock handed
 * over, taken by a thief, or taken by force. No clock is in it. Who may vote for whom in which order is the other model's
 * business (queue.ts).
 *
 * What votes decide is asked of the scheme itself. What a node does is in node-rules.ts.
 */
import { judgeRenewal, judgeVotes, quorumOf } from "../src/schemes/redlock/verdict.ts";
import type { Model, State } from "./explore.ts";
import { type ModelNode, RULES } from "./node-rules.ts";

const NODES = 3;

/** What is easily got wrong. */
export interface Mistakes {
  readonly rules?: Partial<typeof RULES>;
  readonly judge?: typeof judgeVotes;
  /** The client goes on counting on votes that it has given back. */
  readonly countsGivenBack?: boolean;
  /** A node that forgot its fences begins anew, without a floor. */
  readonly noFloor?: boolean;
  /** A node that forgot counts while leases run that it may have granted. */
  readonly noWait?: boolean;
}

export interface Terms {
  /** What each request may propose. One request for each entry. */
  readonly proposals: readonly (readonly number[])[];
  /** Requests of readers. */
  readonly shared?: readonly number[];
  /** Requests that begin only when request 0 has been granted. */
  readonly later?: readonly number[];
  /** Request 1 begins then, too, and gets the lock from request 0: it is its heir, or a thief. */
  readonly takesOver?: "heir" | "thief";
  readonly vanishing?: number;
  readonly givingBack?: number;
  readonly forgetting?: number;
  /** Who has been granted tells the other nodes. */
  readonly spreads?: boolean;
  /** Request 0 asks for more time once. */
  readonly extends?: boolean;
  /** Somebody takes the lock from request 0 by force. */
  readonly evicts?: boolean;
  readonly mistakes?: Mistakes;
}

const [IDLE, ASKING, RAISING, HOLDING, RENEWING, EXTENDED, DETACHED, DONE, FAILED] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const PHASES = ["idle", "asking", "raising", "holding", "renewing", "extended", "detached", "done", "failed"];

const [TAKE, BID, RAISE, RENEW, GIVE_BACK, RELEASE, TAKE_OVER] = [1, 2, 3, 4, 5, 6, 7];
const QUESTIONS = ["", "take", "bid", "raise", "renew", "give back", "release", "take over"];

/** Places in a state, of a request: phase, proposal, fence, the largest that was granted before it began, yeses. */
const REQUEST = 5;
/** Of a node: fence, the highest that it has seen of any lock, floor, forgot; then the eviction's arrival. */
const NODE = 5;
/**
 * Of a request at a node: question, the fence that it drew, that it counts, what it is to be raised to, that the node
 * forgot it; then what the node knows: the fence of its vote, what was before.
 */
const LINK = 7;
/** A request that broke a promise. */
const BROKEN = 255;

export class FenceModel implements Model {
  readonly initial: State;
  readonly #terms: Required<Omit<Terms, "takesOver">> & Pick<Terms, "takesOver">;
  readonly #rules: typeof RULES;
  readonly #count: number;
  readonly #largest: number;
  readonly #columns: number;
  readonly #width: number;

  constructor(terms: Terms) {
    const none = { shared: [], later: [], vanishing: 0, givingBack: 0, forgetting: 0 };
    this.#terms = { ...none, spreads: false, extends: false, evicts: false, mistakes: {}, ...terms };
    this.#rules = { ...RULES, ...terms.mistakes?.rules };
    this.#count = terms.proposals.length;
    // The largest fence that was granted, how many keys vanished, nodes forgot and votes were given back; that the lock
    // is being taken by force, and what was granted, as bits.
    this.#largest = this.#count * REQUEST;
    this.#columns = this.#largest + 7;
    this.#width = NODE + this.#count * LINK;
    this.initial = new Uint8Array(this.#columns + NODES * this.#width);
    for (let x = 0; x < NODES; x++) this.initial[this.#node(x)] = this.initial[this.#node(x) + 1] = 1;
  }

  #request(c: number): number {
    return c * REQUEST;
  }

  #node(x: number): number {
    return this.#columns + x * this.#width;
  }

  #link(x: number, c: number): number {
    return this.#node(x) + NODE + c * LINK;
  }

  /** Nodes are interchangeable. */
  normalize(state: State): void {
    const rows = Array.from({ length: NODES }, (_, x) => state.slice(this.#node(x), this.#node(x) + this.#width));
    rows.sort((a, b) => {
      for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number);
      return 0;
    });
    rows.forEach((row, x) => state.set(row, this.#node(x)));
  }

  next(state: State, offer: (step: string, to: State) => void): void {
    const step: Offer = (what, run) => {
      const to = state.slice();
      run(to);
      offer(what, to);
    };
    for (let c = 0; c < this.#count; c++) {
      this.#clientSteps(state, c, step);
      for (let x = 0; x < NODES; x++) this.#linkSteps(state, x, c, step);
    }
    for (let x = 0; x < NODES; x++) this.#nodeSteps(state, x, step);
  }

  #clientSteps(from: State, c: number, step: Offer): void {
    const { proposals, later, takesOver, extends: extend, evicts } = this.#terms;
    const at = this.#request(c);
    const phase = from[at] as number;
    const hasTaken = takesOver !== undefined && c === 1;
    const first = from[this.#request(0)] as number;
    if (phase === IDLE && (hasTaken ? first === HOLDING : !later.includes(c) || first >= HOLDING)) {
      for (const proposal of proposals[c] as readonly number[])
        step(`${c} proposes ${proposal}`, (to) => {
          to[at] = ASKING;
          to[at + 1] = proposal;
          to[at + 3] = to[this.#largest] as number;
          if (hasTaken && takesOver === "heir") to[this.#request(0)] = DETACHED;
          for (let x = 0; x < NODES; x++) this.#ask(to, x, c, hasTaken ? TAKE_OVER : TAKE);
        });
    }
    if (phase === HOLDING && extend && c === 0)
      step(`${c} renews`, (to) => {
        to[at] = RENEWING;
        // From now on nothing larger may have been granted before it is told that it still holds.
        to[at + 3] = to[this.#largest] as number;
        to[at + 4] = 0;
        for (let x = 0; x < NODES; x++) if (to[this.#link(x, c)] === 0) this.#ask(to, x, c, RENEW);
      });
    if (phase === HOLDING && evicts && c === 0 && from[this.#largest + 4] === 0)
      step("the lock is taken by force", (to) => (to[this.#largest + 4] = 1));
    if (phase >= ASKING && phase <= EXTENDED && phase !== RENEWING) step(`${c} ends`, (to) => this.#end(to, c));
  }

  #linkSteps(from: State, x: number, c: number, step: Offer): void {
    const question = from[this.#link(x, c)] as number;
    if (question !== 0) {
      step(`${QUESTIONS[question]} of ${c} reaches a node`, (to) => this.#deliver(to, x, c, question));
      step(`the answer to ${QUESTIONS[question]} of ${c} is lost`, (to) => this.#deliver(to, x, c, question, true));
      return;
    }
    const { givingBack, mistakes, shared, takesOver } = this.#terms;
    const isCounted = from[this.#link(x, c) + 2] === 1;
    const mayGiveBack = from[this.#largest + 3]! < givingBack;
    if (from[this.#request(c)] !== ASKING || (takesOver !== undefined && c === 1)) return;
    if (isCounted && mayGiveBack)
      step(`${c} gives a vote back`, (to) => {
        to[this.#largest + 3]!++;
        if (!mistakes.countsGivenBack) to[this.#link(x, c) + 2] = 0;
        this.#ask(to, x, c, GIVE_BACK);
      });
    // Readers draw larger and larger fences as they ask again, so that has an end here.
    const isEndless = shared.length > 0;
    const mayAskAgain = isEndless ? mayGiveBack : givingBack > 0 || from[this.#node(x) + 2]! > 0;
    if (!isCounted && mayAskAgain)
      step(`${c} asks again`, (to) => {
        if (isEndless) to[this.#largest + 3]!++;
        this.#ask(to, x, c, BID);
      });
  }

  #nodeSteps(from: State, x: number, step: Offer): void {
    const { vanishing, forgetting } = this.#terms;
    const at = this.#node(x);
    if (this.#isVotedFor(from, x) && from[this.#largest + 1]! < vanishing)
      step("a key vanishes", (to) => {
        to[this.#largest + 1]!++;
        this.#apply(to, x, (node) => node.votes.clear());
      });
    if (from[this.#largest + 2]! < forgetting)
      for (let left = 0; left < from[at]!; left++)
        step(`a node comes back with fence ${left}`, (to) => this.#forget(to, x, left));
    if (from[at + 3] === 1 && this.#mayReturn(from)) step("a node counts again", (to) => this.#return(to, x));
    if (from[this.#largest + 4] === 1 && from[at + 4] === 0)
      step("the eviction reaches a node", (to) => {
        to[at + 4] = 1;
        this.#apply(to, x, (node) => this.#rules.evict(node, 1, to[2] as number));
        let reached = 0;
        for (let y = 0; y < NODES; y++) reached += to[this.#node(y) + 4] as number;
        if (reached >= quorumOf(NODES)) to[this.#largest] = Math.max(to[this.#largest] as number, to[2]! + 1);
      });
  }

  #isVotedFor(from: State, x: number): boolean {
    return Array.from({ length: this.#count }, (_, c) => from[this.#link(x, c) + 5]).some((last) => last !== 0);
  }

  #ask(to: State, x: number, c: number, question: number): void {
    // A node that forgot is not asked for its vote until it counts again, and then above what it may have forgotten.
    const isVote = question === TAKE || question === BID || question === TAKE_OVER;
    if (isVote && to[this.#node(x) + 3] === 1) return;
    to[this.#link(x, c)] = question;
    to[this.#link(x, c) + 3] = question === RAISE ? (to[this.#request(c) + 2] as number) : 0;
  }

  #end(to: State, c: number): void {
    const hasWon = to[this.#request(c)]! >= HOLDING;
    to[this.#request(c)] = hasWon ? DONE : FAILED;
    for (let x = 0; x < NODES; x++) {
      const at = this.#link(x, c);
      if (to[at] === 0) to[at] = hasWon ? RELEASE : GIVE_BACK;
    }
  }

  /** A node does what it is asked, and unless the answer is lost the client hears it. */
  #deliver(to: State, x: number, c: number, question: number, isLost = false): void {
    const at = this.#link(x, c);
    to[at] = 0;
    const answer = this.#apply(to, x, (node) => this.#answer(to, node, x, c, question));
    const phase = to[this.#request(c)] as number;
    if (phase === DONE || phase === FAILED) {
      // What was on its way is followed by the release.
      if (question === GIVE_BACK || question === RELEASE) return void to.fill(0, at, at + LINK - 2);
      return void (to[at] = phase === DONE ? RELEASE : GIVE_BACK);
    }
    if (isLost || question === GIVE_BACK) return;
    if (question === RENEW) to[this.#request(c) + 4]! += answer === true && to[this.#node(x) + 3] === 0 ? 1 : 0;
    else if (question === RAISE) this.#heardRaise(to, x, c, answer === true);
    else if (typeof answer === "number") to.set([answer, 1, 0, 0], at + 1);
    this.#judge(to, c);
  }

  #answer(to: State, node: ModelNode, x: number, c: number, question: number): number | boolean | undefined | void {
    const { takesOver } = this.#terms;
    const token = c + 1;
    const shared = this.#terms.shared.includes(c);
    const rules = this.#rules;
    const [, proposal = 0, fence = 0] = to.slice(this.#request(c));
    // A node that forgot refuses its vote.
    const isAway = to[this.#node(x) + 3] === 1;
    if (question === TAKE) return isAway ? undefined : rules.take(node, token, shared, proposal);
    if (question === BID) return isAway ? undefined : rules.bid(node, token, shared, proposal);
    if (question === RAISE) return rules.raise(node, token, shared, to[this.#link(x, c) + 3] as number);
    if (question === RENEW) return rules.renew(node, token, shared, fence);
    if (question === GIVE_BACK) return rules.giveBack(node, token);
    if (question === RELEASE) return rules.release(node, token);
    if (isAway) return undefined;
    if (takesOver === "thief") return rules.seize(node, token, proposal);
    return rules.handOver(node, 1, token, shared, proposal);
  }

  /** Whoever takes over has the nodes asked once, and may count on those that had not voted, too. */
  #heardRaise(to: State, x: number, c: number, isRaised: boolean): void {
    const at = this.#link(x, c);
    if (to[this.#request(c)] === RAISING) to[this.#request(c) + 4]! += isRaised ? 1 : 0;
    else if (isRaised && to[at + 2] === 1) to[at + 1] = to[at + 3] as number;
    else to[at + 2] = 0;
    to[at + 3] = 0;
  }

  #judge(to: State, c: number): void {
    const at = this.#request(c);
    const phase = to[at] as number;
    if (phase === ASKING) this.#decide(to, c);
    else if (!isGranted(to[at + 4] as number)) return;
    else if (phase === RENEWING) to[at] = EXTENDED;
    else if (phase === RAISING) this.#grant(to, c);
  }

  #decide(to: State, c: number): void {
    const at = this.#request(c);
    const counted = Array.from({ length: NODES }, (_, x) => x).filter((x) => to[this.#link(x, c) + 2] === 1);
    const drawn = counted.map((x) => to[this.#link(x, c) + 1] as number);
    const verdict = (this.#terms.mistakes.judge ?? judgeVotes)(drawn, NODES);
    if (!verdict) return;
    to[at + 2] = verdict.fence;
    if (verdict.kind === "granted") return this.#grant(to, c);
    const takesOver = this.#terms.takesOver && c === 1;
    if (takesOver) to[at] = RAISING;
    for (let x = 0; x < NODES; x++) {
      const isBehind = counted.includes(x) && to[this.#link(x, c) + 1]! < verdict.fence;
      if (to[this.#link(x, c)] === 0 && (takesOver || isBehind)) this.#ask(to, x, c, RAISE);
    }
  }

  #grant(to: State, c: number): void {
    const at = this.#request(c);
    const fence = to[at + 2] as number;
    to[at] = HOLDING;
    const bits = this.#largest + 5 + (fence >> 3);
    const isKnown = to[bits]! & (1 << (fence & 7)) || fence <= to[at + 3]!;
    to[at + 4] = isKnown ? BROKEN : 0;
    to[bits]! |= 1 << (fence & 7);
    to[this.#largest] = Math.max(to[this.#largest] as number, fence);
    if (!this.#terms.spreads) return;
    for (let x = 0; x < NODES; x++) {
      const link = this.#link(x, c);
      const knows = to[link + 2] === 1 && to[link + 1] === fence;
      if (!knows && to[link] === 0) this.#ask(to, x, c, RENEW);
    }
  }

  /** Its server was restarted, and has less than it had. Its connections broke. */
  #forget(to: State, x: number, left: number): void {
    const at = this.#node(x);
    to[this.#largest + 2]!++;
    this.#apply(to, x, (node) => node.votes.clear());
    to[at] = to[at + 1] = left;
    to[at + 3] = 1;
    for (let c = 0; c < this.#count; c++) {
      const link = this.#link(x, c);
      to[link] = to[link + 3] = 0;
      if (to[link + 2] === 1) to[link + 4] = 1;
    }
  }

  /** No request counts any more on what the node forgot: it has been granted, and others know its fence, or is over. */
  #mayReturn(from: State): boolean {
    if (this.#terms.mistakes.noWait) return true;
    for (let c = 0; c < this.#count; c++) {
      const phase = from[this.#request(c)];
      for (let x = 0; x < NODES; x++) {
        if (from[this.#link(x, c) + 4] === 1 && (phase === ASKING || phase === RAISING)) return false;
      }
    }
    return true;
  }

  /** Whoever lets it count again has asked as many others as meet every majority that it may have been part of. */
  #return(to: State, x: number): void {
    const at = this.#node(x);
    let floor = 0;
    for (let y = 0; y < NODES; y++) if (y !== x) floor = Math.max(floor, to[this.#node(y) + 1] as number);
    to[at + 1] = Math.max(to[at + 1] as number, floor);
    to[at + 2] = this.#terms.mistakes.noFloor ? 0 : floor;
    to[at + 3] = 0;
    for (let c = 0; c < this.#count; c++) to[this.#link(x, c) + 4] = 0;
  }

  #apply<T>(to: State, x: number, run: (node: ModelNode) => T): T {
    const at = this.#node(x);
    const votes: ModelNode["votes"] = new Map();
    let shared = false;
    for (let c = 0; c < this.#count; c++) {
      const [last = 0, before = 0] = to.slice(this.#link(x, c) + 5, this.#link(x, c) + LINK);
      if (last === 0) continue;
      votes.set(c + 1, { last, before });
      shared = this.#terms.shared.includes(c);
    }
    const node: ModelNode = { votes, shared, fence: to[at] as number, floor: to[at + 2] as number };
    const result = run(node);
    to[at] = node.fence;
    to[at + 1] = Math.max(to[at + 1] as number, node.fence);
    for (let c = 0; c < this.#count; c++) {
      const { last = 0, before = 0 } = votes.get(c + 1) ?? {};
      to.set([last, before], this.#link(x, c) + 5);
    }
    return result;
  }

  violation(state: State): string | undefined {
    for (let c = 0; c < this.#count; c++) {
      const at = this.#request(c);
      if (state[at + 4] === BROKEN) return "a fence is not larger than one that was granted before";
      if (state[at] === EXTENDED && state[at + 3]! > state[at + 2]!) return "a lease is extended after another grant";
    }
    return undefined;
  }

  describe(state: State): string {
    const requests = Array.from({ length: this.#count }, (_, c) => {
      const [phase, proposal, fence] = state.slice(this.#request(c), this.#request(c) + 3);
      return `${c} ${PHASES[phase as number]} p${proposal} f${fence}`;
    });
    const nodes = Array.from({ length: NODES }, (_, x) => {
      const at = this.#node(x);
      const links = Array.from({ length: this.#count }, (__, c) => {
        const [question = 0, drew, counts, , , last, before] = state.slice(this.#link(x, c), this.#link(x, c) + LINK);
        return `${c}: ${QUESTIONS[question]} drew ${drew}${counts ? " counts" : ""}, vote ${last} (${before})`;
      });
      return `[${state[at + 3] ? "forgot " : ""}F${state[at]}; ${links.join(", ")}]`;
    });
    return `${requests.join(", ")} ${nodes.join(" ")}`;
  }
}

function isGranted(yeses: number): boolean {
  const votes = Array.from({ length: yeses }, () => ({ kind: "yes" }) as const);
  return judgeRenewal(votes, NODES) === "extended";
}

type Offer = (step: string, run: (to: State) => void) => void;
