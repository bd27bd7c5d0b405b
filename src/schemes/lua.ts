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
import type { Driver, Send } from "../drivers/driver.ts";
import { proofOf, reachedIn } from "../drivers/proof.ts";
import type { Durability, Wish } from "../durability.ts";
import { assureGrant } from "./assure.ts";
import { inRuns } from "./batches.ts";
import { Channels } from "./channels.ts";
import { Clients } from "./clients.ts";
import type { ClientSettings } from "./clients.ts";
import { Homes, nameOfKey } from "./keys.ts";
import type { Home } from "./keys.ts";
import { Calls } from "./lua/calls.ts";
import { Extensions } from "./lua/extensions.ts";
import { granted, Questions } from "./lua/questions.ts";
import { Releases } from "./lua/releases.ts";
import { checkReply, readList, isFailure, readNumber } from "../drivers/replies.ts";
import { readExtension, readState, readVictims, refusalOf } from "./lua/replies.ts";
import * as scripts from "./lua/scripts.generated.ts";
import { Values } from "./lua/values.ts";
import { findNames } from "./scan.ts";
import { STALE_AFTER } from "./scheme.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  HolderState,
  Leaving,
  LeftValue,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Question,
  Recalled,
  Release,
  Scheme,
  Selection,
  Victim,
} from "./scheme.ts";

/** What a push says: what, a number, fences, when the waiter asked last, token, key. */
const MESSAGE = /^(\w+) (\d+) (\d+) (\d+) (\S+) ([^]*)$/;

const NOTHING: { keys: []; args: [] } = { keys: [], args: [] };

