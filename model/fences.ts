/**
 * Fences over three nodes, as a model: votes, second rounds, votes given back and renewals that arrive at any time or
 * never, keys that vanish from under their holder, nodes that forget or come back with old data, a lock taken by force.
 * No clock is in it. Who may vote for whom in which order is the other model's business (queue.ts).
 *
 * What votes decide is asked of the scheme itself. The rules of a node are below, and a test compares the scripts with
 * them on a server.
 */
import { judgeRenewal, judgeVotes, quorumOf } from "../src/schemes/redlock/verdict.ts";
import type { Model, State } from "./explore.ts";

const NODES = 3;

/** What a node knows of a lock: who has its vote (0 for nobody), and its fence. */
export interface ModelNode {
  holder: number;
  fence: number;
}

/** What nodes do. A test runs the scripts beside these. */
export const RULES = {
  /** The fence that is drawn, and the one before it; undefined if somebody else has the vote. */
  vote(node: ModelNode, token: number, proposal: number): { drawn: number; before: number } | undefined {
    if (node.holder !== 0 && node.holder !== token) return undefined;
    const before = node.fence;
    node.fence = Math.max(proposal, node.holder === token ? before : before + 1);
    node.holder = token;
    return { drawn: node.fence, before };
  },
  /** A vote that has won nothing is given back, and what it raised is put back. */
  giveBack(node: ModelNode, token: number, drawn: number, before: number): void {
    if (node.holder !== token) return;
    node.holder = 0;
    if (node.fence === drawn) node.fence = before;
  },
  /** Only while it still has the vote. */
  raise(node: ModelNode, token: number, fence: number): boolean {
    if (node.holder !== token) return false;
    node.fence = Math.max(node.fence, fence);
    return true;
  },
  /** A key that is gone is put back if the fence says that nobody has been granted the lock since. */
  renew(node: ModelNode, token: number, fence: number): boolean {
    if ((node.holder !== 0 && node.holder !== token) || node.fence > fence) return false;
    node.holder = token;
    node.fence = fence;
    return true;
  },
  /** Also where it does not hold, its fence is passed: no renewal puts the key back. */
  evict(node: ModelNode, token: number, fence: number): void {
    node.fence = Math.max(node.fence, fence + 1);
    if (node.holder === token) node.holder = 0;
  },
};

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
  /** Requests that begin only when request 0 has been granted. */
  readonly later?: readonly number[];
  readonly vanishing?: number;
  readonly givingBack?: number;
  readonly forgetting?: number;
  /** Request 0 asks for more time once. */
  readonly extends?: boolean;
  /** Somebody takes the lock from request 0 by force. */
  readonly evicts?: boolean;
  readonly mistakes?: Mistakes;
}

const IDLE = 0;
const ASKING = 1;
const RAISING = 2;
const HOLDING = 3;
const RENEWING = 4;
const EXTENDED = 5;
const OVER = 6;
const PHASES = ["idle", "asking", "raising", "holding", "renewing", "extended", "over"];

const VOTE = 1;
const RAISE = 2;
const RENEW = 3;
const GIVE_BACK = 4;
const DROP = 5;
const QUESTIONS = ["", "vote", "raise", "renew", "give back", "drop"];

/** Places in a state, of a request: phase, proposal, fence, the largest that was granted before it began, yeses. */
const REQUEST = 5;
/** Of a node: holder, fence, the highest that it has seen of any lock, floor, forgot; then the eviction's arrival. */
const NODE = 6;
/** Of a request at a node: question, what it drew, what was before, that it counts, that the node forgot it. */
const LINK = 5;

export class FenceModel implements Model {
  readonly initial: State;
  readonly #terms: Required<Terms>;
  readonly #count: number;
  readonly #largest: number;
  readonly #columns: number;
  readonly #width: number;

