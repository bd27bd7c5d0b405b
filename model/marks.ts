/**
 * When a node that forgot may vote again, as a model with time: three nodes, of which the first forgets; two requests for
 * one lock, the first of which is renewed; managers that are gone as soon as they have done one thing. All that such a
 * manager knows is what the nodes have noted. Messages take any time, or are lost.
 *
 * Who may vote for whom in which order, and which fences are drawn, is the other models' business (queue.ts, fences.ts).
 * docs/decisions/042-nodes-that-forgot.md says in words what the steps below say in code.
 */
import type { Model, State } from "./explore.ts";

const NODES = 3;
const REQUESTS = 2;
const QUORUM = 2;
/** The node that forgets. The others are its witnesses. */
const FORGETFUL = 0;
const WITNESSES = [1, 2];

/** What is easily got wrong. */
export interface Mistakes {
  /** The leases are looked at as soon as the node is found. */
  readonly noWait?: boolean;
  /** One witness is enough. */
  readonly oneWitness?: boolean;
  /** What was noted is taken for true when the node has forgotten again. */
  readonly oldNotes?: boolean;
  /** What is waited for is noted on the node itself, whose clock is put right after it has started. */
  readonly ownClock?: boolean;
  /** Votes count together, however long ago they were asked for. */
  readonly lateVotes?: boolean;
  /** The node counts when the leases have been looked at, not when they are over. */
  readonly noLeases?: boolean;
}

export interface Terms {
  /** Votes count together if they were asked for within this time. All times are in steps of the clock. */
  readonly within: number;
  /** How long a lease lasts; longer than that. */
  readonly ttl: number;
  readonly forgets: number;
  readonly mistakes?: Mistakes;
}

/** What is on its way between a request and a node, or has come. */
const NOTHING = 0;
const ASKED = 1;
const ANSWERED = 2;
const COUNTED = 3;

/** Places in a state: how long each request holds, whether it has renewed, whether the node forgot, and how often. */
const RENEWED = REQUESTS;
const FORGOT = RENEWED + 1;
const FORGETS = FORGOT + 1;
const COLUMNS = FORGETS + 1;
/** Of a node: holder, how long its lease lasts; since when it has noted the absence, until when it lasts; both plus one. */
const NODE = 4;
/** Of a request at a node: what is on its way, and how long ago it was asked. */
const LINK = 2;
const WIDTH = NODE + REQUESTS * LINK;

const node = (x: number): number => COLUMNS + x * WIDTH;
const link = (x: number, c: number): number => node(x) + NODE + c * LINK;

type Offer = (step: string, run: (to: State) => void) => void;

export class MarksModel implements Model {
  readonly initial: State = new Uint8Array(COLUMNS + NODES * WIDTH);
  readonly #terms: Terms;
  readonly #mistakes: Mistakes;

  constructor(terms: Terms) {
    this.#terms = terms;
    this.#mistakes = terms.mistakes ?? {};
  }

  /** The witnesses are interchangeable. */
  normalize(state: State): void {
    const [first, second] = WITNESSES.map((x) => state.slice(node(x), node(x) + WIDTH)) as [State, State];
    for (let i = 0; i < WIDTH; i++) {
      if (first[i] === second[i]) continue;
      if (first[i]! < second[i]!) return;
      state.set(second, node(1));
      return state.set(first, node(2));
    }
  }

