/**
 * The protocol of scheme `lua` on one server, as a model: a queue with tickets, grants that are pushed and claimed,
 * renewals, withdrawals, theft, and requests of one process that hand a lock on. Names are those of the code: the server's
 * steps are src/schemes/lua/scripts/*.lua, a client's are src/waiting and src/leases.
 *
 * Messages to the server and its answers keep their order on a connection; pushes come on another and overtake them, or
 * are lost. No clock is in it. That a client's deadline comes before the server's becomes a rule: the server ends no lease
 * that its holder still rightly believes in; and an answer or a push whose grant the server has ended comes too late.
 */
import type { Model, State } from "./explore.ts";

/** What is easily got wrong. */
export type Mistake =
  /** The client believes for longer than the server keeps the lease. */
  | "late deadline"
  /** Whoever is let in by a push believes in the whole ttl without having asked for it. */
  | "no claim"
  /** A push counts from when it arrives, though its grant is over by then. */
  | "late push counts"
  /** A newcomer takes a free lock past those who wait. */
  | "overtaking"
  /** A release, or a withdrawal, lets nobody in. */
  | "release without promote"
  | "withdraw without promote"
  /** A dead head is let in like a living one, and never passed over. */
  | "no liveness test"
  /** Whoever was told to wait never asks again. */
  | "no poke"
  /** After amnesia the counter begins anew. */
  | "counter without clock"
  /** A release removes whoever holds. */
  | "release without token"
  /** A turn goes on after the notice that the lock was stolen. */
  | "turn after theft"
  /** A notice of loss that overtook the answer is forgotten. */
  | "forgets revoked"
  /** A push begins a request that is over. */
  | "begins again";

export interface Terms {
  /** One client each. A thief takes the lock by force, once. */
  readonly clients: readonly ("exclusive" | "shared" | "thief")[];
  /** How many requests of client 0 share its place, one after the other. */
  readonly turn?: number;
  /** Client 0 holds for ever once it has the lock. */
  readonly stays?: boolean;
  /** How often something may go wrong: in all. */
  readonly crashes?: number;
  readonly lostPushes?: number;
  readonly lostAnswers?: number;
  readonly amnesias?: number;
  /** Which of them may give up before they hold. */
  readonly gives?: readonly number[];
  /** Holders may freeze until their lease has ended. */
  readonly freezes?: boolean;
  /** Waiters ask again when they like. Without faults nobody needs to. */
  readonly pokes?: boolean;
  readonly mistake?: Mistake;
}

const NEW = 0;
const ASKED = 1;
const QUEUED = 2;
const HOLDING = 3;
const LAPSED = 4;
const LEAVING = 5;
const DONE = 6;
const DEAD = 7;
const PHASES = ["new", "asked", "queued", "holding", "lapsed", "leaving", "done", "dead"];

/** On the way to the server. */
const ACQUIRE = 1;
const EXTEND = 2;
const RELEASE = 3;
const STEAL = 4;
/** On the way back. */
const GRANTED = 1;
const PENDING = 2;
const EXTENDED = 3;
const GONE = 4;
const RELEASED = 5;

/** Places in the state: who holds and who waits (as bits), the counter, the largest fence ever, whose lease is whole. */
const HOLDERS = 0;
const QUEUE = 1;
const LAST = 2;
const LARGEST = 3;
const WHOLE = 4;
/** How often what has gone wrong. */
const CRASHES = 5;
const PUSHES = 6;
const ANSWERS = 7;
const AMNESIAS = 8;
/** What was found wrong. */
const WRONG = 9;
const CLIENTS = 10;

/** Places of a client, from its first. */
const PHASE = 0;
const UP = 1;
const DOWN = 2;
/** The fence of the answer; 0 for none. Late: its grant is over. */
const DOWN_FENCE = 3;
const DOWN_LATE = 4;
const PUSH = 5;
const PUSH_LATE = 6;
/** The fence whose loss is on its way; and the largest whose loss was heard. */
const LOST = 7;
const REVOKED = 8;
const TICKET = 9;
const FENCE = 10;
/** That it gave up, that the server lost its grant through no fault of the protocol, that it believes in the whole ttl. */
const GAVE_UP = 11;
const ROBBED = 12;
const FULL = 13;
const BEGUN = 14;
/** A push that overtook the answer, and that its grant is over. */
const PUSHED = 15;
const PUSHED_LATE = 16;
/** The server's: the fence of its grant. */
const GRANT = 17;
const WIDTH = 18;

