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
import { runScript, schemeError, TimeLimit } from "../driver.ts";
import type { Driver, Script, ScriptStrings, Send, Subscription } from "../driver.ts";
import { mismatch, QueueFullError } from "../errors.ts";
import { channelPrefix, counterKey, Keys, lockKeys, nameOfKey } from "../keys.ts";
import type { LockKeys } from "../keys.ts";
import * as lua from "../lua.generated.ts";
import { TOKEN } from "../scheme.ts";
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
} from "../scheme.ts";
import { Outbox, replyTo } from "./outbox.ts";
import type { AddItem, Added } from "./outbox.ts";
import { Clients } from "./clients.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, POKE_INTERVAL } from "./memory.ts";
import { findNames } from "./scan.ts";

/** A foreign holder tells nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a grant within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;

/** Our clock may run faster than the server's by so much. */
const RATE = 0.99;

/** So many locks are remembered as wanted by others. */
const MOST_HINTS = 10_000;

export class LuaScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly #driver: Driver;
  readonly #prefix: string;
  readonly #keys: Keys<LockKeys>;
  /** What every call that may grant is given once: the fence counter, and how to push. */
  readonly #call: { readonly keys: [counter: string]; readonly args: [publish: string, channel: string] };
  readonly #clientId: string;
  readonly #clock: Clock;
  readonly #limit: TimeLimit;
  readonly #send: Send;
  readonly #clients: Clients;
  readonly #give: AddItem<[string, string], [grant: string]>;
  readonly #take: AddItem<[string, string], [number: string]>;
  readonly #release: AddItem<LockKeys, [string]>;
  readonly #extend: AddItem<[string, string], [string, string, string]>;
  readonly #acquire: AddItem<
    LockKeys,
    [string, string, string, string, string, string, string, string, string, string]
  >;
  /** Quick attempts that are out. Later requests for the same lock wait for their outcome, to stay behind them. */
  readonly #taking = new Map<string, Promise<unknown>>();
  /** By token: the latest question of a waiter, and how long a grant in answer to it lasts. */
  readonly #questions = new Map<string, { readonly number: number; readonly at: number; readonly lasts: number }>();
  #asked = 0;
  /** Locks that others wanted when we last looked: there a quick attempt would be in vain. Only a hint. */
  readonly #wanted = new Set<string>();
  #listener: PushListener | undefined;
  #subscription: Subscription | undefined;
  #closed = false;

  constructor(driver: Driver, clock: Clock, settings: { prefix: string; clientId: string; label: string }) {
    this.#driver = driver;
    this.#prefix = settings.prefix;
    this.#keys = new Keys(settings.prefix, lockKeys);
    this.#call = { keys: [counterKey(settings.prefix)], args: ["PUBLISH", channelPrefix(settings.prefix)] };
    this.#clientId = settings.clientId;
    this.#clock = clock;
    this.#limit = new TimeLimit(clock, driver);
    this.#send = (command) => this.#limit.guard(driver.send(command));
    this.#clients = new Clients(this.#send, clock, settings);
    const call = this.#call;
    const client = `${settings.clientId}:`;
    const outbox = new Outbox((run) => driver.together(run));
    // What is given up first frees room for what is asked for.
    this.#give = outbox.script((items) => this.#run(lua.give, { keys: [], args: [client] }, items));
    this.#release = outbox.script((items) => this.#run(lua.release, call, items));
    this.#extend = outbox.script((items) => this.#run(lua.extend, { keys: [], args: [] }, items));
    // Who takes the long way was not behind anybody who tries the quick one: they would have waited for the outcome.
    this.#acquire = outbox.script((items) => this.#run(lua.acquire, call, items));
    this.#take = outbox.script((items) => {
      return this.#run(lua.take, { keys: call.keys, args: [client, items.shared] }, items);
    });
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, mode, label, ticket, waiting = 1 } = request;
    this.#clients.announce(request.ttl);
    if (wait) this.#subscribe();
    const earlier = this.#taking.get(lock);
    if (earlier) return this.#queueBehind(earlier, request, wait);
    const plain = mode === "exclusive" && label === "" && ticket === undefined && waiting === 1;
    return plain && !this.#wanted.has(lock) ? this.#takeOrQueue(request, wait) : this.#queue(request, wait);
  }

  /** The common case. Who wants the same lock meanwhile goes on right behind us. */
  async #takeOrQueue(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, token, ttl } = request;
    const [key, , queue] = this.#keys.of(lock);
    const { replies, index } = this.#take([key, queue], [numberOf(token)], String(ttl));
    this.#taking.set(lock, replies);
    let fence;
    try {
      fence = Number((await replies)[index]);
    } finally {
      this.#taking.delete(lock);
    }
    return fence > 0 ? { kind: "granted", fence } : this.#queue(request, wait);
  }

  async #queueBehind(earlier: Promise<unknown>, request: LockRequest, wait: boolean): Promise<Answer> {
    await earlier.catch(() => {});
    return this.#queue(request, wait);
  }

  async #queue(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, token, ttl, ticket = "", waiting = 1, fences = 1, maxQueue = "", label } = request;
    const keys = this.#keys.of(lock);
    const listens = this.#subscription?.up ? "2" : "1";
    const manner = wait ? listens : "0";
    const asked = wait ? this.#noteQuestion(request) : 0;
    const answer = await ownReply(
      this.#acquire(keys, [
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
      ]),
    );
    if (Array.isArray(answer) && answer[0] !== "holding") {
      const refusal = refusalOf(request, answer);
      if (refusal) return refusal;
      const [place, rank, left, foreign, holder, holdersLabel] = answer as unknown[];
      request.ticket = String(place);
      this.#noteWanted(lock);
      return {
        kind: "pending",
        pokeAfter: this.#pokeAfter(Number(rank), Number(left), Number(foreign) === 1),
        ahead: Number(rank),
        ...(holder !== "" && { holder: { token: String(holder), label: String(holdersLabel) } }),
      };
    }
    this.#questions.delete(token);
    if (Array.isArray(answer)) {
      // Who never stood in line may have been granted by the quick script, with one fence, and not have heard of it.
      return { kind: "granted", fence: Number(answer[1]), fences: ticket === "" ? 1 : fences };
    }
    const fence = Number(answer);
    return fence > 0 ? { kind: "granted", fence, fences } : { kind: "busy" };
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

  async steal(request: LockRequest): Promise<Answer> {
    const { lock, token, ttl, label } = request;
    this.#clients.announce(ttl);
    const reply = await this.#steal(lock, [token, String(ttl), label, "*"]);
    return refusalOf(request, reply) ?? { kind: "granted", fence: Number(reply[1]) };
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.token ?? holder.foreign;
    if (expected === undefined) return false;
    const [taken] = (await this.#steal(lock, ["", "0", "", expected])) as [number];
    return Number(taken) === 1;
  }

  async extend({ lock, token, fence }: Grant, ttl: number): Promise<Extension> {
    this.#clients.announce(ttl);
    // Whoever holds for so long wants to know soon when the lock is stolen.
    this.#subscribe();
    const [key, holders] = this.#keys.of(lock);
    return extensionOf(await ownReply(this.#extend([key, holders], [token, String(fence), String(ttl)])));
  }

  async downgrade({ lock, token, fence }: Grant): Promise<Extension> {
    const [reply] = await this.#run(lua.downgrade, this.#call, {
      keys: this.#keys.of(lock),
      args: [token, String(fence)],
    });
    return extensionOf(unwrap(reply));
  }

  async release(request: GivenUp): Promise<Release> {
    const { lock, token, mode, fence } = request;
    this.#questions.delete(token);
    const drops = this.#driver.drops;
    const keys = this.#keys.of(lock);
    if (mode === "exclusive" && fence && !this.#wanted.has(lock)) {
      const [key, , queue] = keys;
      const { replies, index } = this.#give([key, queue], [`${numberOf(token)}#${fence}`]);
      if (Number((await replies)[index]) === 1) return "released";
    }
    const held = Number(await ownReply(this.#release(keys, [token])));
    if (held === 2) this.#noteWanted(lock);
    else this.#wanted.delete(lock);
    if (held > 0) return "released";
    return drops === this.#driver.drops ? "gone" : "unsure";
  }

  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const drops = this.#driver.drops;
    const args: [string, string, string, string] = [token, String(fence), String(ttl), label];
    const [reply] = await this.#run(lua.keep, this.#call, { keys: this.#keys.of(lock), args });
    if (Number(unwrap(reply)) === 1) return "released";
    return drops === this.#driver.drops ? "gone" : "unsure";
  }

  detach(grant: Grant): Grant {
    return grant;
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
    const [reply] = await this.#run(lua.handover, this.#call, { keys: this.#keys.of(lock), args });
    const granted = Number(unwrap(reply));
    return granted > 0 ? { kind: "granted", fence: granted } : { kind: "busy" };
  }

  async query(selection: Selection): Promise<LockState[]> {
    const names = await findNames(this.#send, this.#prefix, selection);
    const states: LockState[] = [];
    for (let i = 0; i < names.length; i += 100) {
      const keys = names.slice(i, i + 100).flatMap((name) => this.#keys.of(name));
      const replies = await this.#run(lua.query, { keys: [], args: [] }, { keys, args: [] });
      replies.forEach((reply, j) => {
        // Among all keys of the prefix there may be some that are no locks.
        const named = typeof selection === "object" && "name" in selection;
        if (isFailure(reply) && !named && String(reply[1]).startsWith("WRONGTYPE")) return;
        states.push(readState(names[i + j] ?? "", unwrap(reply)));
      });
    }
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
    this.#closed = true;
    this.#subscription?.close();
    await this.#clients.forget();
    this.#limit.close();
    this.#driver.close();
  }

  async #steal(lock: string, args: [string, string, string, string]): Promise<unknown[]> {
    const [reply] = await this.#run(lua.steal, this.#call, { keys: this.#keys.of(lock), args });
    return unwrap(reply) as unknown[];
  }

  #run<K extends ScriptStrings, A extends ScriptStrings>(
    script: Script<K, A>,
    call: { readonly keys: K["call"]; readonly args: A["call"] },
    items: { readonly keys: readonly string[]; readonly args: readonly string[] },
  ): Promise<unknown[]> {
    return this.#limit.guard(runScript(this.#driver, script, call, items));
  }

  #subscribe(): void {
    if (this.#subscription || this.#closed) return;
    this.#subscription = this.#driver.subscribe(channelPrefix(this.#prefix) + this.#clientId, {
      message: (text) => {
        const [, what, number, asked, token = "", key = ""] = /^(\w+) (\d+) (\d+) (\S+) ([^]*)$/.exec(text) ?? [];
        const lock = nameOfKey(this.#prefix, key) ?? "";
        if (what === "granted") this.#granted(lock, token, Number(number), Number(asked));
        else if (what === "next") this.#listener?.next(lock, token, Number(number));
        else if (what === "lost") this.#listener?.lost(lock, token, Number(number));
      },
      up: () => this.#listener?.missed(),
    });
  }

  /** When a waiter asks again by itself: pushes are the rule, this is for what they miss. */
  #pokeAfter(rank: number, left: number, foreign: boolean): number {
    const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const first = rank === 0;
    const longest = foreign && first ? FOREIGN_POKE : this.#subscription?.up ? spread : DEAF_POKE;
    return first && left >= 0 ? Math.min(longest, left + EXPIRY_MARGIN) : longest;
  }
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