  next(state: State, offer: (step: string, to: State) => void): void {
    const step: Offer = (what, run) => {
      const to = state.slice();
      run(to);
      offer(what, to);
    };
    step("time passes", (to) => this.#tick(to));
    for (let c = 0; c < REQUESTS; c++) {
      for (let x = 0; x < NODES; x++) this.#linkSteps(state, x, c, step);
    }
    if (state[0]! > 0 && state[RENEWED] === 0) step("0 renews", (to) => this.#renew(to));
    if (state[FORGETS]! < this.#terms.forgets) step("the node forgets", (to) => this.#forget(to));
    if (state[FORGOT] === 1) this.#managerSteps(state, step);
  }

  #tick(to: State): void {
    const { within, ttl } = this.#terms;
    for (let c = 0; c < REQUESTS; c++) if (to[c]! > 0) to[c]!--;
    for (let x = 0; x < NODES; x++) {
      const at = node(x);
      if (to[at + 1]! > 0 && --to[at + 1]! === 0) to[at] = 0;
      if (to[at + 2]! > 0) to[at + 2] = Math.min(to[at + 2]! + 1, within + 1);
      if (to[at + 3]! > 1) to[at + 3]!--;
      for (let c = 0; c < REQUESTS; c++) {
        const way = link(x, c);
        if (to[way] === NOTHING) continue;
        const age = to[way + 1]! + 1;
        // A question may arrive at any time; an answer is of no use any more.
        if (age >= (this.#mistakes.lateVotes ? ttl : within) && to[way] !== ASKED) to[way] = to[way + 1] = 0;
        else to[way + 1] = Math.min(age, ttl);
      }
    }
  }

  #linkSteps(from: State, x: number, c: number, step: Offer): void {
    const at = link(x, c);
    const mayAsk = from[at] === NOTHING && from[c] === 0 && !(x === FORGETFUL && from[FORGOT] === 1);
    if (mayAsk && (c !== 0 || from[RENEWED] === 0)) step(`${c} asks node ${x}`, (to) => (to[at] = ASKED));
    if (from[at] === ASKED) step(`${c} reaches node ${x}`, (to) => this.#deliver(to, x, c));
    if (from[at] === ANSWERED) {
      step(`${c} hears node ${x}`, (to) => {
        to[at] = COUNTED;
        this.#judge(to, c);
      });
    }
  }

  /** It votes, or lengthens a lease. While it does not count, it remembers the lease and says that it does not count. */
  #deliver(to: State, x: number, c: number): void {
    const at = node(x);
    const way = link(x, c);
    const isAbsent = x === FORGETFUL && to[FORGOT] === 1;
    const isFree = to[at] === 0 || to[at] === c + 1;
    if (isFree) to.set([c + 1, this.#terms.ttl], at);
    const isHeard = to[way + 1]! < (this.#mistakes.lateVotes ? this.#terms.ttl : this.#terms.within);
    to[way] = isFree && !isAbsent && isHeard ? ANSWERED : NOTHING;
    if (to[way] === NOTHING) to[way + 1] = 0;
  }

  #judge(to: State, c: number): void {
    const votes = [0, 1, 2].map((x) => link(x, c)).filter((at) => to[at] === COUNTED);
    if (votes.length < QUORUM) return;
    to[c] = Math.max(to[c]!, this.#terms.ttl - Math.max(...votes.map((at) => to[at + 1]!)));
    for (const at of votes) to[at] = to[at + 1] = 0;
  }

  #renew(to: State): void {
    to[RENEWED] = 1;
    for (let x = 0; x < NODES; x++) to.set([ASKED, 0], link(x, 0));
  }

  /** What was on its way there is lost; what has been answered may still be read. */
  #forget(to: State): void {
    to[FORGETS]!++;
    to[FORGOT] = 1;
    to.fill(0, node(FORGETFUL), node(FORGETFUL) + 2);
    for (let c = 0; c < REQUESTS; c++) {
      const at = link(FORGETFUL, c);
      if (to[at] === ASKED) to[at] = to[at + 1] = 0;
    }
    // Its absence has another name now.
    if (!this.#mistakes.oldNotes) for (let x = 0; x < NODES; x++) to.fill(0, node(x) + 2, node(x) + 4);
  }

  #managerSteps(from: State, step: Offer): void {
    const { within } = this.#terms;
    const { noWait, oneWitness, ownClock, noLeases } = this.#mistakes;
    const notes = WITNESSES.map((x) => node(x) + 2);
    const isDue = (at: number): boolean => from[at]! > 0 && (!!noWait || from[at]! > within);
    const mayLook = oneWitness ? notes.some(isDue) : notes.every(isDue);
    for (const at of notes) {
      if (from[at] === 0) step("a witness notes it", (to) => (to[at] = 1));
      if (ownClock && from[at]! > 0) step("the clock is put right", (to) => (to[at] = within + 1));
      const lease = at - 1;
      if (mayLook && from[at]! > 0 && from[at + 1] === 0) {
        step("a witness notes its leases", (to) => (to[at + 1] = noLeases ? 1 : to[lease]! + 1));
      }
    }
    const isOver = (at: number): boolean => from[at + 1] === 1;
    if (oneWitness ? notes.some(isOver) : notes.every(isOver)) step("the node counts again", (to) => this.#mark(to));
  }

  #mark(to: State): void {
    to[FORGOT] = 0;
    if (!this.#mistakes.oldNotes) for (const x of WITNESSES) to.fill(0, node(x) + 2, node(x) + 4);
  }

  violation(state: State): string | undefined {
    return state[0]! > 0 && state[1]! > 0 ? "two hold" : undefined;
  }

  describe(state: State): string {
    const requests = [0, 1].map((c) => `${c} holds for ${state[c]}`);
    const nodes = [0, 1, 2].map((x) => {
      const [holder, left, noted, over] = state.slice(node(x));
      const ways = [0, 1].map(
        (c) => `${["", "asked", "answered", "counted"][state[link(x, c)]!]} ${state[link(x, c) + 1]}`,
      );
      return `[voted ${holder} for ${left}; noted ${noted} over ${over}; ${ways.join(", ")}]`;
    });
    return `${requests.join(", ")}${state[FORGOT] ? ", forgot" : ""} ${nodes.join(" ")}`;
  }
}
