/**
 * The `lua` scheme: locks on one Redis or Valkey server, each step one atomic script.
 *
 * Guarantees, as long as the server keeps its memory and its clock does not jump: one exclusive holder (or shared
 * holders only) at any instant; first come, first served; a release hands the lock to the next waiter in the same
 * step and pushes the grant; fences that grow with every grant, also after a failover or a lost counter.
 *
 * Does not guarantee mutual exclusion across a failover or restart that loses writes, nor against a holder whose
 * process was frozen past its lease: that is what the fence is for. Libraries that share a key and poll
 * (`SET key value NX PX`) exclude us and we them, but they can starve behind a steady queue.
 */
import type { Caller } from "../caller.ts";
import type { Clock } from "../clock.ts";
import type { Driver, Script, ScriptStrings, Send } from "../drivers/driver.ts";
import { proofOf, proving, reachedIn } from "../drivers/proof.ts";
import type { Proof } from "../drivers/proof.ts";
import { runScript } from "../drivers/run-script.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import type { Durability, Wish } from "../durability.ts";
import { assureExtension, assureGrant } from "./assure.ts";
import { Batches, runsOf } from "./batches.ts";
import { Channels } from "./channels.ts";
import { Clients } from "./clients.ts";
import { Homes, Keys, lockKeys, nameOfKey } from "./keys.ts";
import type { Home, LockKeys } from "./keys.ts";
import {
  checkReply,
  isFailure,
  readAcquired,
  readExtension,
  readNumber,
  readReleased,
  readState,
  readText,
  refusalOf,
} from "./lua/replies.ts";
import type { Acquired } from "./lua/replies.ts";
import * as scripts from "./lua/scripts.generated.ts";
import { findNames } from "./scan.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, FRONT, FRONT_STEP, POKE_INTERVAL, STALE_AFTER } from "./scheme.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Question,
  Release,
  Scheme,
  Selection,
} from "./scheme.ts";

/** A foreign holder tells nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a grant within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;
/** This many locks are remembered as wanted by others. */
const MOST_HINTS = 10_000;

/** What a call that may grant is given once: the fence counter, and how to push. */
interface Call {
  readonly keys: [counter: string];
  readonly args: [publish: string, channel: string];
}

/** An extension to be asked for. */
interface Extending {
  readonly grant: Grant;
  readonly ttl: number;
  readonly wish: Wish | undefined;
  readonly caller: Caller<Extension>;
}

/** A release that the quick script may do. */
interface Giving {
  readonly farewell: Farewell;
  readonly home: Home;
  /** How often connections had been lost when it was asked. */
  readonly drops: number;
}

/** What a push says: what, a number, fences, when the waiter asked last, token, key. */
const MESSAGE = /^(\w+) (\d+) (\d+) (\d+) (\S+) ([^]*)$/;

const NOTHING: { keys: []; args: [] } = { keys: [], args: [] };

