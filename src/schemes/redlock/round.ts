/** Questions put to several nodes, and the one timer for all of them. */
import type { Clock, Timer } from "../../clock.ts";
import { SchemeError } from "../../errors.ts";
import { Schedule } from "../../leases/schedule.ts";
import type { Scheduled } from "../../leases/schedule.ts";
import type { Failure, Voter, Votes } from "./ballot.ts";
import { onNextTurn } from "../../runtime.ts";

/** So many times what the first answer usually takes, a majority may take before the rest is asked, too. */
const PATIENCE = 3;
const LEAST_PATIENCE = 1;
const MOST_PATIENCE = 50;
/** Of the limit of a round. */
const PATIENT_PART = 1 / 4;

/** What is asked of whom. */
export interface Question<N extends Voter, V, R> {
  /** Asked at once. */
  readonly first: readonly N[];
  /** Asked where those do not decide, or not soon. */
  readonly rest: readonly N[];
  /** A node that has not answered after so many milliseconds has failed. */
  readonly limit: number;
  ask(node: N, round: Round<N, V, R>): void;
  /** Undefined as long as the votes that are out can still decide it. */
  judge(votes: Votes<N, V>): R | undefined;
  /** Whether the rest is to be asked for this, too, though it is decided; and told when it has been. */
  follows?(result: R): boolean;
  followed?: () => void;
  /** One of the first did not answer in time, or failed. */
  lags?(node: N): void;
}

export interface Outcome<N, V, R> {
  readonly result: R;
  readonly votes: Votes<N, V>;
}

/** One question. It is over as soon as the votes that have come decide it, or its time is up. */
export class Round<N extends Voter, V, R> implements Scheduled {
  readonly outcome: Promise<Outcome<N, V, R>>;
  readonly #question: Question<N, V, R>;
  readonly #rounds: Rounds;
  readonly #votes = new Map<N, V | Failure>();
  readonly #askedAt: number;
  #asked: readonly N[];
  #rest: readonly N[];
  #open = true;
  #resolve: (outcome: Outcome<N, V, R>) => void = () => {};
  due: number;
  position = -1;
  scheduledFor = 0;

  constructor(rounds: Rounds, question: Question<N, V, R>, now: number) {
    this.#rounds = rounds;
    this.#question = question;
    this.#asked = question.first;
    this.#rest = question.rest;
    this.#askedAt = now;
    this.due = now + (question.rest.length > 0 ? rounds.patience(question.limit) : question.limit);
    this.outcome = new Promise((resolve) => (this.#resolve = resolve));
  }

  /** Nothing is sent any more for a question that is over. */
  get wanted(): boolean {
    return this.#open || this.#rest.length > 0;
  }

  /** Who has been asked, so far. */
  get asked(): readonly N[] {
    return this.#asked;
  }

  /** The rest has not been asked, and will be. */
  get isFollowed(): boolean {
    return !this.#open && this.#rest.length > 0;
  }

  begin(): void {
    for (const node of this.#question.first) this.#question.ask(node, this);
  }

  /** A node's vote. Later ones, and those that come when it is over, are nobody's business here. */
  count(node: N, vote: V | Failure): void {
    if (!this.#open || this.#votes.has(node)) return;
    if (this.#votes.size === 0) this.#rounds.answered(this.#askedAt);
    this.#votes.set(node, vote);
    const result = this.#question.judge(this.#votes);
    if (result !== undefined) return this.#settle(result);
    if (this.#rest.length === 0) return;
    if (isFailure(vote)) this.#question.lags?.(node);
    if (isFailure(vote) || this.#votes.size === this.#question.first.length) this.goOn();
  }

  /** The rest will not be asked. */
  stop(): void {
    this.#rest = [];
  }

  /** Its time has come. */
  look(): void {
    if (this.#rest.length > 0) {
      for (const node of this.#question.first) if (!this.#votes.has(node)) this.#question.lags?.(node);
      return this.goOn();
    }
    const cause = new SchemeError("unreachable", `No answer within ${this.#question.limit} ms.`, [], true);
    for (const node of [...this.#question.first, ...this.#question.rest]) this.count(node, { kind: "failed", cause });
  }

  /** Ask the rest now. */
  goOn(): void {
    if (this.#rest.length === 0) return;
    this.#asked = [...this.#asked, ...this.#rest];
    // Still wanted while they are asked.
    for (const node of this.#rest) this.#question.ask(node, this);
    this.#rest = [];
    if (this.#open) this.#rounds.schedule(this, this.#askedAt + this.#question.limit);
    else this.#question.followed?.();
  }

  #settle(result: R): void {
    this.#open = false;
    this.#rounds.remove(this);
    // When whoever waits for the outcome has had its turn: perhaps that is all it wanted.
    if (this.#rest.length > 0 && this.#question.follows?.(result)) onNextTurn(() => this.goOn());
    else this.stop();
    this.#resolve({ result, votes: this.#votes });
  }
}

/** The rounds of one manager that are not over. */
export class Rounds {
  readonly #clock: Clock;
  readonly #schedule = new Schedule<Round<Voter, unknown, unknown>>();
  #timer: Timer | undefined;
  #timerAt = Infinity;
  /** How long the first answer to a question takes of late. */
  #usual = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ask<N extends Voter, V, R>(question: Question<N, V, R>): Round<N, V, R> {
    const round = new Round(this, question, this.#clock.now());
    this.schedule(round, round.due);
    round.begin();
    return round;
  }

  /** How long a majority may take before the rest is asked. */
  patience(limit: number): number {
    return Math.min(Math.max(LEAST_PATIENCE, PATIENCE * this.#usual), MOST_PATIENCE, PATIENT_PART * limit);
  }

  /** The first answer to what was asked then has come. */
  answered(askedAt: number): void {
    this.#usual += (this.#clock.now() - askedAt - this.#usual) / 8;
  }

  schedule<N extends Voter, V, R>(round: Round<N, V, R>, due: number): void {
    const each = round as unknown as Round<Voter, unknown, unknown>;
    this.#schedule.remove(each);
    each.due = due;
    if (due === Infinity) return;
    this.#schedule.add(each);
    this.#arm();
  }

  remove<N extends Voter, V, R>(round: Round<N, V, R>): void {
    this.#schedule.remove(round as unknown as Round<Voter, unknown, unknown>);
  }

  close(): void {
    this.#timer?.cancel();
  }

  #arm(): void {
    const due = this.#schedule.first?.due ?? Infinity;
    if (due >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = due;
    // Answers that are here already are read before anybody is called late: this process may have been busy.
    this.#timer = this.#clock.after(due - this.#clock.now(), () => onNextTurn(() => this.#look()));
  }

  #look(): void {
    this.#timerAt = Infinity;
    const now = this.#clock.now();
    for (let round = this.#schedule.first; round && round.due <= now; round = this.#schedule.first) {
      this.#schedule.remove(round);
      round.look();
    }
    this.#arm();
  }
}

function isFailure(vote: unknown): vote is Failure {
  return (vote as { readonly kind: string }).kind === "failed";
}
