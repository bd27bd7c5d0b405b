/**
 * The queue over the quorum, as a model: three nodes, a few requests, messages that take any time or are lost, clients
 * that crash, nodes that forget. Fences are the other model's business (fences.ts).
 *
 * Time is not in it, only what clocks are trusted with: a node's vote ends no earlier than its client's belief in it.
 * docs/decisions/041-a-queue-over-the-quorum.md says in words what the steps below say in code.
 */
import type { Model, State } from "./explore.ts";

const NODES = 3;
const QUORUM = 2;

/** What a request is at. */
const IDLE = 0;
const ASKING = 1;
const QUEUED = 2;
const HOLDING = 3;
const LEAVING = 4;
const DONE = 5;
const DEAD = 6;
const PHASES = ["idle", "asking", "queued", "holding", "leaving", "done", "dead"];

/** What is on its way to a node. */
const TAKE = 1;
const BID = 2;
const GIVE_BACK = 3;
const RENEW = 4;
const RELEASE = 5;
const QUESTIONS = ["", "take", "bid", "give back", "renew", "release"];

/** What is on its way back. A take that came too late is told the highest ticket that the node has seen. */
const YES = 1;
const NO = 2;
const HIGHEST = 3;

/** The client counts on the node's vote. */
const VOTE = 1;
/** The node has pushed a grant, in answer to the latest question, and the client has not heard it. */
const GRANTED = 2;
/** The node has forgotten the vote that the client counts on. */
const FORGOTTEN = 4;
const RELEASED = 8;

/** What is easily got wrong. */
export interface Mistakes {
  /** A push counts though the request has asked again since. */
  readonly staleGrants?: boolean;
  /** A request that asks again does not give up the vote that it has. */
  readonly keepsVote?: boolean;
  /** A node moves its vote to a smaller ticket by itself. */
  readonly noConsent?: boolean;
  /** A ticket is drawn from the first node that answers. */
  readonly oneTicket?: boolean;
  /** A free node votes for whoever comes, whoever waits. */
  readonly noQueue?: boolean;
  /** A node that forgot counts at once. */
  readonly noMark?: boolean;
  /** One of three nodes is enough. */
  readonly noQuorum?: boolean;
  /** The vote for a client that crashed never ends. */
  readonly noExpiry?: boolean;
  /** A vote ends at the node while its client still counts on it. */
  readonly earlyExpiry?: boolean;
}

export interface Terms {
  /** The manager of each request: a manager's second request begins when its first is over. */
  readonly managers: readonly number[];
  /** Which requests are shared. */
  readonly shared?: readonly number[];
  readonly crashes?: number;
  readonly forgets?: number;
  /** A live client's vote may end before it has used it. */
  readonly lapses?: boolean;
  /**
   * When a client draws a ticket and asks again: at any time, wherever it likes, so often; or as ours does, everywhere,
   * when nothing else can happen.
   */
  readonly asks: number | "ours";
  /** Answers take their time. Otherwise only questions and pushes do, and answers are heard at once. */
  readonly lateAnswers?: boolean;
  /** Requests begin with these tickets, without having asked for one. */
  readonly tickets?: readonly number[];
  readonly mistakes?: Mistakes;
}

export class QueueModel implements Model {
  readonly initial: State;
  readonly #terms: Required<Terms>;
  readonly #count: number;
  /** Bits of the requests that are shared. */
  readonly #shared: number;
  /** Where the nodes begin in a state, and how long each is. */
  readonly #columns: number;
  readonly #width: number;
  /** How often each manager has overtaken request 0 since that was known to a majority. */
  readonly #overtaken: number;
  /** How many crashes, how many nodes that forgot. */
  readonly #faults: number;
  readonly #layout: Layout;