const FENCES = [DOWN_FENCE, PUSH, LOST, REVOKED, FENCE, PUSHED, GRANT];
const ANSWERED = ["", "granted", "pending", "extended", "gone", "released"];
const WRONGS = [
  "",
  "a fence is not larger than all before",
  "a living waiter was overtaken",
  "a request ran twice",
  "a turn went on with a lock that was known to be lost",
];

/** Two steps, because it is not by chance alone that every answer is late. */
function lateness(isLate: number): string {
  return isLate === 1 ? ", too late" : "";
}

type Offer = (step: string, run: (to: State) => void) => void;

export class OneServerModel implements Model {
  readonly initial: State;
  readonly #terms: Required<Omit<Terms, "mistake">>;
  readonly #mistake: Mistake | undefined;
  readonly #count: number;
  readonly #shared: number;

  constructor(terms: Terms) {
    const none = {
      stays: false,
      crashes: 0,
      lostPushes: 0,
      lostAnswers: 0,
      amnesias: 0,
      gives: [],
      freezes: false,
      pokes: false,
    };
    const { mistake, ...rest } = { ...none, turn: 1, ...terms };
    this.#terms = rest;
    this.#mistake = mistake;
    this.#count = terms.clients.length;
    this.#shared = terms.clients.reduce((bits, mode, c) => (mode === "shared" ? bits | (1 << c) : bits), 0);
    this.initial = new Uint8Array(CLIENTS + this.#count * WIDTH);
  }

  #at(c: number, place: number): number {
    return CLIENTS + c * WIDTH + place;
  }

  #get(state: State, c: number, place: number): number {
    return state[this.#at(c, place)] as number;
  }

  #set(state: State, c: number, place: number, value: number): void {
    state[this.#at(c, place)] = value;
  }