export class LuaScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly hasSemaphores = true;
  readonly proves = true;
  readonly hasTurns = true;
  readonly #driver: Driver;
  readonly #prefix: string;
  /**
   * Where this manager itself is at home: its channel there is for holders. On one server waiters have the same one; in
   * a Cluster a script cannot reach it, so the thief notifies the holder here.
   */
  readonly #own: Home;
  readonly #send: Send;
  readonly #clients: Clients;
  readonly #channels: Channels;
  readonly #calls: Calls;
  readonly #extensions: Extensions;
  readonly #releases: Releases;
  readonly #questions: Questions;
  readonly #values: Values;
  #listener: PushListener | undefined;

  constructor(driver: Driver, clock: Clock, settings: ClientSettings) {
    this.#driver = driver;
    this.#prefix = settings.prefix;
    this.#own = new Homes(settings.prefix, false).of("");
    this.#calls = new Calls(driver, clock, settings.prefix);
    const { limit } = this.#calls;
    this.#send = (command, key) => limit.guard(driver.send(command, key));
    this.#clients = new Clients(this.#send, clock, settings, () => limit.servers());
    this.#channels = new Channels(driver, clock, settings.clientId, {
      message: (text) => this.#hear(text),
      up: (homes) => this.#missed(homes),
    });
    // They are sent in this order: leases first, and releases before requests, because they make room for them.
    this.#extensions = new Extensions(this.#calls);
    this.#releases = new Releases(this.#calls);
    this.#questions = new Questions(this.#calls, this.#channels);
    this.#values = new Values(this.#calls, settings.prefix);
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  hearing(): number | undefined {
    const generation = this.#channels.generation(this.#own);
    return generation === undefined ? undefined : generation + this.#driver.drops;
  }

  async written(lock: string): Promise<void> {
    await this.#calls.batches.sent();
    await this.#driver.written(this.#calls.keys.of(lock)[0]);
  }

  acquire(question: Question): void {
    const { lock, wait, ttl } = question;
    this.#clients.announce(ttl);
    if (wait) this.#channels.open(this.#own, ttl);
    if (wait && !question.opens) this.#channels.open(this.#calls.homes.of(lock), STALE_AFTER);
    this.#questions.ask(question);
  }

  async steal(request: LockRequest): Promise<Answer> {
    const { lock, token, ttl, label, durability } = request;
    this.#clients.announce(ttl);
    const [reply, reached] = await this.#steal(lock, [token, String(ttl), label, "", "1"], durability);
    const error = refusalOf(reply, request);
    if (error) return { kind: "refused", error };
    const victims = readVictims(reply[2]);
    return assureGrant(request, { ...granted(readNumber(reply[1]), 1, reached), victims });
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.token ?? holder.foreign;
    if (expected === undefined) return false;
    const [[taken]] = await this.#steal(lock, ["", "0", "", expected, "0"]);
    return readNumber(taken) === 1;
  }

  extend(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>): void {
    this.#clients.announce(ttl);
    // A holder that renews must learn soon if the lock is stolen.
    this.#channels.open(this.#own, ttl);
    this.#extensions.extend(grant, ttl, wish, caller);
  }

  /**
   * Not confirmed: a replica that missed it keeps others out, and a reader with a requirement confirms it with its own
   * grant.
   */
  async downgrade({ lock, token, fence }: Grant): Promise<Extension> {
    const item = { keys: this.#calls.keys.of(lock), args: [token, String(fence)] };
    const [reply] = await this.#calls.run(scripts.downgrade, this.#calls.granting(lock), item);
    return readExtension(checkReply(reply));
  }

  /** Not confirmed: a replica that missed it only keeps the lock held until its ttl is over. */
  release(farewell: Farewell): void {
    if (farewell.isBehind) this.#calls.batches.flush();
    this.#releases.release(farewell);
  }

  /** Not confirmed: a replica that missed it keeps the lease it knows, which ends no earlier. */
  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const { drops } = this.#driver;
    const args: [string, string, string, string] = [token, String(fence), String(ttl), label];
    const [reply] = await this.#calls.run(scripts.keep, this.#calls.granting(lock), {
      keys: this.#calls.keys.of(lock),
      args,
    });
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
    const item = { keys: this.#calls.keys.of(lock), args };
    const replies = await this.#calls.run(scripts.handover, this.#calls.granting(lock), item, proofOf(heir.durability));
    const drawn = readNumber(checkReply(replies[0]));
    if (drawn === 0) return { kind: "busy" };
    return assureGrant(heir, granted(drawn, 1, reachedIn(replies, heir.durability)));
  }

  /** Not confirmed: a replica that missed it only makes the next caller compute the value again. */
  share(grant: Grant, value: LeftValue, ttl: number): Promise<Leaving> {
    return this.#values.share(grant, value, ttl);
  }

  recall(lock: string): Promise<Recalled | undefined> {
    return this.#values.recall(lock);
  }

  async query(selection: Selection): Promise<LockState[]> {
    this.#calls.batches.flush();
    const names = await findNames(() => this.#calls.limit.servers(), this.#prefix, selection);
    const replies = await this.#look(names);
    // Some keys under the prefix may not be locks.
    const named = typeof selection === "object" && "name" in selection;
    const states = replies.flatMap((reply, i) => {
      if (isFailure(reply) && !named && String(reply[1]).startsWith("WRONGTYPE")) return [];
      return [readState(names[i] as string, reply)];
    });
    return this.#clients.labelled(states);
  }

  async close(): Promise<void> {
    this.#channels.close();
    // It expires; a server that does not answer is not waited for again.
    if (!this.#calls.limit.isSilent) await this.#clients.forget();
    this.#calls.limit.close();
    this.#driver.close();
  }

  async #look(names: readonly string[]): Promise<unknown[]> {
    const { homes, keys } = this.#calls;
    const looks: Promise<unknown[]>[] = [];
    inRuns(
      [...names],
      (a, b) => homes.of(a) === homes.of(b),
      (run) => {
        const all = run.flatMap((name) => keys.of(name));
        looks.push(this.#calls.run(scripts.query, NOTHING, { keys: all, args: [] }));
      },
    );
    return (await Promise.all(looks)).flat();
  }

  async #steal(
    lock: string,
    args: [string, string, string, string, string],
    wish?: Wish,
  ): Promise<[unknown[], Durability | undefined]> {
    const item = { keys: this.#calls.keys.of(lock), args };
    const replies = await this.#calls.run(scripts.steal, this.#calls.granting(lock), item, proofOf(wish));
    const reply = readList(checkReply(replies[0]));
    if (this.#calls.homes.of(lock).lock !== undefined) {
      // Before the thief continues and perhaps releases the lock: after that, the loss would look like an expiry.
      await Promise.all(readVictims(reply[2]).map((victim) => this.#tellLoss(lock, victim)));
    }
    return [reply, reachedIn(replies, wish)];
  }

  /** In a Cluster. A holder that misses it learns of the theft at its next renewal. Never rejects. */
  async #tellLoss(lock: string, { token = "", fence = 0 }: Victim): Promise<void> {
    const [key] = this.#calls.keys.of(lock);
    const channel = this.#own.channel + token.slice(0, token.indexOf(":"));
    const message = `lost ${fence} 0 0 ${token} ${key}`;
    // Channels of slots came with Redis 7.
    for (const command of ["SPUBLISH", "PUBLISH"]) {
      const heard = this.#send([command, channel, message], channel);
      if (await heard.then(isDone, isNotDone)) return;
    }
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
}

function isDone(): boolean {
  return true;
}

function isNotDone(): boolean {
  return false;
}