  constructor(terms: Terms) {
    const defaults = { later: [], vanishing: 0, givingBack: 0, forgetting: 0, extends: false, evicts: false };
    this.#terms = { ...defaults, mistakes: {}, ...terms };
    this.#count = terms.proposals.length;
    // The largest fence that was granted, how many keys vanished, nodes forgot and votes were given back; that the lock
    // is being taken by force, and what was granted, as bits.
    this.#largest = this.#count * REQUEST;
    this.#columns = this.#largest + 7;
    this.#width = NODE + this.#count * LINK;
    this.initial = new Uint8Array(this.#columns + NODES * this.#width);
    for (let x = 0; x < NODES; x++) this.initial[this.#node(x) + 1] = this.initial[this.#node(x) + 2] = 1;
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
    const { proposals, later, extends: extend, evicts } = this.#terms;
    const at = this.#request(c);
    const phase = from[at] as number;
    const mayBegin = !later.includes(c) || from[this.#request(0)]! >= HOLDING;
    if (phase === IDLE && mayBegin) {
      for (const proposal of proposals[c] as readonly number[])
        step(`${c} proposes ${proposal}`, (to) => {
          to[at] = ASKING;
          to[at + 1] = proposal;
          to[at + 3] = to[this.#largest] as number;
          for (let x = 0; x < NODES; x++) this.#ask(to, x, c, VOTE);
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
    const isCounted = from[this.#link(x, c) + 3] === 1;
    const isAsking = from[this.#request(c)] === ASKING;
    if (isAsking && isCounted && from[this.#largest + 3]! < this.#terms.givingBack)
      step(`${c} gives a vote back`, (to) => {
        to[this.#largest + 3]!++;
        if (!this.#terms.mistakes.countsGivenBack) to[this.#link(x, c) + 3] = 0;
        this.#ask(to, x, c, GIVE_BACK);
      });
    const mayAskAgain = this.#terms.givingBack > 0 || from[this.#node(x) + 3]! > 0;
    if (isAsking && !isCounted && mayAskAgain) step(`${c} asks again`, (to) => this.#ask(to, x, c, VOTE));
  }

  #nodeSteps(from: State, x: number, step: Offer): void {
    const { vanishing, forgetting } = this.#terms;
    const at = this.#node(x);
    if (from[at] !== 0 && from[this.#largest + 1]! < vanishing)
      step("a key vanishes", (to) => {
        to[this.#largest + 1]!++;
        to[at] = 0;
      });
    if (from[this.#largest + 2]! < forgetting)
      for (let left = 0; left < from[at + 1]!; left++)
        step(`a node comes back with fence ${left}`, (to) => this.#forget(to, x, left));
    if (from[at + 4] === 1 && this.#mayReturn(from)) step("a node counts again", (to) => this.#return(to, x));
    if (from[this.#largest + 4] === 1 && from[at + 5] === 0)
      step("the theft reaches a node", (to) => {
        to[at + 5] = 1;
        const rules = { ...RULES, ...this.#terms.mistakes.rules };
        this.#apply(to, x, (node) => rules.evict(node, 1, to[2] as number));
        let reached = 0;
        for (let y = 0; y < NODES; y++) reached += to[this.#node(y) + 5] as number;
        if (reached >= quorumOf(NODES)) to[this.#largest] = Math.max(to[this.#largest] as number, to[2]! + 1);
      });
  }

  #ask(to: State, x: number, c: number, question: number): void {
    // A node that forgot is not asked for its vote until it counts again, and then above what it may have forgotten.
    if (question === VOTE && to[this.#node(x) + 4] === 1) return;
    const at = this.#request(c);
    for (let y = 0; y < NODES; y++) to[at + 1] = Math.max(to[at + 1] as number, to[this.#node(y) + 3]! + 1);
    to[this.#link(x, c)] = question;
  }

  #end(to: State, c: number): void {
    const hasWon = to[this.#request(c)]! >= HOLDING;
    to[this.#request(c)] = OVER;
    for (let x = 0; x < NODES; x++) {
      const at = this.#link(x, c);
      if (to[at] === 0) to[at] = hasWon || to[at + 3] === 0 ? DROP : GIVE_BACK;
    }
  }

  /** A node does what it is asked, and unless the answer is lost the client hears it. */
  #deliver(to: State, x: number, c: number, question: number, isLost = false): void {
    const rules = { ...RULES, ...this.#terms.mistakes.rules };
    const token = c + 1;
    const at = this.#link(x, c);
    const phase = to[this.#request(c)] as number;
    to[at] = 0;
    if (question === VOTE) {
      if (to[this.#node(x) + 4] === 1) return;
      const vote = this.#apply(to, x, (node) => rules.vote(node, token, to[this.#request(c) + 1] as number));
      if (!isLost && vote) to.set([vote.drawn, vote.before, 1, 0], at + 1);
    } else if (question === GIVE_BACK) {
      this.#apply(to, x, (node) => rules.giveBack(node, token, to[at + 1] as number, to[at + 2] as number));
    } else if (question === DROP) {
      this.#apply(to, x, (node) => void (node.holder === token && (node.holder = 0)));
    } else if (question === RAISE) {
      const fence = to[this.#request(c) + 2] as number;
      const isRaised = this.#apply(to, x, (node) => rules.raise(node, token, fence));
      if (isRaised && !isLost) to[at + 1] = fence;
    } else {
      const isRenewed = this.#apply(to, x, (node) => rules.renew(node, token, to[this.#request(c) + 2] as number));
      if (isRenewed && !isLost) to[this.#request(c) + 4]!++;
    }
    if (phase === OVER && question !== DROP && question !== GIVE_BACK) {
      to[at] = question === VOTE && !isLost && to[at + 3] === 1 ? GIVE_BACK : DROP;
      return;
    }
    if (phase === OVER) {
      to.fill(0, at, at + LINK);
      return;
    }
    this.#judge(to, c);
  }

  #judge(to: State, c: number): void {
    const at = this.#request(c);
    const phase = to[at] as number;
    if (phase === RENEWING) {
      const votes = Array.from({ length: to[at + 4] as number }, () => ({ kind: "yes" }) as const);
      if (judgeRenewal(votes, NODES) === "extended") to[at] = EXTENDED;
    } else if (phase === ASKING) {
      const counted = this.#counted(to, c);
      const drawn = counted.map((x) => to[this.#link(x, c) + 1] as number);
      const verdict = (this.#terms.mistakes.judge ?? judgeVotes)(drawn, NODES);
      if (!verdict) return;
      to[at + 2] = verdict.fence;
      if (verdict.kind === "granted") return this.#grant(to, c);
      to[at] = RAISING;
      for (const x of counted) if (to[this.#link(x, c) + 1]! < verdict.fence) to[this.#link(x, c)] = RAISE;
    } else if (phase === RAISING) {
      const raised = this.#counted(to, c).filter((x) => to[this.#link(x, c) + 1] === to[at + 2]);
      if (raised.length >= quorumOf(NODES)) this.#grant(to, c);
    }
  }

  /** The nodes whose votes it has. */
  #counted(state: State, c: number): number[] {
    return Array.from({ length: NODES }, (_, x) => x).filter((x) => state[this.#link(x, c) + 3] === 1);
  }

  #grant(to: State, c: number): void {
    const at = this.#request(c);
    const fence = to[at + 2] as number;
    to[at] = HOLDING;
    const bits = this.#largest + 5 + (fence >> 3);
    if (to[bits]! & (1 << (fence & 7))) to[at + 4] = 255;
    if (fence <= to[at + 3]!) to[at + 4] = 255;
    to[bits]! |= 1 << (fence & 7);
    to[this.#largest] = Math.max(to[this.#largest] as number, fence);
  }

  /** Its server was restarted, and has less than it had. Its connections broke. */
  #forget(to: State, x: number, left: number): void {
    const at = this.#node(x);
    to[this.#largest + 2]!++;
    to[at] = 0;
    to[at + 1] = to[at + 2] = left;
    to[at + 4] = 1;
    for (let c = 0; c < this.#count; c++) {
      const link = this.#link(x, c);
      to[link] = 0;
      if (to[link + 3] === 1) to[link + 4] = 1;
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
    for (let y = 0; y < NODES; y++) if (y !== x) floor = Math.max(floor, to[this.#node(y) + 2] as number);
    to[at + 2] = Math.max(to[at + 2] as number, floor);
    to[at + 3] = this.#terms.mistakes.noFloor ? 0 : floor;
    to[at + 4] = 0;
    for (let c = 0; c < this.#count; c++) to[this.#link(x, c) + 4] = 0;
  }

  #apply<T>(to: State, x: number, run: (node: ModelNode) => T): T {
    const at = this.#node(x);
    const node = { holder: to[at] as number, fence: to[at + 1] as number };
    const result = run(node);
    to[at] = node.holder;
    to[at + 1] = node.fence;
    to[at + 2] = Math.max(to[at + 2] as number, node.fence);
    return result;
  }

  violation(state: State): string | undefined {
    for (let c = 0; c < this.#count; c++) {
      const at = this.#request(c);
      if (state[at + 4] === 255) return "a fence is not larger than one that was granted before";
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
        const link = this.#link(x, c);
        return `${c}: ${QUESTIONS[state[link] as number]} drew ${state[link + 1]}${state[link + 3] ? " counts" : ""}`;
      });
      return `[${state[at + 4] ? "forgot " : ""}held ${state[at]} F${state[at + 1]}; ${links.join(", ")}]`;
    });
    return `${requests.join(", ")} ${nodes.join(" ")}`;
  }
}

type Offer = (step: string, run: (to: State) => void) => void;
