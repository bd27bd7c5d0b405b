/**
 * The `set` scheme: locks on one Redis or Valkey server without any script, for accounts and servers that have none.
 *
 * Guarantees: one exclusive holder, on a server that keeps its memory and whose clock does not jump. Fences that grow
 * with every grant, also after a restart or a failover that lost the last writes (set/fences.ts says how, and how long
 * the outage must be). A lease that is never shorter on the server than its holder believes: extensions only lengthen.
 * A reply that it cannot read is an error, never an outcome.
 *
 * Does not guarantee any order: waiters poll, with a growing, random pause, so a handoff takes a while and luck
 * decides. Exclusive locks only. Nothing is pushed: a holder learns of a theft by its next renewal.
 *
 * How: a lock is taken with `SET key token NX PX ttl`, in one MULTI with what draws the fences (set/grants.ts). It is
 * given back, or extended, by comparing the token and acting in one atomic step: with the server's own commands if it
 * has them (Redis 8.4, Valkey 8.1; set/native.ts), else with WATCH on a connection of our own (set/watch.ts). What is
 * asked for in one turn of the event loop travels together.
 */
import { report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import type { Clock } from "../clock.ts";
import type { Driver, Send } from "../drivers/driver.ts";
import { proofOf } from "../drivers/proof.ts";
import { schemeError } from "../drivers/server-errors.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import type { Durability, Wish } from "../durability.ts";
import { assureExtension, assureGrant } from "./assure.ts";
import { Clients } from "./clients.ts";
import type { ClientSettings } from "./clients.ts";
import { Homes, lockKey, lockKeys } from "./keys.ts";
import { findNames } from "./scan.ts";
import { TOKEN } from "./scheme.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  Granted,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Question,
  Release,
  Scheme,
  Selection,
  Victim,
} from "./scheme.ts";
import type { Compare, Compared } from "./set/compare.ts";
import { Grants } from "./set/grants.ts";
import type { Manner, Taken } from "./set/grants.ts";
import { Looking } from "./set/look.ts";
import { NativeCompare } from "./set/native.ts";
import { integerOf, textOf } from "./set/replies.ts";
import { WatchCompare } from "./set/watch.ts";

/** The first pause of a waiter, and the longest, in milliseconds; each takes half to one and a half times as long. */
const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 250;

export class SetScheme implements Scheme {
  readonly name = "set";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive"]);
  readonly proves = true;
  readonly #driver: Driver;
  readonly #prefix: string;
  readonly #homes: Homes;
  readonly #limit: TimeLimit;
  readonly #send: Send;
  readonly #clients: Clients;
  readonly #grants: Grants;
  readonly #looking: Looking;
  /** How this server compares, as soon as that is known; and the probe that finds out. */
  #compare: Compare | undefined;
  #finding: Promise<Compare> | undefined;

  constructor(driver: Driver, clock: Clock, settings: ClientSettings) {
    this.#driver = driver;
    this.#prefix = settings.prefix;
    this.#homes = new Homes(settings.prefix, driver.isCluster);
    this.#limit = new TimeLimit(clock, driver);
    this.#send = (command, key) => this.#limit.guard(driver.send(command, key));
    this.#clients = new Clients(this.#send, clock, settings, () => this.#limit.servers());
    this.#grants = new Grants(driver, clock, this.#limit);
    this.#looking = new Looking(driver, this.#limit, settings.prefix, this.#homes);
  }

  /** Nothing is ever pushed. */
  listen(_listener: PushListener): void {}

  hearing(): undefined {}

  written(): Promise<void> {
    return Promise.resolve();
  }

