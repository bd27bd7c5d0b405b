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
import type { Clock } from "../clock.ts";
import { runScript } from "../drivers/run-script.ts";
import { schemeError } from "../drivers/server-errors.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import type { Driver, Script, ScriptStrings, Send } from "../drivers/driver.ts";
import { assureExtension, assureGrant } from "./assure.ts";
import { proofOf, proving, reachedIn } from "../drivers/proof.ts";
import type { Durability, Wish } from "../durability.ts";
import type { Proof } from "../drivers/proof.ts";
import { mismatch, QueueFullError } from "../errors.ts";
import { Homes, Keys, lockKeys, nameOfKey } from "./keys.ts";
import type { Home, LockKeys } from "./keys.ts";
import * as lua from "./lua/scripts.generated.ts";
import { TOKEN } from "./scheme.ts";
import type {
  Answer,
  Extension,
  GivenUp,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Release,
  Scheme,
  Selection,
} from "./scheme.ts";
import { Channels } from "./channels.ts";
import { Outbox, replyTo } from "./outbox.ts";
import type { AddItem, Added } from "./outbox.ts";
import { Clients } from "./clients.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, POKE_INTERVAL, STALE_AFTER } from "./memory.ts";
import { findNames } from "./scan.ts";

/** A foreign holder tells nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a grant within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;

/** Our clock may run faster than the server's by so much. */
const RATE = 0.99;

/** So many locks are remembered as wanted by others. */
const MOST_HINTS = 10_000;

/** What a call that may grant is given once: the fence counter, and how to push. */
interface Call {
  readonly keys: [counter: string];
  readonly args: [publish: string, channel: string];
}

