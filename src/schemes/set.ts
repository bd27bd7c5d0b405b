/**
 * The `set` scheme: locks on one Redis or Valkey server without any script, for accounts and servers that have none.
 *
 * Taking a lock is `SET key token NX PX ttl` inside MULTI, beside the INCR that draws its fence. Giving it back
 * compares and deletes in one step: natively where the server can (`DELIFEQ`, `DELEX`, `SET … IFEQ`), else under
 * WATCH on a connection of its own.
 *
 * Guarantees one exclusive holder on a server that keeps its memory and whose clock does not jump, and fences that
 * grow. Does not guarantee any order: waiters poll with a growing, random pause, so a handoff takes a while and
 * luck decides. Exclusive locks only. A counter lost together with the lock is floored by the server's clock as this
 * process reckons it.
 */
import type { Clock } from "../clock.ts";
import { schemeError } from "../drivers/server-errors.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import type { Driver, Send } from "../drivers/driver.ts";
import { assureExtension, assureGrant } from "./assure.ts";
import { proofOf, reachedIn, transactProven } from "../drivers/proof.ts";
import type { Durability, Wish } from "../durability.ts";
import { Homes, lockKey, lockKeys } from "./keys.ts";
import { report, TOKEN } from "./scheme.ts";
import type {
  Answer,
  Caller,
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
import { Clients } from "./clients.ts";
import { NativeCompare, WatchCompare } from "./set/compare.ts";
import type { Compare } from "./set/compare.ts";
import { findNames } from "./scan.ts";

const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 250;
const FENCE_TTL = 3_600_000;

export class SetScheme implements Scheme {
  readonly name = "set";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive"]);
  readonly proves = true;
  readonly #driver: Driver;
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #homes: Homes;
  readonly #limit: TimeLimit;
  readonly #send: Send;
  readonly #clients: Clients;
  /** By token: what was sent to take a lock and is not answered yet. The server may still do it, also after we gave up. */
  readonly #asked = new Map<string, Promise<unknown>>();
  #compare: Promise<Compare> | undefined;
  /** The server's microseconds since 1970 at our clock's zero. */
  #serverOrigin: Promise<number> | undefined;

  constructor(driver: Driver, clock: Clock, settings: { prefix: string; clientId: string; label: string }) {
    this.#driver = driver;
    this.#clock = clock;
    this.#prefix = settings.prefix;
    this.#homes = new Homes(settings.prefix, driver.isCluster);
    this.#limit = new TimeLimit(clock, driver);
    this.#send = (command, key) => this.#limit.guard(driver.send(command, key));
    this.#clients = new Clients(this.#send, clock, settings);
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
    const { lock, ttl, token, wait, durability } = request;
    this.#clients.announce(ttl);
    const key = lockKey(this.#prefix, lock);
    const { counter } = this.#homes.of(lock);
    const floor = await this.#serverMicros();
    const sentAt = this.#clock.now();
    const replies = await this.#take(request, key, [
      ["SET", key, token, "NX", "PX", String(ttl)],
      ["GET", key],
      ["SET", counter, floor, "NX", "PX", String(FENCE_TTL)],
      ["INCR", counter],
      ["PEXPIRE", counter, String(FENCE_TTL)],
      ["PTTL", key],
    ]);
    const [, value, , fence, , left] = replies;
    if (value instanceof Error) await this.#assertShared(lock, key, value);
    else assertDone(replies);
    // Asked again, for one without an answer or a proof, the key has been there since then.
    const until = sentAt + Number(left);
    if (value === token) return { ...granted(Number(fence), reachedIn(replies, durability)), until };
    if (!wait) return { kind: "busy" };
    // The ticket counts the attempts: each pause is longer than the last.
    const attempt = Number(request.ticket ?? 0);
    request.ticket = String(attempt + 1);
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 1.5 ** attempt) * (0.5 + Math.random());
    return {
      kind: "pending",
      pokeAfter: Number(left) >= 0 ? Math.min(pause, Number(left) + 1 + 10 * Math.random()) : pause,
    };
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.#assure(request, this.#steal(request));
  }

  async #steal(request: LockRequest): Promise<Answer> {
    const { lock, token, ttl, durability } = request;
    this.#clients.announce(ttl);
    const key = lockKey(this.#prefix, lock);
    const { counter } = this.#homes.of(lock);
    const floor = await this.#serverMicros();
    // SET takes the place of whatever is there; what is no lock must stay.
    await this.#send(["GET", key], key).catch((error: unknown) => this.#assertShared(lock, key, error));
    const replies = await this.#take(request, key, [
      ["SET", key, token, "PX", String(ttl)],
      ["SET", counter, floor, "NX", "PX", String(FENCE_TTL)],
      ["INCR", counter],
      ["PEXPIRE", counter, String(FENCE_TTL)],
    ]);
    assertDone(replies);
    return granted(Number(replies[2]), reachedIn(replies, durability));
  }

  extend(grant: Grant, ttl: number, wish: Wish | undefined, caller: Caller<Extension>): void {
    report(this.#extend(grant, ttl, wish), caller);
  }

  async #extend({ lock, token }: Grant, ttl: number, wish: Wish | undefined): Promise<Extension> {
    this.#clients.announce(ttl);
    const key = lockKey(this.#prefix, lock);
    const compare = await this.#comparing();
    const replaced = await this.#limit.guard(compare.replace(key, token, token, ttl, proofOf(wish)));
    if (replaced && wish) assureExtension(lock, wish, levelIn(replaced));
    if (replaced) return "extended";
    return Number(await this.#send(["EXISTS", key], key)) === 1 ? "stolen" : "gone";
  }

  /** Not proven: a replica that has missed it only keeps the lock held until its ttl is over. */
  release(farewell: Farewell): void {
    report(this.#release(farewell), farewell);
  }

  async #release({ lock, token }: Pick<Farewell, "lock" | "token">): Promise<Release> {
    const drops = this.#driver.drops;
    // Comparing may take another connection, and so overtake what still has to land on the first.
    const asked = this.#asked.get(token);
    if (asked) await this.#limit.guard(asked.catch(() => {}));
    const compare = await this.#comparing();
    const deleted = await this.#limit.guard(compare.delete(lockKey(this.#prefix, lock), token));
    return deleted ? "released" : drops === this.#driver.drops ? "gone" : "unsure";
  }

  /** What is kept is written as the lua scheme does: with fence and label. No holder of this scheme looks like that. */
  async keep({ lock, token, fence }: Grant, ttl: number, label: string): Promise<Release> {
    const drops = this.#driver.drops;
    const compare = await this.#comparing();
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
    const { counter } = this.#homes.of(lock);
    // Drawn while the old grant still holds, if it is found to hold below: nobody else was granted in between.
    const replies = await this.#limit.guard(
      this.#driver.transaction(
        [
          ["SET", counter, await this.#serverMicros(), "NX", "PX", String(FENCE_TTL)],
          ["INCR", counter],
          ["PEXPIRE", counter, String(FENCE_TTL)],
        ],
        key,
      ),
    );
    assertDone(replies ?? []);
    const compare = await this.#comparing();
    const proof = proofOf(heir.durability);
    const replace = (by: string): Promise<boolean | Durability> =>
      this.#limit.guard(compare.replace(key, by, heir.token, heir.ttl, proof));
    // A repeated call finds the heir already there.
    const replaced = (await replace(token)) || (await replace(heir.token));
    return replaced ? granted(Number(replies?.[1]), levelIn(replaced)) : { kind: "busy" };
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const key = lockKey(this.#prefix, lock);
    const value = await this.#send(["GET", key], key);
    const expected = holder.foreign ?? holder.token;
    // A holder of the lua scheme has more in its value than its token.
    if (typeof value !== "string" || (value !== expected && value.split("#")[0] !== holder.token)) return false;
    const compare = await this.#comparing();
    return this.#limit.guard(compare.delete(key, value));
  }

  async query(selection: Selection): Promise<LockState[]> {
    const names = await findNames(() => this.#limit.servers(), this.#prefix, selection);
    const looks = await Promise.all(names.map((name) => this.#look(name)));
    // Among all keys of the prefix there may be some that are no locks.
    const failure = looks.find((look) => look instanceof Error);
    if (failure && typeof selection === "object" && "name" in selection) throw schemeError(failure);
    const states = looks.filter((look): look is LockState => !(look instanceof Error));
    const labelOf = await this.#clients.labels(
      states.flatMap(({ holders }) => holders.flatMap(({ token }) => token ?? [])),
    );
    return states.map((state) => ({
      ...state,
      holders: state.holders.map((each) => ({ ...each, label: each.label || labelOf(each.token ?? "") })),
    }));
  }

  async close(): Promise<void> {
    await this.#clients.forget();
    (await this.#compare?.catch(() => undefined))?.close();
    this.#limit.close();
    this.#driver.close();
  }

  /** An Error where the key holds no lock of this scheme. */
  async #look(lock: string): Promise<LockState | Error> {
    const key = lockKey(this.#prefix, lock);
    const found = await this.#limit.guard(
      this.#driver.transaction(
        [
          ["GET", key],
          ["PTTL", key],
        ],
        key,
      ),
    );
    const [value, left] = found ?? [];
    if (value instanceof Error) return value;
    if (value === null || value === undefined) return { lock, mode: undefined, holders: [], waiters: [] };
    const remaining = Number(left) < 0 ? undefined : Number(left);
    const [token = "", fence, ...rest] = String(value).split("#");
    const label = rest.join("#");
    const holder = TOKEN.test(token)
      ? { token, fence: fence === undefined ? undefined : Number(fence), remaining, label }
      : { token: undefined, fence: undefined, remaining, label: "", foreign: String(value) };
    return { lock, mode: "exclusive", holders: [holder], waiters: [] };
  }

  /** The server's clock now, as far as we can tell: asked once, then reckoned by our own monotonic clock. */
  async #serverMicros(): Promise<string> {
    this.#serverOrigin ??= this.#send(["TIME"]).then((reply) => {
      const [seconds, micros] = reply as [unknown, unknown];
      return Number(seconds) * 1e6 + Number(micros) - this.#clock.now() * 1000;
    });
    try {
      return Math.floor((await this.#serverOrigin) + this.#clock.now() * 1000).toString();
    } catch (error) {
      this.#serverOrigin = undefined;
      throw error;
    }
  }

  #comparing(): Promise<Compare> {
    this.#compare ??= this.#limit
      .guard(NativeCompare.detect(this.#driver, this.#prefix))
      .then((native) => native ?? new WatchCompare(this.#driver, this.#limit));
    this.#compare.catch(() => {
      this.#compare = undefined;
    });
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
    if (Number(await this.#send(["EXISTS", holders], holders)) === 1) return;
    const type = await this.#send(["TYPE", key], key);
    if (type !== "none" && type !== "string") throw failure;
  }

  async #assure(request: LockRequest, asked: Promise<Answer>): Promise<Answer> {
    return assureGrant(request, await asked);
  }

  async #take({ token, durability }: LockRequest, key: string, commands: string[][]): Promise<unknown[]> {
    const proof = proofOf(durability);
    const call = proof ? transactProven(this.#driver, commands, key, proof) : this.#driver.transaction(commands, key);
    this.#asked.set(token, call);
    const answered = (): void => {
      if (this.#asked.get(token) === call) this.#asked.delete(token);
    };
    call.then(answered, answered);
    const replies = await this.#limit.guard(call);
    if (!replies) throw schemeError(new Error("MULTI was not carried out"));
    return replies;
  }
}

function granted(fence: number, durability: Durability | undefined): Answer & { kind: "granted" } {
  return durability ? { kind: "granted", fence, durability } : { kind: "granted", fence };
}

function levelIn(replaced: boolean | Durability): Durability | undefined {
  return typeof replaced === "object" ? replaced : undefined;
}

function assertDone(replies: unknown[]): void {
  const failed = replies.find((reply) => reply instanceof Error);
  if (failed) throw schemeError(failed);
}