  acquire(question: Question): void {
    question.isSent = true;
    report(this.#assure(question, this.#acquire(question)), question);
  }

  async #acquire(request: Question): Promise<Answer> {
    const { wait, fences } = request;
    // The first time, to find the lock taken costs a waiter a short pause at most. So it looks from the second time on.
    const manner = wait && request.ticket === undefined ? "free" : "look";
    const taken = await this.#take(request, manner, fences);
    if (taken.fence !== undefined) return granted(taken, fences);
    if (!wait) return { kind: "busy" };
    // The ticket counts the attempts, so that each pause is longer than the last.
    const attempt = Number(request.ticket ?? 0);
    request.ticket = String(attempt + 1);
    const { left = -1 } = taken;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 1.5 ** attempt) * (0.5 + Math.random());
    return {
      kind: "pending",
      pokeAfter: left >= 0 ? Math.min(pause, left + 1 + 10 * Math.random()) : pause,
    };
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.#assure(request, this.#steal(request));
  }

  async #steal(request: LockRequest): Promise<Answer> {
    // SET replaces whatever is there, and a key that is not a lock must stay.
    const key = lockKey(this.#prefix, request.lock);
    const before = await this.#send(["GET", key], key).catch((error: unknown) =>
      this.#assertShared(request.lock, key, error).then(() => null),
    );
    const taken = await this.#take(request, "steal", 1);
    return taken.fence === undefined ? { kind: "busy" } : { ...granted(taken), victims: victimsIn(before, request) };
  }

  extend(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>): void {
    report(this.#extend(grant, ttl, wish), caller);
  }

  async #extend({ lock, token }: Grant, ttl: number, wish: Wish | undefined): Promise<Extension> {
    this.#clients.announce(ttl);
    const key = lockKey(this.#prefix, lock);
    const compare = this.#compare ?? (await this.#comparing());
    const extended = await this.#limit.guard(compare.extend(key, token, ttl, proofOf(wish)));
    if (extended && wish) assureExtension(lock, wish, levelIn(extended));
    if (extended) return "extended";
    return integerOf(await this.#send(["EXISTS", key], key), "EXISTS") === 1 ? "stolen" : "gone";
  }

  /** Not confirmed: a replica that missed it only keeps the lock held until its ttl is over. */
  release(farewell: Farewell): void {
    report(this.#release(farewell), farewell);
  }

  async #release({ lock, token }: Farewell): Promise<Release> {
    const drops = this.#driver.drops;
    // Comparing may take another connection, and so overtake what still has to land on the first.
    const landed = this.#grants.landed(token);
    if (landed) await landed;
    const compare = this.#compare ?? (await this.#comparing());
    const deleted = await this.#limit.guard(compare.delete(lockKey(this.#prefix, lock), token));
    return deleted ? "released" : drops === this.#driver.drops ? "gone" : "unsure";
  }

  /** What is kept is written as the lua scheme does: with fence and label. No holder of this scheme looks like that. */
  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const drops = this.#driver.drops;
    const compare = this.#compare ?? (await this.#comparing());
    const value = label === "" ? `${token}#${fence}` : `${token}#${fence}#${label}`;
    const kept = await this.#limit.guard(compare.replace(lockKey(this.#prefix, lock), token, value, ttl));
    return kept ? "released" : drops === this.#driver.drops ? "gone" : "unsure";
  }

  handOver(grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.#assure(heir, this.#handOver(grant, heir));
  }

  async #handOver({ lock, token }: Grant, heir: LockRequest): Promise<Answer> {
    this.#clients.announce(heir.ttl);
    const key = lockKey(this.#prefix, lock);
    // Drawn while the old grant still holds, if it is found to hold below: nobody else was granted in between.
    const fence = await this.#grants.draw(key, this.#homes.of(lock));
    const compare = this.#compare ?? (await this.#comparing());
    const proof = proofOf(heir.durability);
    const replace = (by: string): Promise<Compared> =>
      this.#limit.guard(compare.replace(key, by, heir.token, heir.ttl, proof));
    // A repeated call finds the heir already there.
    const replaced = (await replace(token)) || (await replace(heir.token));
    return replaced ? granted({ fence, durability: levelIn(replaced) }) : { kind: "busy" };
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const key = lockKey(this.#prefix, lock);
    const value = textOf(await this.#send(["GET", key], key), "GET");
    const expected = holder.foreign ?? holder.token;
    // A holder of the lua scheme has more in its value than its token.
    if (value === null || (value !== expected && value.split("#")[0] !== holder.token)) return false;
    const compare = this.#compare ?? (await this.#comparing());
    return this.#limit.guard(compare.delete(key, value));
  }

  async query(selection: Selection): Promise<LockState[]> {
    const states =
      typeof selection === "object" && "name" in selection
        ? [await this.#looking.one(selection.name)]
        : await this.#looking.all(await findNames(() => this.#limit.servers(), this.#prefix, selection));
    return this.#clients.labelled(states);
  }

  async close(): Promise<void> {
    await this.#clients.forget();
    await this.#finding?.catch(() => {});
    this.#compare?.close();
    this.#limit.close();
    this.#driver.close();
  }

  async #take(request: LockRequest, manner: Manner, fences: number): Promise<Taken> {
    const { lock, token, ttl, durability } = request;
    this.#clients.announce(ttl);
    const key = lockKey(this.#prefix, lock);
    // Found out on the way, so that the first renewal or release takes no longer than all others.
    if (!this.#compare) this.#comparing().catch(() => {});
    const taken = await this.#grants.take({ key, home: this.#homes.of(lock), manner, token, ttl, fences, durability });
    if ("refusal" in taken) await this.#assertShared(lock, key, taken.refusal);
    if (taken.fence !== undefined) this.#compare?.prepare(key);
    return taken;
  }

  #comparing(): Promise<Compare> {
    this.#finding ??= this.#findCompare().finally(() => {
      this.#finding = undefined;
    });
    return this.#finding;
  }

  async #findCompare(): Promise<Compare> {
    const native = await NativeCompare.detect(this.#driver, this.#limit, this.#prefix);
    this.#compare = native ?? new WatchCompare(this.#driver, this.#limit);
    return this.#compare;
  }

  /**
   * A sorted set with its holders beside it is a shared lock of the `lua` scheme: somebody else holds, or held until
   * just now. Anything else is no lock.
   */
  async #assertShared(lock: string, key: string, error: unknown): Promise<void> {
    const failure = schemeError(error);
    if (failure.code !== "wrong-type") throw failure;
    const [, holders] = lockKeys(this.#prefix, lock);
    if (integerOf(await this.#send(["EXISTS", holders], holders), "EXISTS") === 1) return;
    const type = await this.#send(["TYPE", key], key);
    if (type !== "none" && type !== "string") throw failure;
  }

  async #assure(request: LockRequest, asked: Promise<Answer>): Promise<Answer> {
    return assureGrant(request, await asked);
  }
}

/** The holder at the last look before the theft. A repeated attempt may find the thief itself. */
function victimsIn(reply: unknown, { token }: LockRequest): Victim[] {
  const value = textOf(reply, "GET");
  if (value === null || value === token) return [];
  const [holder = "", , label = ""] = value.split("#");
  return [{ token: TOKEN.test(holder) ? holder : undefined, fence: undefined, label }];
}

function granted(
  { fence, until, durability }: { fence: number; until?: number; durability: Durability | undefined },
  fences = 1,
): Granted {
  return { kind: "granted", fence, fences, ...(until !== undefined && { until }), ...(durability && { durability }) };
}

function levelIn(compared: Compared): Durability | undefined {
  return typeof compared === "object" ? compared : undefined;
}