export class LuaScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly proves = true;
  readonly hasTurns = true;
  readonly #driver: Driver;
  readonly #prefix: string;
  readonly #client: string;
  readonly #keys: Keys<LockKeys>;
  readonly #homes: Homes;
  /**
   * Where this manager itself is at home: its channel there is for holders. On one server waiters have the same one; in
   * a Cluster a script cannot reach it, so whoever robs a holder notifies it here.
   */
  readonly #own: Home;
  /** How a Cluster publishes: to those who listen on the server that keeps the channel's slot. */
  readonly #publish: "PUBLISH" | "SPUBLISH";
  readonly #limit: TimeLimit;
  readonly #send: Send;
  readonly #clients: Clients;
  readonly #channels: Channels;
  readonly #batches: Batches;
  readonly #extend: (item: Extending) => void;
  readonly #extendProven: (item: Extending) => void;
  readonly #give: (item: Giving) => void;
  readonly #release: (item: Giving) => void;
  readonly #queueUp: (question: Question) => void;
  readonly #ask: (question: Question) => void;
  readonly #askProven: (question: Question) => void;
  /** Locks that others wanted when we last looked: a quick attempt at them would be in vain. Only a hint. */
  readonly #wanted = new Set<string>();
  #listener: PushListener | undefined;

  constructor(driver: Driver, clock: Clock, settings: { prefix: string; clientId: string; label: string }) {
    this.#driver = driver;
    this.#prefix = settings.prefix;
    this.#client = `${settings.clientId}:`;
    this.#keys = new Keys(settings.prefix, lockKeys);
    this.#homes = new Homes(settings.prefix, driver.isCluster);
    this.#own = new Homes(settings.prefix, false).of("");
    this.#publish = driver.isCluster ? "SPUBLISH" : "PUBLISH";
    this.#limit = new TimeLimit(clock, driver);
    this.#send = (command, key) => this.#limit.guard(driver.send(command, key));
    this.#clients = new Clients(this.#send, clock, settings);
    this.#channels = new Channels(driver, clock, settings.clientId, {
      message: (text) => this.#hear(text),
      up: (homes) => this.#missed(homes),
    });
    this.#batches = new Batches((run) => driver.together(run));
    // Leases first. What is given up frees room for what is asked for.
    this.#extend = this.#batches.lane((items) => void this.#sendExtensions(items));
    this.#extendProven = this.#batches.patientLane((items) => this.#sendExtensions(items));
    this.#give = this.#batches.lane((items) => this.#sendGiven(items));
    this.#release = this.#batches.lane((items) => this.#sendReleases(items));
    this.#queueUp = this.#batches.lane((questions) => void this.#sendQuestions(questions));
    this.#ask = this.#batches.lane((questions) => void this.#sendQuestions(questions));
    this.#askProven = this.#batches.patientLane((questions) => this.#sendQuestions(questions));
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  hearing(): number | undefined {
    const generation = this.#channels.generation(this.#own);
    return generation === undefined ? undefined : generation + this.#driver.drops;
  }

  written(lock: string): Promise<void> {
    this.#batches.flush();
    return this.#driver.written(this.#keys.of(lock)[0]);
  }

  acquire(question: Question): void {
    const { lock, wait, ttl, durability } = question;
    this.#clients.announce(ttl);
    if (wait) this.#channels.open(this.#own, ttl);
    if (wait && !question.opens) this.#channels.open(this.#homes.of(lock), STALE_AFTER);
    if (durability) this.#askProven(question);
    else this.#ask(question);
  }

  async steal(request: LockRequest): Promise<Answer> {
    const { lock, token, ttl, label, durability } = request;
    this.#clients.announce(ttl);
    const [reply, reached] = await this.#steal(lock, [token, String(ttl), label, "", "1"], durability);
    const error = refusalOf(reply, request);
    if (error) return { kind: "refused", error };
    return assureGrant(request, granted(readNumber(reply[1]), 1, reached));
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.token ?? holder.foreign;
    if (expected === undefined) return false;
    const [[taken]] = await this.#steal(lock, ["", "0", "", expected, "0"]);
    return readNumber(taken) === 1;
  }

  extend(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>): void {
    this.#clients.announce(ttl);
    // Whoever holds for that long wants to know soon if the lock is stolen.
    this.#channels.open(this.#own, ttl);
    (wish ? this.#extendProven : this.#extend)({ grant, ttl, wish, caller });
  }

  /** Not proven: a replica that has missed it keeps others out, and who is let in with a wish proves it on the way. */
  async downgrade({ lock, token, fence }: Grant): Promise<Extension> {
    const item = { keys: this.#keys.of(lock), args: [token, String(fence)] };
    const [reply] = await this.#run(scripts.downgrade, this.#callAbout(lock), item);
    return readExtension(checkReply(reply));
  }

  /** Not proven: a replica that has missed it only keeps the lock held until its ttl is over. */
  release(farewell: Farewell): void {
    const { lock, mode, fence, isBehind } = farewell;
    if (isBehind) this.#batches.flush();
    const giving = { farewell, home: this.#homes.of(lock), drops: this.#driver.drops };
    if (mode === "exclusive" && fence !== undefined && !this.#wanted.has(lock)) this.#give(giving);
    else this.#release(giving);
  }

  /** Not proven: a replica that has missed it keeps what it has of the lease, which ends no earlier. */
  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const { drops } = this.#driver;
    const args: [string, string, string, string] = [token, String(fence), String(ttl), label];
    const [reply] = await this.#run(scripts.keep, this.#callAbout(lock), { keys: this.#keys.of(lock), args });
    if (readNumber(checkReply(reply)) === 1) return "released";
    return drops === this.#driver.drops ? "gone" : "unsure";
  }

  async handOver({ lock, token, fence }: Grant, heir: LockRequest): Promise<Answer> {
    this.#clients.announce(heir.ttl);
    const args: [string, string, string, string, string, string] = [
      token,
      String(fence),
      heir.token,
      heir.mode,
      String(heir.ttl),
      heir.label,
    ];
    const item = { keys: this.#keys.of(lock), args };
    const replies = await this.#run(scripts.handover, this.#callAbout(lock), item, proofOf(heir.durability));
    const drawn = readNumber(checkReply(replies[0]));
    if (drawn === 0) return { kind: "busy" };
    return assureGrant(heir, granted(drawn, 1, reachedIn(replies, heir.durability)));
  }

  async query(selection: Selection): Promise<LockState[]> {
    this.#batches.flush();
    const names = await findNames(() => this.#limit.servers(), this.#prefix, selection);
    const replies = await this.#look(names);
    // Among all keys of the prefix there may be some that are no locks.
    const named = typeof selection === "object" && "name" in selection;
    const states = replies.flatMap((reply, i) => {
      if (isFailure(reply) && !named && String(reply[1]).startsWith("WRONGTYPE")) return [];
      return [readState(names[i] as string, reply)];
    });
    const tokens = states
      .flatMap(({ holders, waiters }) => [...holders, ...waiters])
      .flatMap(({ token }) => token ?? []);
    const labelOf = await this.#clients.labels(tokens);
    return states.map((state) => ({
      ...state,
      holders: state.holders.map((each) => ({ ...each, label: each.label || labelOf(each.token ?? "") })),
      waiters: state.waiters.map((each) => ({ ...each, label: each.label || labelOf(each.token) })),
    }));
  }

  async close(): Promise<void> {
    this.#channels.close();
    // It ends by itself; a server that does not answer is not waited for once more.
    if (!this.#limit.isSilent) await this.#clients.forget();
    this.#limit.close();
    this.#driver.close();
  }

  /** In the order in which they were asked: quick attempts at what is likely to be free, else a place in the queue. */
  async #sendQuestions(questions: Question[]): Promise<void> {
    const out = [];
    for (const run of runsOf(questions, (a, b) => this.#shareCall(a, b))) {
      const isQuick = this.#isQuick(run[0] as Question);
      for (const question of run) question.isSent = true;
      out.push(isQuick ? this.#sendQuick(run) : this.#sendFull(run));
    }
    await Promise.all(out);
  }

  #shareCall(a: Question, b: Question): boolean {
    const quick = this.#isQuick(a);
    if (quick !== this.#isQuick(b) || this.#homes.of(a.lock) !== this.#homes.of(b.lock)) return false;
    return (!quick || a.ttl === b.ttl) && proofOf(a.durability) === proofOf(b.durability);
  }

  #isQuick({ opens, mode, label, waiting, ticket, limit, maxQueue, lock, isSent }: Question): boolean {
    const isPlain = mode === "exclusive" && label === "" && limit === undefined && maxQueue === undefined;
    return opens && isPlain && waiting === 1 && ticket === undefined && !isSent && !this.#wanted.has(lock);
  }

  /** The common case: free locks that nobody waits for. */
  async #sendQuick(questions: Question[]): Promise<void> {
    const [{ lock, ttl, durability }] = questions as [Question];
    const keys: string[] = [];
    const args: string[] = [];
    for (const question of questions) {
      const [key, , queue] = this.#keys.of(question.lock);
      keys.push(key, queue);
      args.push(numberOf(question.token));
    }
    const call: { keys: [string]; args: [string, string] } = {
      keys: [this.#homes.of(lock).counter],
      args: [this.#client, String(ttl)],
    };
    const replies = await this.#asked(questions, this.#run(scripts.take, call, { keys, args }, proofOf(durability)));
    questions.forEach((question, i) => {
      this.#hearReply(question, replies, i, (reply) => {
        const fence = readNumber(reply);
        if (fence > 0) return granted(fence, 1, reachedIn(replies ?? [], durability));
        // Whoever is taken for the second time goes the long way: it has been sent.
        this.#channels.open(this.#homes.of(question.lock), STALE_AFTER);
        (durability ? this.#askProven : this.#queueUp)(question);
        return undefined;
      });
    });
  }

  /** Those who are held, or wait, or may have to. */
  async #sendFull(questions: Question[]): Promise<void> {
    const [{ lock, durability }] = questions as [Question];
    const keys: string[] = [];
    const args: string[] = [];
    // More may join a place while its question is out.
    const fences = questions.map((question) => question.fences);
    for (const question of questions) {
      keys.push(...this.#keys.of(question.lock));
      args.push(...this.#wordsOf(question));
    }
    const run = this.#run(scripts.acquire, this.#callAbout(lock), { keys, args }, proofOf(durability));
    const replies = await this.#asked(questions, run);
    questions.forEach((question, i) => {
      this.#hearReply(question, replies, i, (reply) => {
        const acquired = readAcquired(reply, question);
        if (acquired.kind === "again") {
          this.#queueUp(question);
          return undefined;
        }
        return this.#answerTo(question, acquired, fences[i] as number, reachedIn(replies ?? [], durability));
      });
    });
  }

  /** The replies, or undefined if the questions have heard of a failure. */
  async #asked(questions: Question[], run: Promise<unknown[]>): Promise<unknown[] | undefined> {
    try {
      return await run;
    } catch (error) {
      for (const question of questions) question.failed(error);
      return undefined;
    }
  }

  #hearReply(
    question: Question,
    replies: unknown[] | undefined,
    i: number,
    read: (reply: unknown) => Answer | undefined,
  ): void {
    if (!replies) return;
    let answer;
    try {
      answer = read(checkReply(replies[i]));
      if (answer) assureGrant(question, answer);
    } catch (error) {
      return question.failed(error);
    }
    if (answer) question.answered(answer);
  }

  /** One question as the script `acquire` takes it. */
  #wordsOf(question: Question): string[] {
    const {
      lock,
      token,
      ttl,
      wait,
      ticket = "",
      waiting,
      fences,
      askedAt,
      maxQueue = "",
      label,
      durability,
    } = question;
    const home = this.#homes.of(lock);
    const listens = this.#channels.isUp(home) ? (this.#channels.serverOf(home) ?? "2") : "1";
    return [
      token,
      modeOf(question),
      String(ttl),
      wait ? listens : "0",
      ticket,
      String(waiting),
      String(fences),
      // A push names the latest question before it: it was granted after that was asked. Nobody has proven what is pushed.
      durability ? "0" : String(Math.floor(askedAt * 1_000)),
      String(maxQueue),
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
    this.#noteWanted(lock);
    const { rank, holder } = acquired;
    return { kind: "pending", pokeAfter: this.#pokeAfter(lock, acquired), ahead: rank, ...(holder && { holder }) };
  }

  async #sendExtensions(items: Extending[]): Promise<void> {
    const alike = (a: Extending, b: Extending): boolean =>
      this.#homes.of(a.grant.lock) === this.#homes.of(b.grant.lock) && proofOf(a.wish) === proofOf(b.wish);
    await Promise.all(Array.from(runsOf(items, alike), (run) => this.#sendExtensionCall(run)));
  }

  async #sendExtensionCall(items: Extending[]): Promise<void> {
    const keys: string[] = [];
    const args: string[] = [];
    for (const { grant, ttl } of items) {
      const [key, holders] = this.#keys.of(grant.lock);
      keys.push(key, holders);
      args.push(grant.token, String(grant.fence), String(ttl));
    }
    const proof = proofOf(items[0]?.wish);
    await hearAll(
      items,
      this.#run(scripts.extend, NOTHING, { keys, args }, proof),
      ({ grant, wish }, reply, replies) => {
        const extension = readExtension(reply);
        if (wish && extension === "extended") assureExtension(grant.lock, wish, reachedIn(replies, wish));
        return extension;
      },
    );
  }

  /** The common case: exclusive locks that nobody waits for. */
  #sendGiven(items: Giving[]): void {
    for (const run of runsOf(items, (a, b) => a.home === b.home)) {
      const keys: string[] = [];
      const args: string[] = [];
      for (const { farewell } of run) {
        const [key, , queue] = this.#keys.of(farewell.lock);
        keys.push(key, queue);
        args.push(`${numberOf(farewell.token)}#${farewell.fence}`);
      }
      const call: { keys: []; args: [string] } = { keys: [], args: [this.#client] };
      void hearAll(run.map(callerOf), this.#run(scripts.give, call, { keys, args }), ({ item }, reply) => {
        if (readNumber(reply) === 1) return "released";
        this.#release(item);
        return undefined;
      });
    }
  }

  #sendReleases(items: Giving[]): void {
    for (const run of runsOf(items, (a, b) => a.home === b.home)) {
      const keys = run.flatMap(({ farewell }) => this.#keys.of(farewell.lock));
      const args = run.map(({ farewell }) => farewell.token);
      const call = this.#call((run[0] as Giving).home);
      void hearAll(run.map(callerOf), this.#run(scripts.release, call, { keys, args }), ({ item }, reply) => {
        return this.#released(item, reply);
      });
    }
  }

  #released(item: Giving, reply: unknown): Release {
    const { lock } = item.farewell;
    const { wasHeld, isWanted, isUnfinished } = readReleased(reply);
    if (isWanted) this.#noteWanted(lock);
    else this.#wanted.delete(lock);
    // Who waits behind very many that are gone is not to wait for its next poke. Nobody needs the answer.
    if (isUnfinished) {
      const { token } = item.farewell;
      this.#release({ ...item, farewell: { lock, token, isBehind: false, answered: ignore, failed: ignore } });
    }
    if (wasHeld) return "released";
    return item.drops === this.#driver.drops ? "gone" : "unsure";
  }

  async #look(names: readonly string[]): Promise<unknown[]> {
    const runs = runsOf(names, (a, b) => this.#homes.of(a) === this.#homes.of(b));
    const calls = Array.from(runs, (run) =>
      this.#run(scripts.query, NOTHING, { keys: run.flatMap((name) => this.#keys.of(name)), args: [] }),
    );
    return (await Promise.all(calls)).flat();
  }

  #noteWanted(lock: string): void {
    if (this.#wanted.size >= MOST_HINTS) this.#wanted.clear();
    this.#wanted.add(lock);
  }

  async #steal(
    lock: string,
    args: [string, string, string, string, string],
    wish?: Wish,
  ): Promise<[unknown[], Durability | undefined]> {
    const item = { keys: this.#keys.of(lock), args };
    const replies = await this.#run(scripts.steal, this.#callAbout(lock), item, proofOf(wish));
    const reply = checkReply(replies[0]) as unknown[];
    const victims = (reply[2] as unknown[] | undefined) ?? [];
    if (this.#homes.of(lock).lock !== undefined) {
      // Before the thief continues, and perhaps gives the lock back: by then it would look as if it had ended by itself.
      const told = [];
      for (let i = 0; i < victims.length; i += 2)
        told.push(this.#tellLoss(lock, readText(victims[i]), readText(victims[i + 1])));
      await Promise.all(told);
    }
    return [reply, reachedIn(replies, wish)];
  }

  /** In a Cluster. Who misses it learns by its next renewal. Never rejects. */
  async #tellLoss(lock: string, token: string, fence: string): Promise<void> {
    const [key] = this.#keys.of(lock);
    const channel = this.#own.channel + token.slice(0, token.indexOf(":"));
    const message = `lost ${fence} 0 0 ${token} ${key}`;
    // Channels of slots came with Redis 7.
    for (const command of ["SPUBLISH", "PUBLISH"]) {
      const heard = this.#send([command, channel, message], channel);
      if (await heard.then(isDone, isNotDone)) return;
    }
  }

  /** Behind all that has been gathered. */
  #run<K extends ScriptStrings, A extends ScriptStrings>(
    script: Script<K, A>,
    call: { readonly keys: K["call"]; readonly args: A["call"] },
    items: { readonly keys: readonly string[]; readonly args: readonly string[] },
    proof?: Proof,
  ): Promise<unknown[]> {
    this.#batches.flush();
    const driver = proof ? proving(this.#driver, proof) : this.#driver;
    return this.#limit.guard(runScript(driver, script, call, items));
  }

  #call({ counter, channel }: Home): Call {
    return { keys: [counter], args: [this.#publish, channel] };
  }

  #callAbout(lock: string): Call {
    return this.#call(this.#homes.of(lock));
  }

  #hear(text: string): void {
    const [, what, number, fences, asked, token = "", key = ""] = MESSAGE.exec(text) ?? [];
    const lock = nameOfKey(this.#prefix, key) ?? "";
    if (what === "granted") {
      const since = Number(asked) > 0 ? Number(asked) / 1_000 : undefined;
      this.#listener?.granted(lock, token, Number(number), Number(fences), ...(since === undefined ? [] : [since]));
    } else if (what === "next") this.#listener?.next(lock, token, Number(number));
    else if (what === "lost") this.#listener?.lost(lock, token, Number(number));
  }

  #missed(homes: ReadonlySet<Home>): void {
    const locks = new Set<string>();
    for (const { lock } of homes) {
      if (lock === undefined) return this.#listener?.missed();
      locks.add(lock);
    }
    if (locks.size > 0) this.#listener?.missed(locks);
  }

  /** When a waiter asks again by itself: pushes are the rule, this is for what they miss. */
  #pokeAfter(lock: string, { rank, left, isForeign, isUnfinished }: Acquired & { kind: "pending" }): number {
    if (isUnfinished) return 0;
    const isFirst = rank === 0;
    const isUp = this.#channels.isUp(this.#homes.of(lock));
    const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const longest = isForeign && isFirst ? FOREIGN_POKE : isUp ? spread : DEAF_POKE;
    return rank < FRONT && left >= 0 ? Math.min(longest, left + EXPIRY_MARGIN + rank * FRONT_STEP) : longest;
  }
}

