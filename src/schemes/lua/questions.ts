import { proofOf, reachedIn } from "../../drivers/proof.ts";
import { ScriptCall } from "../../drivers/run-script.ts";
import type { Durability } from "../../durability.ts";
import { assureGrant } from "../assure.ts";
import { inRuns } from "../batches.ts";
import type { Channels } from "../channels.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, FRONT, FRONT_STEP, POKE_INTERVAL, STALE_AFTER } from "../scheme.ts";
import type { Answer, Granted, LockRequest, Question } from "../scheme.ts";
import { Batch, countDown } from "./calls.ts";
import type { Calls } from "./calls.ts";
import { readNumber } from "../../drivers/replies.ts";
import { readAcquired } from "./replies.ts";
import type { Acquired } from "./replies.ts";
import * as scripts from "./scripts.generated.ts";

/** A foreign holder notifies nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a grant within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;

/**
 * Asks for locks, in the order of the questions: quick attempts at what is likely to be free, else a place in the
 * queue.
 */
export class Questions {
  readonly #calls: Calls;
  readonly #channels: Channels;
  readonly #ask: (question: Question) => void;
  readonly #queueUp: (question: Question) => void;
  readonly #askProven: (question: Question) => void;

  constructor(calls: Calls, channels: Channels) {
    this.#calls = calls;
    this.#channels = channels;
    const send = (questions: Question[]): void => inRuns(questions, this.#alike, this.#send);
    // What could not be taken quickly was requested first.
    this.#queueUp = calls.batches.lane(send);
    this.#ask = calls.batches.lane(send);
    this.#askProven = calls.batches.patientLane((questions, answered) => {
      const runs: Question[][] = [];
      inRuns(questions, this.#alike, (run) => runs.push(run));
      const done = countDown(runs.length, answered);
      for (const run of runs) this.#send(run, done);
    });
  }

  ask(question: Question): void {
    if (question.durability) this.#askProven(question);
    else this.#ask(question);
  }

  readonly #alike = (a: Question, b: Question): boolean => {
    const { homes } = this.#calls;
    const quick = this.#isQuick(a);
    if (quick !== this.#isQuick(b) || homes.of(a.lock) !== homes.of(b.lock)) return false;
    return (!quick || a.ttl === b.ttl) && proofOf(a.durability) === proofOf(b.durability);
  };