export class LuaScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly proves = true;
  readonly #driver: Driver;
  readonly #prefix: string;
  readonly #keys: Keys<LockKeys>;
  readonly #homes: Homes;
  /**
   * Where this manager itself is at home: its channel there is for holders. On one server waiters have the same one; in
   * a Cluster a script cannot reach it, so whoever robs a holder tells it here.
   */
  readonly #own: Home;
  /** How a Cluster publishes: to those who listen on the server that keeps the channel's slot. */
  readonly #publish: "PUBLISH" | "SPUBLISH";
  readonly #clock: Clock;
  readonly #limit: TimeLimit;
  readonly #send: Send;
  readonly #clients: Clients;
  readonly #channels: Channels;
  readonly #give: AddItem<[string, string], [grant: string], [Home]>;
  readonly #take: AddItem<[string, string], [number: string], [Home, ttl: number, Proof?]>;
  readonly #release: AddItem<LockKeys, [string], [Home]>;
  readonly #extend: AddItem<[string, string], [string, string, string], [Home, Proof?]>;
  readonly #query: AddItem<LockKeys, [], [Home]>;
  readonly #acquire: AddItem<
    LockKeys,
    [string, string, string, string, string, string, string, string, string, string],
    [Home, Proof?]
  >;
  /** Quick attempts that are out. Later requests for the same lock wait for their outcome, to stay behind them. */
  readonly #taking = new Map<string, Promise<unknown>>();
  /** By token: the latest question of a waiter, and how long a grant in answer to it lasts. */
  readonly #questions = new Map<string, { readonly number: number; readonly at: number; readonly lasts: number }>();
  #asked = 0;
  /** Locks that others wanted when we last looked: there a quick attempt would be in vain. Only a hint. */
  readonly #wanted = new Set<string>();
  #listener: PushListener | undefined;

  constructor(driver: Driver, clock: Clock, settings: { prefix: string; clientId: string; label: string }) {
    this.#driver = driver;
    this.#prefix = settings.prefix;
    this.#keys = new Keys(settings.prefix, lockKeys);
    this.#homes = new Homes(settings.prefix, driver.isCluster);
    this.#own = new Homes(settings.prefix, false).of("");
    this.#publish = driver.isCluster ? "SPUBLISH" : "PUBLISH";
    this.#clock = clock;
    this.#limit = new TimeLimit(clock, driver);
    this.#send = (command, key) => this.#limit.guard(driver.send(command, key));
    this.#clients = new Clients(this.#send, clock, settings);
    this.#channels = new Channels(driver, clock, settings.clientId, {
      message: (text) => this.#hear(text),
      up: (homes) => this.#missed(homes),
    });
    const client = `${settings.clientId}:`;
    const none: [] = [];
    const outbox = new Outbox((run) => driver.together(run));
    // What is given up first frees room for what is asked for.
    this.#give = outbox.script((items) => this.#run(lua.give, { keys: none, args: [client] }, items));
    this.#release = outbox.script((items) => this.#run(lua.release, this.#call(items.common[0]), items));
    this.#extend = outbox.script(
      (items) => this.#run(lua.extend, { keys: none, args: none }, items, items.common[1]),
      (common) => common[1] !== undefined,
    );
    // Who takes the long way was not behind anybody who tries the quick one: they would have waited for the outcome.
    this.#acquire = outbox.script(
      (items) => this.#run(lua.acquire, this.#call(items.common[0]), items, items.common[1]),
      (common) => common[1] !== undefined,
    );
    this.#take = outbox.script(
      (items) => {
        const [{ counter }, ttl, proof] = items.common;
        return this.#run(lua.take, { keys: [counter], args: [client, String(ttl)] }, items, proof);
      },
      (common) => common[2] !== undefined,
    );
    this.#query = outbox.script((items) => this.#run(lua.query, { keys: none, args: none }, items));
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    return this.#assure(request, this.#takeOrQueueUp(request, wait));
  }

  #takeOrQueueUp(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, mode, label, ticket, waiting = 1 } = request;
    this.#clients.announce(request.ttl);
    if (wait) this.#channels.open(this.#own, request.ttl);
    const earlier = this.#taking.get(lock);
    if (earlier) return this.#queueBehind(earlier, request, wait);
    const plain = mode === "exclusive" && label === "" && ticket === undefined && waiting === 1;
    return plain && !this.#wanted.has(lock) ? this.#takeOrQueue(request, wait) : this.#queue(request, wait);
  }

  /** The common case. Who wants the same lock meanwhile goes on right behind us. */
  async #takeOrQueue(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, token, ttl, durability } = request;
    const [key, , queue] = this.#keys.of(lock);
    const home = this.#homes.of(lock);
    const { replies, index } = this.#take([key, queue], [numberOf(token)], home, ttl, proofOf(durability));
    this.#taking.set(lock, replies);
    let taken;
    try {
      taken = await replies;
    } finally {
      this.#taking.delete(lock);
    }
    const fence = Number(taken[index]);
    return fence > 0 ? granted(fence, 1, reachedIn(taken, durability)) : this.#queue(request, wait);
  }

  async #queueBehind(earlier: Promise<unknown>, request: LockRequest, wait: boolean): Promise<Answer> {
    await earlier.catch(() => {});
    return this.#queue(request, wait);
  }

  async #queue(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, token, ttl, ticket = "", waiting = 1, fences = 1, maxQueue = "", label, durability } = request;
    const keys = this.#keys.of(lock);
    const home = this.#homes.of(lock);
    if (wait) this.#channels.open(home, STALE_AFTER);
    const listens = this.#channels.isUp(home) ? (this.#channels.serverOf(home) ?? "2") : "1";
    const manner = wait ? listens : "0";
    // Nobody has proven a grant that is pushed: that of a wish for it is not held before it was asked for again.
    const asked = wait && !durability ? this.#noteQuestion(request) : 0;
    const item = this.#acquire(
      keys,
      [
        token,
        modeOf(request),
        String(ttl),
        manner,
        ticket,
        String(waiting),
        String(fences),
        String(asked),
        String(maxQueue),
        label,
      ],
      home,
      proofOf(durability),
    );
    const answer = await ownReply(item);
    if (Array.isArray(answer) && answer[0] !== "holding") {
      const refusal = refusalOf(request, answer);
      if (refusal) return refusal;
      const [place, rank, left, foreign, holder, holdersLabel] = answer as unknown[];
      request.ticket = String(place);
      this.#noteWanted(lock);
      return {
        kind: "pending",
        pokeAfter: this.#pokeAfter(home, Number(rank), Number(left), Number(foreign) === 1),
        ahead: Number(rank),
        ...(holder !== "" && { holder: { token: String(holder), label: String(holdersLabel) } }),
      };
    }
    this.#questions.delete(token);
    const reached = durability && reachedIn(await item.replies, durability);
    // Who never stood in line may have been granted by the quick script, with one fence, and not have heard of it.
    if (Array.isArray(answer)) return granted(Number(answer[1]), ticket === "" ? 1 : fences, reached);
    const fence = Number(answer);
    return fence > 0 ? granted(fence, fences, reached) : { kind: "busy" };
  }

  /** @param asked what the server was asked for the request, with its wish */
  #assure(request: LockRequest, asked: Promise<Answer>): Promise<Answer> {
    if (!request.durability) return asked;
    return assureGrant(request, request.durability, asked, (over) => this.release(over));
  }

  /** A pushed grant says which question was the last before it: so it was given after that was sent. */
  #noteQuestion({ token, ttl }: LockRequest): number {
    const lasts = Math.min(ttl, CLAIM_WINDOW) * RATE;
    this.#questions.set(token, { number: ++this.#asked, at: this.#clock.now(), lasts });
    return this.#asked;
  }

  #granted(lock: string, token: string, fence: number, asked: number): void {
    const question = this.#questions.get(token);
    const until = question?.number === asked ? question.at + question.lasts : undefined;
    this.#listener?.granted(lock, token, fence, until);
  }

  #noteWanted(lock: string): void {
    if (this.#wanted.size >= MOST_HINTS) this.#wanted.clear();
    this.#wanted.add(lock);
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.#assure(request, this.#stealFor(request));
  }

  async #stealFor(request: LockRequest): Promise<Answer> {
    const { lock, token, ttl, label, durability } = request;
    this.#clients.announce(ttl);
    const [reply, reached] = await this.#steal(lock, [token, String(ttl), label, "*"], durability);
    return refusalOf(request, reply) ?? granted(Number(reply[1]), 1, reached);
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.token ?? holder.foreign;
    if (expected === undefined) return false;
    const [[taken]] = await this.#steal(lock, ["", "0", "", expected]);
    return Number(taken) === 1;
  }

  async extend({ lock, token, fence }: Grant, ttl: number, wish?: Wish): Promise<Extension> {
    this.#clients.announce(ttl);
    const home = this.#homes.of(lock);
    // Whoever holds for so long wants to know soon when the lock is stolen.
    this.#channels.open(this.#own, ttl);
    const [key, holders] = this.#keys.of(lock);
    const item = this.#extend([key, holders], [token, String(fence), String(ttl)], home, proofOf(wish));
    const extension = extensionOf(await ownReply(item));
    if (wish && extension === "extended") assureExtension(lock, wish, reachedIn(await item.replies, wish));
    return extension;
  }

  /** Not proven: a replica that has missed it keeps others out, and who is let in with a wish proves it on the way. */
  async downgrade({ lock, token, fence }: Grant): Promise<Extension> {
    const item = { keys: this.#keys.of(lock), args: [token, String(fence)] };
    const [reply] = await this.#run(lua.downgrade, this.#callAbout(lock), item);
    return extensionOf(unwrap(reply));
  }

  /** Not proven: a replica that has missed it only keeps the lock held until its ttl is over. */
  async release(request: GivenUp): Promise<Release> {
    const { lock, token, mode, fence } = request;
    this.#questions.delete(token);
    const drops = this.#driver.drops;
    const keys = this.#keys.of(lock);
    const home = this.#homes.of(lock);
    if (mode === "exclusive" && fence && !this.#wanted.has(lock)) {
      const [key, , queue] = keys;
      const { replies, index } = this.#give([key, queue], [`${numberOf(token)}#${fence}`], home);
      if (Number((await replies)[index]) === 1) return "released";
    }
    const held = Number(await ownReply(this.#release(keys, [token], home)));
    if (held === 2) this.#noteWanted(lock);
    else this.#wanted.delete(lock);
    if (held > 0) return "released";
    return drops === this.#driver.drops ? "gone" : "unsure";
  }

  /** Not proven: a replica that has missed it keeps what it has of the lease, which ends no earlier. */
  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const drops = this.#driver.drops;
    const args: [string, string, string, string] = [token, String(fence), String(ttl), label];
    const [reply] = await this.#run(lua.keep, this.#callAbout(lock), { keys: this.#keys.of(lock), args });
    if (Number(unwrap(reply)) === 1) return "released";
    return drops === this.#driver.drops ? "gone" : "unsure";
  }

  detach(grant: Grant): Grant {
    return grant;
  }

  handOver(grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.#assure(heir, this.#handOver(grant, heir));
  }

  async #handOver({ lock, token, fence }: Grant, heir: LockRequest): Promise<Answer> {
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
    const replies = await this.#run(lua.handover, this.#callAbout(lock), item, proofOf(heir.durability));
    const drawn = Number(unwrap(replies[0]));
    return drawn > 0 ? granted(drawn, 1, reachedIn(replies, heir.durability)) : { kind: "busy" };
  }

  async query(selection: Selection): Promise<LockState[]> {
    const names = await findNames(() => this.#limit.servers(), this.#prefix, selection);
    const replies = await Promise.all(
      names.map((name) => replyTo(this.#query(this.#keys.of(name), [], this.#homes.of(name)))),
    );
    // Among all keys of the prefix there may be some that are no locks.
    const named = typeof selection === "object" && "name" in selection;
    const states = replies.flatMap((reply, i) => {
      if (isFailure(reply) && !named && String(reply[1]).startsWith("WRONGTYPE")) return [];
      return [readState(names[i] as string, unwrap(reply))];
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
    await this.#clients.forget();
    this.#limit.close();
    this.#driver.close();
  }

  async #steal(
    lock: string,
    args: [string, string, string, string],
    wish?: Wish,
  ): Promise<[unknown[], Durability | undefined]> {
    const item = { keys: this.#keys.of(lock), args };
    const replies = await this.#run(lua.steal, this.#callAbout(lock), item, proofOf(wish));
    const reply = unwrap(replies[0]) as unknown[];
    if (this.#homes.of(lock).lock !== undefined) {
      const victims = rows((reply[2] as unknown[] | undefined) ?? [], 2);
      // Before the thief goes on, and perhaps gives the lock back: by then it would look as if it had ended by itself.
      await Promise.all(victims.map(([victim, fence]) => this.#tellLoss(lock, String(victim), String(fence))));
    }
    return [reply, reachedIn(replies, wish)];
  }

  /** In a Cluster. Who misses it learns by its next renewal. Never rejects. */
  async #tellLoss(lock: string, token: string, fence: string): Promise<void> {
    const [key] = this.#keys.of(lock);
    const channel = this.#own.channel + clientOf(token);
    const message = `lost ${fence} 0 ${token} ${key}`;
    // Channels of slots came with Redis 7.
    for (const command of ["SPUBLISH", "PUBLISH"]) {
      const heard = this.#send([command, channel, message], channel);
      if (
        await heard.then(
          () => true,
          () => false,
        )
      )
        return;
    }
  }

  #run<K extends ScriptStrings, A extends ScriptStrings>(
    script: Script<K, A>,
    call: { readonly keys: K["call"]; readonly args: A["call"] },
    items: { readonly keys: readonly string[]; readonly args: readonly string[] },
    proof?: Proof,
  ): Promise<unknown[]> {
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
    const [, what, number, asked, token = "", key = ""] = /^(\w+) (\d+) (\d+) (\S+) ([^]*)$/.exec(text) ?? [];
    const lock = nameOfKey(this.#prefix, key) ?? "";
    if (what === "granted") this.#granted(lock, token, Number(number), Number(asked));
    else if (what === "next") this.#listener?.next(lock, token, Number(number));
    else if (what === "lost") this.#listener?.lost(lock, token, Number(number));
  }

  #missed(homes: ReadonlySet<Home>): void {
    const locks = new Set<string>();
    for (const { lock } of homes) {
      if (lock !== undefined) locks.add(lock);
      else if (this.#homes.of("").lock === undefined) return this.#listener?.missed();
    }
    if (locks.size > 0) this.#listener?.missed(locks);
  }

  /** When a waiter asks again by itself: pushes are the rule, this is for what they miss. */
  #pokeAfter(home: Home, rank: number, left: number, foreign: boolean): number {
    const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const first = rank === 0;
    const longest = foreign && first ? FOREIGN_POKE : this.#channels.isUp(home) ? spread : DEAF_POKE;
    return first && left >= 0 ? Math.min(longest, left + EXPIRY_MARGIN) : longest;
  }
}

function clientOf(token: string): string {
  return token.slice(0, token.indexOf(":"));
}

/** What follows the client's id in a token. */
function numberOf(token: string): string {
  return token.slice(token.indexOf(":") + 1);
}

/** As the scripts have it: of a semaphore's request, the permits it wants and how many there are. */
function modeOf({ mode, permits = 1, limit }: LockRequest): string {
  return limit === undefined ? mode : `${permits}/${limit}`;
}

/** The mode and the permits that a script tells of. */
function readMode(text: string): { mode: LockMode; permits?: number } {
  return text.includes("/") ? { mode: "shared", permits: parseInt(text) } : { mode: text as LockMode };
}

function refusalOf({ lock, limit, maxQueue = 0 }: LockRequest, [what, used]: unknown[]): Answer | undefined {
  if (what === "full") return { kind: "refused", error: new QueueFullError(lock, maxQueue) };
  if (what === "mismatch") return { kind: "refused", error: mismatch(lock, limit, Number(used) || undefined) };
  return undefined;
}

function granted(fence: number, fences: number, durability: Durability | undefined): Answer {
  return durability ? { kind: "granted", fence, fences, durability } : { kind: "granted", fence, fences };
}

function extensionOf(reply: unknown): Extension {
  return Number(reply) === 1 ? "extended" : Number(reply) === 0 ? "gone" : "stolen";
}

async function ownReply(item: Added): Promise<unknown> {
  return unwrap(await replyTo(item));
}

/** One item's reply; its own error concerns nobody else in the batch. */
export function unwrap(reply: unknown): unknown {
  if (isFailure(reply)) throw schemeError(new Error(String(reply[1])));
  return reply;
}

function isFailure(reply: unknown): reply is ["ERR", unknown] {
  return Array.isArray(reply) && reply[0] === "ERR";
}

function readState(lock: string, reply: unknown): LockState {
  const [kind, held, waiting, total] = reply as [string, unknown[], unknown[], string];
  const waiters = rows(waiting, 4);
  // Where nobody holds, those who wait know the limit.
  const limit = Number(total || String(waiters[0]?.[1]).split("/")[1]) || undefined;
  // The set scheme writes bare tokens: foreign to the queue, for it pushes nothing, but one of us.
  const foreign = kind === "foreign" && !TOKEN.test(String(held[0]));
  return {
    lock,
    mode: kind === "" ? undefined : kind === "shared" ? "shared" : "exclusive",
    ...(limit !== undefined && { limit }),
    holders: rows(held, 5).map(([token, fence, left, label, permits]) => ({
      token: foreign ? undefined : String(token),
      fence: fence === "" ? undefined : Number(fence),
      remaining: Number(left) < 0 ? undefined : Number(left),
      label: String(label),
      ...(foreign && { foreign: String(token) }),
      ...(permits !== "" && { permits: Number(permits) }),
    })),
    waiters: waiters.map(([token, mode, count, label]) => ({
      token: String(token),
      waiting: Number(count),
      label: String(label),
      ...readMode(String(mode)),
    })),
  };
}

function rows(flat: unknown[], width: number): unknown[][] {
  return Array.from({ length: flat.length / width }, (_, i) => flat.slice(i * width, (i + 1) * width));
}