function ignore(): void {}

function isDone(): boolean {
  return true;
}

function isNotDone(): boolean {
  return false;
}

/** What follows the client's id in a token. */
function numberOf(token: string): string {
  return token.slice(token.indexOf(":") + 1);
}

/** As the scripts write it: for a semaphore's request, the permits it wants and how many there are. */
function modeOf({ mode, permits = 1, limit }: LockRequest): string {
  return limit === undefined ? mode : `${permits}/${limit}`;
}

function granted(fence: number, fences: number, durability: Durability | undefined): Answer {
  return durability ? { kind: "granted", fence, fences, durability } : { kind: "granted", fence, fences };
}

function callerOf(item: Giving): { readonly item: Giving; readonly caller: Caller<Release> } {
  return { item, caller: item.farewell };
}

/** Each item hears its own reply, or the failure of the whole call. Never rejects. */
async function hearAll<T extends { readonly caller: Caller<A> }, A>(
  items: readonly T[],
  run: Promise<unknown[]>,
  read: (item: T, reply: unknown, replies: unknown[]) => A | undefined,
): Promise<void> {
  let replies: unknown[];
  try {
    replies = await run;
  } catch (error) {
    for (const { caller } of items) caller.failed(error);
    return;
  }
  items.forEach((item, i) => {
    let answer;
    try {
      answer = read(item, checkReply(replies[i]), replies);
    } catch (error) {
      return item.caller.failed(error);
    }
    if (answer !== undefined) item.caller.answered(answer);
  });
}