  #isQuick(question: Question): boolean {
    const { opens, mode, label, waiting, ticket, limit, maxQueue, lock, isSent } = question;
    const isPlain = mode === "exclusive" && label === "" && limit === undefined && maxQueue === undefined;
    return opens && isPlain && waiting === 1 && ticket === undefined && !isSent && !this.#calls.isWanted(lock);
  }

  readonly #send = (questions: Question[], done?: () => void): void => {
    const [first] = questions as [Question];
    const isQuick = this.#isQuick(first);
    for (const question of questions) question.isSent = true;
    const proof = proofOf(first.durability);
    if (isQuick) this.#calls.send(this.#take(questions), new Batch(questions, this.#taken, done), proof);
    else this.#calls.send(this.#acquire(questions), this.#asked(questions, done), proof);
  };

  /** The common case: free locks that nobody waits for. */
  #take(questions: readonly Question[]): ScriptCall {
    const { keys, homes } = this.#calls;
    const [{ lock, ttl }] = questions as [Question];
    const call = new ScriptCall(scripts.take, 1 + 2 * questions.length, 1 + questions.length);
    call.add(homes.of(lock).counter);
    for (const question of questions) {
      const [key, , queue] = keys.of(question.lock);
      call.add(key);
      call.add(queue);
    }
    call.add(String(ttl));
    for (const { token } of questions) call.add(token);
    return call;
  }

  readonly #taken = (question: Question, reply: unknown, replies: readonly unknown[]): Answer | undefined => {
    const { lock, durability } = question;
    const fence = readNumber(reply);
    if (fence > 0) return assureGrant(question, granted(fence, 1, reachedIn(replies, durability)));
    // A request that is taken for the second time goes the long way: it has been sent.
    this.#channels.open(this.#calls.homes.of(lock), STALE_AFTER);
    (durability ? this.#askProven : this.#queueUp)(question);
    return undefined;
  };

  /** Questions of tokens that hold, wait, or may have to wait. */
  #acquire(questions: readonly Question[]): ScriptCall {
    const { keys } = this.#calls;
    const granting = this.#calls.granting((questions[0] as Question).lock);
    const args = questions.flatMap((question) => this.#wordsOf(question));
    const call = new ScriptCall(scripts.acquire, 1 + 4 * questions.length, granting.args.length + args.length);
    call.addAll(granting.keys);
    for (const { lock } of questions) call.addAll(keys.of(lock));
    call.addAll(granting.args);
    call.addAll(args);
    return call;
  }

  #asked(questions: readonly Question[], done: (() => void) | undefined): Batch<Question, Answer> {
    // More may join a place while its question is out.
    const fences = new Map(questions.map((question) => [question, question.fences]));
    const read = (question: Question, reply: unknown, replies: readonly unknown[]): Answer | undefined => {
      const acquired = readAcquired(reply, question);
      if (acquired.kind === "again") {
        this.#queueUp(question);
        return undefined;
      }
      const reached = reachedIn(replies, question.durability);
      return assureGrant(question, this.#answerTo(question, acquired, fences.get(question) as number, reached));
    };
    return new Batch(questions, read, done);
  }

  /** One question as the script `acquire` takes it. */
  #wordsOf(question: Question): string[] {
    const { lock, token, ttl, wait, ticket, waiting, fences, askedAt, maxQueue, label, durability } = question;
    const home = this.#calls.homes.of(lock);
    const listens = this.#channels.isUp(home) ? (this.#channels.serverOf(home) ?? "2") : "1";
    return [
      token,
      modeOf(question),
      String(ttl),
      wait ? listens : "0",
      ticket ?? "",
      String(waiting),
      String(fences),
      // A push names the latest question before it: the grant was made after that question. A pushed grant is not
      // confirmed.
      durability ? "0" : String(Math.floor(askedAt * 1_000)),
      String(maxQueue ?? ""),
      label,
    ];
  }

  #answerTo(
    question: Question,
    acquired: Exclude<Acquired, { kind: "again" }>,
    fences: number,
    reached: Durability | undefined,
  ): Answer {
    const { lock } = question;
    // What was granted before has at least one fence; the push knew how many.
    if (acquired.kind === "granted") return granted(acquired.fence, acquired.wasHeld ? 1 : fences, reached);
    if (acquired.kind !== "pending") return acquired;
    question.ticket = acquired.ticket;
    this.#calls.noteWanted(lock, true);
    const { rank, holder } = acquired;
    return { kind: "pending", pokeAfter: this.#pokeAfter(lock, acquired), ahead: rank, ...(holder && { holder }) };
  }

  /** When a waiter asks again by itself, for pushes that were lost. */
  #pokeAfter(lock: string, { rank, left, isForeign, isUnfinished }: Acquired & { kind: "pending" }): number {
    if (isUnfinished) return 0;
    const isFirst = rank === 0;
    const isUp = this.#channels.isUp(this.#calls.homes.of(lock));
    const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const longest = isForeign && isFirst ? FOREIGN_POKE : isUp ? spread : DEAF_POKE;
    return rank < FRONT && left >= 0 ? Math.min(longest, left + EXPIRY_MARGIN + rank * FRONT_STEP) : longest;
  }
}

export function granted(fence: number, fences: number, durability: Durability | undefined): Granted {
  return durability ? { kind: "granted", fence, fences, durability } : { kind: "granted", fence, fences };
}

/** As the scripts write it: for a semaphore's request, the permits it wants and how many there are. */
function modeOf({ mode, permits = 1, limit }: LockRequest): string {
  return limit === undefined ? mode : `${permits}/${limit}`;
}