  #isThief(c: number): boolean {
    return this.#terms.clients[c] === "thief";
  }

  /** Only the order of fences and tickets matters. */
  normalize(state: State): void {
    const fences = [LAST, LARGEST];
    const tickets: number[] = [];
    for (let c = 0; c < this.#count; c++) {
      for (const place of FENCES) fences.push(this.#at(c, place));
      tickets.push(this.#at(c, TICKET));
    }
    for (const places of [fences, tickets]) {
      const values = [...new Set(places.map((place) => state[place] as number))].filter((value) => value > 0);
      values.sort((a, b) => a - b);
      for (const place of places) if (state[place] !== 0) state[place] = values.indexOf(state[place] as number) + 1;
    }
  }

  next(state: State, offer: (step: string, to: State) => void): void {
    const step: Offer = (what, run) => {
      const to = state.slice();
      run(to);
      offer(what, to);
    };
    for (let c = 0; c < this.#count; c++) {
      if (this.#get(state, c, PHASE) !== DEAD) {
        this.#clientSteps(state, c, step);
        this.#hearings(state, c, step);
      }
      this.#serverSteps(state, c, step);
    }
    if (state[AMNESIAS]! < this.#terms.amnesias) step("the server forgets", (to) => this.#forget(to));
  }

  #clientSteps(from: State, c: number, step: Offer): void {
    const { pokes, gives, freezes, crashes, turn, stays } = this.#terms;
    const phase = this.#get(from, c, PHASE);
    const isUpFree = this.#get(from, c, UP) === 0;
    if (phase === NEW) step(`${c} asks`, (to) => this.#ask(to, c));
    if (phase === QUEUED && pokes && isUpFree && this.#mistake !== "no poke")
      step(`${c} pokes`, (to) => this.#ask(to, c));
    if (phase === QUEUED && gives.includes(c) && isUpFree) step(`${c} gives up`, (to) => this.#release(to, c, true));
    if (phase === ASKED && gives.includes(c) && this.#get(from, c, GAVE_UP) === 0)
      step(`${c} gives up, and waits for the answer`, (to) => this.#set(to, c, GAVE_UP, 1));
    if (phase === HOLDING && isUpFree) {
      if (!stays || c !== 0)
        step(`${c} leaves`, (to) => {
          if (c === 0 && this.#get(to, c, BEGUN) < turn) this.#begin(to, c, this.#get(to, c, FENCE));
          else this.#release(to, c, false);
        });
      step(`${c} renews`, (to) => this.#set(to, c, UP, EXTEND));
    }
    if (phase === HOLDING && (freezes || this.#get(from, c, ROBBED) === 1))
      step(`the lease of ${c} ends by its own clock`, (to) => this.#set(to, c, PHASE, LAPSED));
    if (phase === LAPSED && isUpFree) step(`${c} says that it is over`, (to) => this.#release(to, c, false));
    if (from[CRASHES]! < crashes && phase !== NEW && phase !== DONE)
      step(`${c} crashes`, (to) => {
        to[CRASHES]!++;
        for (const place of [
          DOWN,
          DOWN_FENCE,
          DOWN_LATE,
          PUSH,
          PUSH_LATE,
          PUSHED,
          PUSHED_LATE,
          LOST,
          REVOKED,
          FENCE,
          ROBBED,
          FULL,
        ])
          this.#set(to, c, place, 0);
        this.#set(to, c, PHASE, DEAD);
      });
  }

  #ask(to: State, c: number): void {
    this.#set(to, c, PHASE, ASKED);
    this.#set(to, c, UP, this.#isThief(c) ? STEAL : ACQUIRE);
  }

  #release(to: State, c: number, gaveUp: boolean): void {
    this.#set(to, c, PHASE, LEAVING);
    this.#set(to, c, UP, RELEASE);
    this.#set(to, c, FULL, 0);
    this.#set(to, c, ROBBED, 0);
    if (gaveUp) this.#set(to, c, GAVE_UP, 1);
  }

  /** Its code begins. */
  #begin(to: State, c: number, fence: number): void {
    const turn = c === 0 ? this.#terms.turn : 1;
    const begun = this.#get(to, c, BEGUN) + 1;
    this.#set(to, c, BEGUN, begun);
    if (begun > turn) to[WRONG] = 3;
    this.#set(to, c, PHASE, HOLDING);
    this.#set(to, c, FENCE, fence);
  }

  #hearings(from: State, c: number, step: Offer): void {
    const { lostAnswers, lostPushes } = this.#terms;
    const down = this.#get(from, c, DOWN);
    const push = this.#get(from, c, PUSH);
    const lost = this.#get(from, c, LOST);
    if (down !== 0) {
      step(`${c} hears ${ANSWERED[down]}${lateness(this.#get(from, c, DOWN_LATE))}`, (to) => this.#answered(to, c));
      if (from[ANSWERS]! < lostAnswers)
        step(`an answer to ${c} is lost, and it asks again`, (to) => {
          to[ANSWERS]!++;
          this.#set(
            to,
            c,
            UP,
            down === EXTENDED || down === GONE
              ? EXTEND
              : down === RELEASED
                ? RELEASE
                : this.#isThief(c)
                  ? STEAL
                  : ACQUIRE,
          );
          this.#clearAnswer(to, c);
        });
    }
    if (push !== 0) {
      step(`a push reaches ${c}${lateness(this.#get(from, c, PUSH_LATE))}`, (to) => this.#pushed(to, c));
      if (from[PUSHES]! < lostPushes)
        step(`a push to ${c} is lost`, (to) => {
          to[PUSHES]!++;
          this.#set(to, c, PUSH, 0);
          this.#set(to, c, PUSH_LATE, 0);
        });
    }
    if (lost !== 0) step(`${c} hears that it was robbed`, (to) => this.#hearLost(to, c, lost));
  }

  #clearAnswer(to: State, c: number): void {
    for (const place of [DOWN, DOWN_FENCE, DOWN_LATE]) this.#set(to, c, place, 0);
  }

  #answered(to: State, c: number): void {
    const down = this.#get(to, c, DOWN);
    const fence = this.#get(to, c, DOWN_FENCE);
    const isLate = this.#get(to, c, DOWN_LATE) === 1;
    const phase = this.#get(to, c, PHASE);
    this.#clearAnswer(to, c);
    if (down === RELEASED) {
      if (phase === LEAVING) this.#set(to, c, PHASE, DONE);
      this.#set(to, c, FENCE, 0);
    } else if (down === EXTENDED) {
      if (phase === HOLDING) this.#set(to, c, FULL, 1);
    } else if (down === GONE) {
      if (phase === HOLDING) this.#set(to, c, PHASE, LAPSED);
    } else if (phase !== ASKED) return;
    else if (this.#get(to, c, GAVE_UP) === 1) this.#release(to, c, true);
    else if (down === PENDING) {
      this.#set(to, c, PHASE, QUEUED);
      this.#stir(to, c);
    } else if (isLate) this.#ask(to, c);
    else if (this.#get(to, c, REVOKED) >= fence && this.#mistake !== "forgets revoked") this.#release(to, c, false);
    else {
      this.#set(to, c, PUSHED, 0);
      this.#set(to, c, PUSHED_LATE, 0);
      if (this.#get(to, c, REVOKED) >= fence) to[WRONG] = 4;
      this.#set(to, c, FULL, 1);
      this.#begin(to, c, fence);
    }
  }

  /** A push overtook the answer. */
  #stir(to: State, c: number): void {
    const fence = this.#get(to, c, PUSHED);
    const isLate = this.#get(to, c, PUSHED_LATE) === 1;
    this.#set(to, c, PUSHED, 0);
    this.#set(to, c, PUSHED_LATE, 0);
    if (fence !== 0) this.#beginPushed(to, c, fence, isLate);
  }

  #pushed(to: State, c: number): void {
    const fence = this.#get(to, c, PUSH);
    const isLate = this.#get(to, c, PUSH_LATE) === 1;
    const phase = this.#get(to, c, PHASE);
    this.#set(to, c, PUSH, 0);
    this.#set(to, c, PUSH_LATE, 0);
    if (phase === QUEUED) this.#beginPushed(to, c, fence, isLate);
    else if (phase === ASKED) {
      this.#set(to, c, PUSHED, fence);
      this.#set(to, c, PUSHED_LATE, isLate ? 1 : 0);
    } else if ((phase === LEAVING || phase === DONE) && this.#mistake === "begins again") this.#begin(to, c, fence);
    else if (phase === DONE && this.#get(to, c, UP) === 0) this.#release(to, c, false);
  }

  /** A pushed grant is short: it is claimed at once, and code begins when that is written. */
  #beginPushed(to: State, c: number, fence: number, isLate: boolean): void {
    if (this.#get(to, c, UP) !== 0) return;
    if (isLate && this.#mistake !== "late push counts") return this.#ask(to, c);
    if (this.#get(to, c, REVOKED) >= fence) return this.#ask(to, c);
    this.#begin(to, c, fence);
    if (this.#mistake === "no claim") this.#set(to, c, FULL, 1);
    else this.#set(to, c, UP, EXTEND);
  }

  #hearLost(to: State, c: number, fence: number): void {
    this.#set(to, c, LOST, 0);
    this.#set(to, c, REVOKED, Math.max(fence, this.#get(to, c, REVOKED)));
    if (this.#get(to, c, PHASE) !== HOLDING || this.#get(to, c, FENCE) > fence) return;
    if (this.#mistake === "turn after theft" && c === 0 && this.#get(to, c, BEGUN) < this.#terms.turn) {
      to[WRONG] = 4;
      return this.#begin(to, c, this.#get(to, c, FENCE));
    }
    this.#set(to, c, PHASE, LAPSED);
  }

  #serverSteps(from: State, c: number, step: Offer): void {
    const up = this.#get(from, c, UP);
    // One answer at a time, in order.
    if (up !== 0 && (this.#get(from, c, DOWN) === 0 || this.#get(from, c, PHASE) === DEAD))
      step(`${["", "acquire", "extend", "release", "steal"][up]} of ${c} arrives`, (to) => this.#arrive(to, c, up));
    if ((from[HOLDERS]! & (1 << c)) !== 0 && this.#mayEnd(from, c))
      step(`the server ends the lease of ${c}`, (to) => this.#expire(to, c));
  }

  #arrive(to: State, c: number, up: number): void {
    const me = 1 << c;
    this.#set(to, c, UP, 0);
    if (up === RELEASE) return this.#released(to, c);
    if (up === EXTEND) {
      const isHeld = (to[HOLDERS]! & me) !== 0;
      if (isHeld) to[WHOLE]! |= me;
      return this.#answer(to, c, isHeld ? EXTENDED : GONE, 0);
    }
    if (up === STEAL) return this.#steal(to, c);
    const isFree = this.#fits(to, c) && (to[QUEUE] === 0 || this.#mistake === "overtaking");
    if ((to[HOLDERS]! & me) !== 0) to[WHOLE]! |= me;
    else if (isFree && (to[QUEUE]! & me) === 0) this.#grant(to, c, true);
    else {
      to[QUEUE]! |= me;
      if (this.#get(to, c, TICKET) === 0) this.#set(to, c, TICKET, this.#nextTicket(to));
      this.#promote(to, c);
    }
    if ((to[HOLDERS]! & me) !== 0) this.#answer(to, c, GRANTED, this.#get(to, c, GRANT));
    else this.#answer(to, c, PENDING, 0);
  }

  #nextTicket(state: State): number {
    let last = 0;
    for (let c = 0; c < this.#count; c++) last = Math.max(last, this.#get(state, c, TICKET));
    return last + 1;
  }

  #answer(to: State, c: number, down: number, fence: number): void {
    if (this.#get(to, c, PHASE) === DEAD) return;
    this.#set(to, c, DOWN, down);
    this.#set(to, c, DOWN_FENCE, fence);
  }

  #fits(state: State, c: number): boolean {
    const all = state[HOLDERS]! | (1 << c);
    return state[HOLDERS] === 0 || (all & ~this.#shared) === 0;
  }

  #grant(to: State, c: number, isWhole: boolean): void {
    const me = 1 << c;
    const largest = to[LARGEST] as number;
    const fence = Math.max(to[LAST] as number, this.#mistake === "counter without clock" ? 0 : largest) + 1;
    if (fence <= largest) to[WRONG] = 1;
    to[LAST] = fence;
    to[LARGEST] = Math.max(fence, largest);
    for (let other = 0; other < this.#count; other++) {
      const isEarlier = (to[QUEUE]! & (1 << other)) !== 0 && this.#isBefore(to, other, c);
      if (other !== c && isEarlier && this.#get(to, other, PHASE) !== DEAD) to[WRONG] = 2;
    }
    to[HOLDERS]! |= me;
    if (isWhole) to[WHOLE]! |= me;
    else to[WHOLE]! &= ~me;
    this.#set(to, c, GRANT, fence);
  }

  /** Whoever has no ticket comes after all who have one. */
  #isBefore(state: State, other: number, c: number): boolean {
    const mine = this.#get(state, c, TICKET);
    return mine === 0 || this.#get(state, other, TICKET) < mine;
  }

  #first(state: State): number {
    let first = -1;
    for (let c = 0; c < this.#count; c++) {
      if ((state[QUEUE]! & (1 << c)) === 0) continue;
      if (first < 0 || this.#get(state, c, TICKET) < this.#get(state, first, TICKET)) first = c;
    }
    return first;
  }

  /** A dead head goes before its mode is looked at. `me` asks just now, and needs no push. */
  #promote(to: State, me: number): void {
    for (let head = this.#first(to); head >= 0; head = this.#first(to)) {
      const isDead = this.#get(to, head, PHASE) === DEAD && this.#mistake !== "no liveness test";
      if (!isDead && !this.#fits(to, head)) return;
      to[QUEUE]! &= ~(1 << head);
      if (isDead) continue;
      this.#grant(to, head, head === me);
      if (head === me || this.#get(to, head, PHASE) === DEAD) continue;
      this.#set(to, head, PUSH, to[LAST]!);
      this.#set(to, head, PUSH_LATE, 0);
    }
  }

  #drop(to: State, c: number): void {
    to[HOLDERS]! &= ~(1 << c);
    to[WHOLE]! &= ~(1 << c);
    this.#set(to, c, GRANT, 0);
    if (this.#get(to, c, PUSHED) !== 0) this.#set(to, c, PUSHED_LATE, 1);
    if (this.#get(to, c, DOWN) === GRANTED) this.#set(to, c, DOWN_LATE, 1);
    if (this.#get(to, c, PUSH) !== 0) this.#set(to, c, PUSH_LATE, 1);
  }

  #released(to: State, c: number): void {
    const me = 1 << c;
    const held = (to[HOLDERS]! & me) !== 0;
    const queued = (to[QUEUE]! & me) !== 0;
    if (this.#mistake === "release without token") {
      for (let other = 0; other < this.#count; other++) if ((to[HOLDERS]! & (1 << other)) !== 0) this.#drop(to, other);
    } else if (held) this.#drop(to, c);
    to[QUEUE]! &= ~me;
    this.#set(to, c, TICKET, 0);
    const isSilent =
      (this.#mistake === "release without promote" && held) || (this.#mistake === "withdraw without promote" && queued);
    if (!isSilent) this.#promote(to, -1);
    this.#answer(to, c, RELEASED, 0);
  }

  #steal(to: State, c: number): void {
    const me = 1 << c;
    if ((to[HOLDERS]! & me) === 0) {
      for (let victim = 0; victim < this.#count; victim++)
        if ((to[HOLDERS]! & (1 << victim)) !== 0) this.#rob(to, victim, true);
      const wrong = to[WRONG]!;
      this.#grant(to, c, true);
      // By force, and so before all who wait.
      if (to[WRONG] === 2) to[WRONG] = wrong;
    }
    this.#answer(to, c, GRANTED, this.#get(to, c, GRANT));
  }

  /** The server keeps its grant no longer, through no fault of the protocol. */
  #rob(to: State, c: number, isTold: boolean): void {
    const phase = this.#get(to, c, PHASE);
    const fence = this.#get(to, c, GRANT);
    this.#drop(to, c);
    if (phase === DEAD) return;
    // What says that it was granted is on its way, and is believed until the notice of the loss has come.
    for (const place of [DOWN_LATE, PUSH_LATE, PUSHED_LATE]) this.#set(to, c, place, 0);
    this.#set(to, c, ROBBED, 1);
    if (isTold) this.#set(to, c, LOST, Math.max(this.#get(to, c, LOST), fence));
  }

  #forget(to: State): void {
    to[AMNESIAS]!++;
    for (let c = 0; c < this.#count; c++) if ((to[HOLDERS]! & (1 << c)) !== 0) this.#rob(to, c, false);
    to[HOLDERS] = to[QUEUE] = to[WHOLE] = to[LAST] = 0;
  }

  /** Nobody believes in it who has a right to; of those who do not know of it yet it may end at any time. */
  #mayEnd(from: State, c: number): boolean {
    if (this.#mistake === "late deadline") return true;
    if (this.#get(from, c, PHASE) !== HOLDING) return true;
    return this.#get(from, c, FULL) === 1 && (from[WHOLE]! & (1 << c)) === 0;
  }

  #expire(to: State, c: number): void {
    this.#drop(to, c);
  }

  violation(state: State): string | undefined {
    if (state[WRONG] !== 0) return WRONGS[state[WRONG] as number];
    let holders = 0;
    for (let c = 0; c < this.#count; c++) {
      if (this.#get(state, c, PHASE) === HOLDING && this.#get(state, c, ROBBED) === 0) holders |= 1 << c;
    }
    if ((holders & (holders - 1)) !== 0 && (holders & ~this.#shared) !== 0) return "two hold";
    return undefined;
  }

  /** Everybody who lives has held, or has given up. */
  isServed(state: State): boolean {
    for (let c = 0; c < this.#count; c++) {
      const phase = this.#get(state, c, PHASE);
      const isOver = phase === DEAD || this.#get(state, c, BEGUN) > 0 || this.#get(state, c, GAVE_UP) === 1;
      if (!isOver) return false;
    }
    return true;
  }

  describe(state: State): string {
    const names = (bits: number): string => this.#terms.clients.map((_, c) => (bits & (1 << c) ? c : "")).join("");
    const clients = this.#terms.clients.map((mode, c) => {
      const get = (place: number): number => this.#get(state, c, place);
      const flags = [get(ROBBED) && "robbed", get(FULL) && "full", get(PUSH) && `push ${get(PUSH)}`];
      return `${c} (${mode}) ${PHASES[get(PHASE)]} ticket ${get(TICKET)} fence ${get(FENCE)} ${flags.filter(Boolean).join(" ")}`;
    });
    return `held by [${names(state[HOLDERS]!)}], queue [${names(state[QUEUE]!)}], last fence ${state[LAST]}; ${clients.join("; ")}`;
  }
}