  constructor(terms: Terms) {
    this.#terms = {
      shared: [],
      crashes: 0,
      forgets: 0,
      lapses: false,
      lateAnswers: false,
      tickets: [],
      mistakes: {},
      ...terms,
    };
    this.#count = terms.managers.length;
    this.#shared = this.#terms.shared.reduce((bits, each) => bits | (1 << each), 0);
    // Of each request: phase, ticket, how often it has asked again.
    this.#overtaken = 3 * this.#count;
    this.#faults = this.#overtaken + 3;
    this.#columns = this.#faults + 2;
    // Of each node: holders, queue, whose record is of its latest question, highest ticket, whether it forgot. Then, of
    // each request there: question, answer, highest ticket heard of (plus one), flags.
    this.#width = 5 + 4 * this.#count;
    this.#layout = {
      request: (c) => 3 * c,
      node: (x) => this.#columns + x * this.#width,
      link: (x, c) => this.#columns + x * this.#width + 5 + 4 * c,
    };
    this.initial = new Uint8Array(this.#columns + NODES * this.#width);
  }

  /** Nodes are interchangeable. */
  normalize(state: State): void {
    const { length } = state;
    const width = this.#width;
    for (let i = this.#columns + width; i < length; i += width) {
      for (let at = i; at > this.#columns && this.#isLess(state, at, at - width); at -= width) {
        for (let j = at; j < at + width; j++) {
          const swap = state[j] as number;
          state[j] = state[j - width] as number;
          state[j - width] = swap;
        }
      }
    }
  }

  #isLess(state: State, a: number, b: number): boolean {
    for (let j = 0; j < this.#width; j++) {
      const difference = (state[a + j] as number) - (state[b + j] as number);
      if (difference !== 0) return difference < 0;
    }
    return false;
  }

  next(state: State, offer: (step: string, to: State) => void): void {
    const step: Offer = (what, run) => {
      const to = new Step(state.slice(), this.#layout);
      run(to);
      offer(what, to.state);
    };
    const from = new Step(state, this.#layout);
    let isQuiet = true;
    for (let c = 0; c < this.#count; c++) {
      for (let x = 0; x < NODES; x++) if (this.#messages(from, x, c, step)) isQuiet = false;
    }
    for (let c = 0; c < this.#count; c++) this.#clientSteps(from, c, isQuiet, step);
    for (let x = 0; x < NODES; x++) this.#nodeSteps(from, x, isQuiet, step);
  }

  /** What is on its way between a request and a node arrives. False if nothing is. */
  #messages(from: Step, x: number, c: number, step: Offer): boolean {
    const phase = from.phase(c);
    const question = from.question(x, c);
    const answer = from.answer(x, c);
    if (question !== 0 && answer === 0) {
      step(`${QUESTIONS[question]} of ${c} reaches a node`, (to) => this.#deliver(to, x, c, question));
    }
    if (answer !== 0) step(`${c} hears a node`, (to) => this.#hear(to, x, c, question, answer));
    const isPushed = from.has(x, c, GRANTED) && (question === 0 || !!this.#terms.mistakes.staleGrants);
    if (isPushed) {
      step(`a grant is pushed to ${c}`, (to) => {
        to.clear(x, c, GRANTED);
        if (phase === QUEUED) to.set(x, c, VOTE);
        this.#countVotes(to, c);
      });
    }
    return question !== 0 || isPushed;
  }

  #clientSteps(from: Step, c: number, isQuiet: boolean, step: Offer): void {
    const { managers, crashes, asks } = this.#terms;
    const phase = from.phase(c);
    if (phase === DEAD || phase === DONE) return;
    if (phase !== IDLE && from.faults(this.#faults) < crashes) step(`${c} crashes`, (to) => this.#crash(to, c));
    if (phase === IDLE) {
      const earlier = managers.findIndex((manager, i) => i < c && manager === managers[c] && from.phase(i) < LEAVING);
      if (earlier < 0) step(`${c} begins`, (to) => this.#begin(to, c));
    } else if (phase === HOLDING) {
      step(`${c} releases`, (to) => this.#leave(to, c));
    } else if (asks === "ours" && !isQuiet) {
      return;
    } else if (phase === ASKING && this.#mayDraw(from, c)) {
      step(`${c} draws a ticket`, (to) => this.#draw(to, c));
    } else if (phase === QUEUED && asks === "ours") {
      step(`${c} asks again`, (to) => this.#askAll(to, c));
    } else if (phase === QUEUED) {
      for (let x = 0; x < NODES && from.asked(c) < (asks as number); x++) {
        if (from.question(x, c) !== 0 || from.forgot(x)) continue;
        step(`${c} bids again`, (to) => this.#ask(to, x, c, BID, 1));
        if (from.has(x, c, VOTE)) step(`${c} gives a vote back`, (to) => this.#ask(to, x, c, GIVE_BACK, 1));
      }
    }
  }

  #begin(to: Step, c: number): void {
    const ticket = this.#terms.tickets[c];
    if (ticket !== undefined) {
      to.setPhase(c, QUEUED);
      to.setTicket(c, ticket);
      return this.#askAll(to, c);
    }
    to.setPhase(c, ASKING);
    for (let x = 0; x < NODES; x++) if (!to.forgot(x)) to.send(x, c, TAKE);
  }

  /** Nobody reads what comes back. */
  #crash(to: Step, c: number): void {
    to.addFault(this.#faults);
    to.setPhase(c, DEAD);
    for (let x = 0; x < NODES; x++) {
      to.setKnown(x, c, 0);
      to.clear(x, c, VOTE | GRANTED | FORGOTTEN | RELEASED);
      if (to.answer(x, c) !== 0) to.done(x, c);
    }
  }

  #mayDraw(from: Step, c: number): boolean {
    let heard = 0;
    for (let x = 0; x < NODES; x++) if (from.known(x, c) > 0) heard++;
    return heard >= (this.#terms.mistakes.oneTicket ? 1 : QUORUM);
  }

  /** One more than the highest that a majority has seen. */
  #draw(to: Step, c: number): void {
    let highest = 0;
    for (let x = 0; x < NODES; x++) {
      highest = Math.max(highest, to.known(x, c) - 1);
      to.setKnown(x, c, 0);
    }
    to.setPhase(c, QUEUED);
    to.setTicket(c, highest + 1);
    this.#askAll(to, c);
  }

  #askAll(to: Step, c: number): void {
    for (let x = 0; x < NODES; x++) if (to.question(x, c) === 0 && !to.forgot(x)) this.#ask(to, x, c, BID, 0);
  }

  /** Whoever asks no longer counts on what it has there: the node decides anew. */
  #ask(to: Step, x: number, c: number, question: number, counts: number): void {
    const { mistakes } = this.#terms;
    to.countAsked(c, counts);
    if (!mistakes.keepsVote) to.clear(x, c, VOTE | FORGOTTEN);
    if (!mistakes.staleGrants) {
      to.clear(x, c, GRANTED);
      to.setFresh(x, c, false);
    }
    to.send(x, c, question);
  }

  #hear(to: Step, x: number, c: number, question: number, answer: number): void {
    const phase = to.phase(c);
    to.done(x, c);
    if (question === RELEASE) return this.#released(to, x, c);
    if (phase === LEAVING) return to.send(x, c, RELEASE);
    if (question === TAKE && phase === ASKING) to.setKnown(x, c, answer === YES ? 1 : answer - HIGHEST + 1);
    if (answer === YES) {
      to.set(x, c, VOTE);
      to.clear(x, c, FORGOTTEN);
    } else if (question !== RENEW) to.clear(x, c, VOTE | FORGOTTEN);
    this.#countVotes(to, c);
  }

  #released(to: Step, x: number, c: number): void {
    to.clear(x, c, VOTE | GRANTED | FORGOTTEN);
    to.set(x, c, RELEASED);
    for (let y = 0; y < NODES; y++) if (!to.has(y, c, RELEASED)) return;
    to.setPhase(c, DONE);
    to.setTicket(c, 0);
    to.countAsked(c, -to.asked(c));
    for (let y = 0; y < NODES; y++) to.clear(y, c, RELEASED);
  }

  /** Whoever has the votes of a majority holds, and renews at all nodes. */
  #countVotes(to: Step, c: number): void {
    const phase = to.phase(c);
    if (phase !== ASKING && phase !== QUEUED) return;
    let votes = 0;
    for (let x = 0; x < NODES; x++) if (to.has(x, c, VOTE)) votes++;
    if (votes < (this.#terms.mistakes.noQuorum ? 1 : QUORUM)) return;
    if (c !== 0 && to.phase(0) === QUEUED && this.#isKnown(to)) {
      to.state[this.#overtaken + (this.#terms.managers[c] as number)]!++;
    }
    if (c === 0) for (let m = 0; m < 3; m++) to.state[this.#overtaken + m] = 0;
    to.setPhase(c, HOLDING);
    for (let x = 0; x < NODES; x++) {
      to.setKnown(x, c, 0);
      if (to.question(x, c) === 0) to.send(x, c, RENEW);
    }
  }

  /** A majority of the nodes has request 0 in its queue, or has voted for it there. */
  #isKnown(to: Step): boolean {
    let nodes = 0;
    for (let x = 0; x < NODES; x++) {
      if ((to.queue(x) | to.holders(x)) & 1 && to.highest(x) >= to.ticket(0)) nodes++;
    }
    return nodes >= QUORUM;
  }

  #leave(to: Step, c: number): void {
    to.setPhase(c, LEAVING);
    for (let x = 0; x < NODES; x++) if (to.question(x, c) === 0) to.send(x, c, RELEASE);
  }

  #deliver(to: Step, x: number, c: number, question: number): void {
    const isVote = question === TAKE || question === BID || question === GIVE_BACK;
    if (isVote && to.forgot(x)) return to.done(x, c);
    const answer = this.#answer(to, x, c, question);
    if (to.phase(c) === DEAD) to.done(x, c);
    else if (this.#terms.lateAnswers) to.setAnswer(x, c, answer);
    else this.#hear(to, x, c, question, answer);
  }

  #answer(to: Step, x: number, c: number, question: number): number {
    const me = 1 << c;
    if (question === TAKE) {
      if (this.#fits(to, x, c) && to.queue(x) === 0) to.admit(x, me);
      return (to.holders(x) & me) !== 0 ? YES : HIGHEST + to.highest(x);
    }
    if (question === RENEW) {
      if (this.#fits(to, x, c)) to.admit(x, me);
      return (to.holders(x) & me) !== 0 ? YES : NO;
    }
    if (question === RELEASE) {
      to.drop(x, me);
      this.#promote(to, x, -1);
      return YES;
    }
    return this.#decide(to, x, c, question === BID);
  }

  /** A request that waits asks: it gives up the vote that it had, and has one if it is the first now. */
  #decide(to: Step, x: number, c: number, isBid: boolean): number {
    const { mistakes } = this.#terms;
    const me = 1 << c;
    if ((to.holders(x) & me) !== 0 && mistakes.keepsVote) return YES;
    const had = (to.holders(x) & me) !== 0;
    to.drop(x, me);
    to.enqueue(x, c);
    if (mistakes.noQueue && isBid && this.#fits(to, x, c)) to.admit(x, me);
    else if (isBid || (had && this.#first(to, x) !== c)) this.#promote(to, x, c);
    const head = this.#first(to, x);
    if (mistakes.noConsent && head >= 0) {
      for (let v = 0; v < this.#count; v++) {
        if (to.holders(x) === 1 << v && to.phase(v) === QUEUED && to.ticket(v) > to.ticket(head)) to.drop(x, 1 << v);
      }
      this.#promote(to, x, c);
    }
    return (to.holders(x) & me) !== 0 ? YES : NO;
  }

  /** The first in the queue has the vote, and hears of it unless it is the one that asks. */
  #promote(to: Step, x: number, asker: number): void {
    for (;;) {
      const head = this.#first(to, x);
      if (head < 0) return;
      if (to.phase(head) === DEAD || to.phase(head) === DONE) {
        to.drop(x, 1 << head);
        continue;
      }
      if (!this.#fits(to, x, head)) return;
      to.admit(x, 1 << head);
      if (head !== asker && (to.isFresh(x, head) || this.#terms.mistakes.staleGrants)) to.set(x, head, GRANTED);
    }
  }

  #nodeSteps(from: Step, x: number, isQuiet: boolean, step: Offer): void {
    const { forgets, lapses, asks, mistakes } = this.#terms;
    for (let c = 0; c < this.#count; c++) {
      if ((from.holders(x) & (1 << c)) !== 0 && (asks !== "ours" || isQuiet)) {
        const phase = from.phase(c);
        const isOver = phase === DEAD && !mistakes.noExpiry;
        if (isOver || (lapses && phase === QUEUED) || mistakes.earlyExpiry)
          step(`a vote for ${c} ends`, (to) => this.#expire(to, x, c));
      }
      if (from.has(x, c, FORGOTTEN) && from.phase(c) === QUEUED)
        step(`${c} counts no longer on what was forgotten`, (to) => to.clear(x, c, VOTE | FORGOTTEN));
    }
    if (from.faults(this.#faults + 1) < forgets && !from.forgot(x)) step("a node forgets", (to) => this.#forget(to, x));
    if (from.forgot(x) && this.#mayReturn(from, x)) step("a node counts again", (to) => to.setForgot(x, false));
  }

  /** The client's belief in the vote ends no later than the vote. */
  #expire(to: Step, x: number, c: number): void {
    to.drop(x, 1 << c);
    if (this.#terms.mistakes.earlyExpiry) return;
    to.clear(x, c, VOTE | GRANTED | FORGOTTEN);
    if (to.answer(x, c) === YES) to.setAnswer(x, c, NO);
  }

  /** The server was restarted, empty. Its connections broke, and what was on the way is lost. */
  #forget(to: Step, x: number): void {
    to.addFault(this.#faults + 1);
    to.empty(x);
    to.setForgot(x, !this.#terms.mistakes.noMark);
    for (let c = 0; c < this.#count; c++) {
      const isReleasing = to.question(x, c) === RELEASE;
      to.done(x, c);
      to.clear(x, c, GRANTED);
      if (to.has(x, c, VOTE)) to.set(x, c, FORGOTTEN);
      if (isReleasing || to.phase(c) === LEAVING) to.send(x, c, RELEASE);
    }
  }

  /** Every lease that was in use when the node forgot is over, or has been renewed since. */
  #mayReturn(from: Step, x: number): boolean {
    for (let c = 0; c < this.#count; c++) {
      const phase = from.phase(c);
      if (from.has(x, c, FORGOTTEN) && phase >= ASKING && phase <= HOLDING) return false;
    }
    return true;
  }

  /** Whether the node's vote can go to the request, beside those that have it. */
  #fits(to: Step, x: number, c: number): boolean {
    const others = to.holders(x) & ~(1 << c);
    return others === 0 || ((others | (1 << c)) & ~this.#shared) === 0;
  }

  /** The smallest ticket in the queue; of equal ones the last token, so that request 0 is overtaken if it can be. */
  #first(to: Step, x: number): number {
    let first = -1;
    for (let c = 0; c < this.#count; c++) {
      if ((to.queue(x) & (1 << c)) !== 0 && (first < 0 || to.ticket(c) <= to.ticket(first))) first = c;
    }
    return first;
  }

  violation(state: State): string | undefined {
    const at = new Step(state, this.#layout);
    let holders = 0;
    for (let c = 0; c < this.#count; c++) if (at.phase(c) === HOLDING) holders |= 1 << c;
    const isOne = (holders & (holders - 1)) === 0;
    if (!isOne && (holders & ~this.#shared) !== 0) return "two hold";
    for (let m = 0; m < 3; m++) {
      if (state[this.#overtaken + m]! > 1) return `manager ${m} overtook request 0 twice`;
    }
    return undefined;
  }

  /** Every request that lives has held. */
  isServed(state: State): boolean {
    const at = new Step(state, this.#layout);
    for (let c = 0; c < this.#count; c++) if (at.phase(c) < HOLDING) return false;
    return true;
  }

  describe(state: State): string {
    const at = new Step(state, this.#layout);
    const names = (bits: number): string => this.#terms.managers.map((_, c) => (bits & (1 << c) ? c : "")).join("");
    const requests = this.#terms.managers.map((_, c) => `${c} ${PHASES[at.phase(c)]} ticket ${at.ticket(c)}`);
    const nodes = Array.from({ length: NODES }, (_, x) => {
      const links = this.#terms.managers.map((__, c) => {
        const flags = [at.has(x, c, VOTE) && "vote", at.has(x, c, GRANTED) && "granted", QUESTIONS[at.question(x, c)]];
        return `${c}: ${flags.filter(Boolean).join(" ")}`;
      });
      return `[${at.forgot(x) ? "forgot " : ""}held ${names(at.holders(x))} queue ${names(at.queue(x))}; ${links.join(", ")}]`;
    });
    return `${requests.join(", ")} ${nodes.join(" ")}`;
  }
}

type Offer = (step: string, run: (to: Step) => void) => void;

interface Layout {
  request(c: number): number;
  node(x: number): number;
  link(x: number, c: number): number;
}

/** A state, by the names of its parts. */
class Step {
  readonly state: State;
  readonly #at: Layout;

  constructor(state: State, layout: Layout) {
    this.state = state;
    this.#at = layout;
  }

  #get(at: number): number {
    return this.state[at] as number;
  }

  phase(c: number): number {
    return this.#get(this.#at.request(c));
  }

  setPhase(c: number, phase: number): void {
    this.state[this.#at.request(c)] = phase;
  }

  ticket(c: number): number {
    return this.#get(this.#at.request(c) + 1);
  }

  setTicket(c: number, ticket: number): void {
    this.state[this.#at.request(c) + 1] = ticket;
  }

  /** How often it has asked again when it liked. */
  asked(c: number): number {
    return this.#get(this.#at.request(c) + 2);
  }

  countAsked(c: number, times: number): void {
    this.state[this.#at.request(c) + 2]! += times;
  }

  faults(at: number): number {
    return this.#get(at);
  }

  addFault(at: number): void {
    this.state[at]!++;
  }

  /** Who has the node's vote. */
  holders(x: number): number {
    return this.#get(this.#at.node(x));
  }

  queue(x: number): number {
    return this.#get(this.#at.node(x) + 1);
  }

  /** Whether the record of a request is that of its latest question: a push in answer to another is not heard. */
  isFresh(x: number, c: number): boolean {
    return (this.#get(this.#at.node(x) + 2) & (1 << c)) !== 0;
  }

  setFresh(x: number, c: number, isFresh: boolean): void {
    if (isFresh) this.state[this.#at.node(x) + 2]! |= 1 << c;
    else this.state[this.#at.node(x) + 2]! &= ~(1 << c);
  }

  /** The highest ticket that the node has seen. */
  highest(x: number): number {
    return this.#get(this.#at.node(x) + 3);
  }

  forgot(x: number): boolean {
    return this.#get(this.#at.node(x) + 4) === 1;
  }

  setForgot(x: number, forgot: boolean): void {
    this.state[this.#at.node(x) + 4] = forgot ? 1 : 0;
  }

  enqueue(x: number, c: number): void {
    const at = this.#at.node(x);
    this.state[at + 1]! |= 1 << c;
    this.state[at + 3] = Math.max(this.highest(x), this.ticket(c));
    this.setFresh(x, c, true);
  }

  admit(x: number, bit: number): void {
    const at = this.#at.node(x);
    this.state[at]! |= bit;
    this.state[at + 1]! &= ~bit;
  }

  drop(x: number, bit: number): void {
    const at = this.#at.node(x);
    this.state[at]! &= ~bit;
    this.state[at + 1]! &= ~bit;
  }

  empty(x: number): void {
    const at = this.#at.node(x);
    for (let i = 0; i < 5; i++) this.state[at + i] = 0;
  }

  question(x: number, c: number): number {
    return this.#get(this.#at.link(x, c));
  }

  send(x: number, c: number, question: number): void {
    this.state[this.#at.link(x, c)] = question;
    this.state[this.#at.link(x, c) + 1] = 0;
  }

  done(x: number, c: number): void {
    this.send(x, c, 0);
  }

  answer(x: number, c: number): number {
    return this.#get(this.#at.link(x, c) + 1);
  }

  setAnswer(x: number, c: number, answer: number): void {
    this.state[this.#at.link(x, c) + 1] = answer;
  }

  /** The highest ticket that the request has heard of there, plus one. */
  known(x: number, c: number): number {
    return this.#get(this.#at.link(x, c) + 2);
  }

  setKnown(x: number, c: number, known: number): void {
    this.state[this.#at.link(x, c) + 2] = known;
  }

  has(x: number, c: number, flag: number): boolean {
    return (this.#get(this.#at.link(x, c) + 3) & flag) !== 0;
  }

  set(x: number, c: number, flag: number): void {
    this.state[this.#at.link(x, c) + 3]! |= flag;
  }

  clear(x: number, c: number, flags: number): void {
    this.state[this.#at.link(x, c) + 3]! &= ~flags;
  }
}
