/**
 * The same clients, locks and operations twice: in memory with time that moves by hand, and with the `lua` scheme on a
 * real server. Every operation is carried out in both, and what they say is compared.
 *
 * Time passes on the server by moving every instant that is written there (expiries, scores, waiters' staleAt) towards
 * the past, and is set right again before each operation, so both worlds always show the same time. All durations are
 * whole seconds and each step of time adds a little, so that nothing ever happens exactly at an instant.
 */
import assert from "node:assert/strict";
import type { Redis } from "ioredis";
import type { Driver } from "../../src/drivers/driver.ts";
import { systemClock } from "../../src/clock.ts";
import { IoredisDriver } from "../../src/drivers/ioredis/client.ts";
import { lockKeys } from "../../src/schemes/keys.ts";
import type { Answer, HolderState, LockRequest, LockState, Scheme, WaiterState } from "../../src/schemes/scheme.ts";
import { LuaScheme } from "../../src/schemes/lua.ts";
import { MemoryScheme, MemoryStore } from "../../src/schemes/memory.ts";
import { ManualClock } from "../../src/testing.ts";
import { ask, extend, release } from "./calls.ts";
import { deferred } from "./locks.ts";
import { until } from "./until.ts";

/** The last is most often a semaphore. */
export const LOCKS = ["a", "b{c}", "s"] as const;
const PREFIX = "lock:";
const SYNC = "sync:0";
/** What each step of time adds to its seconds. Thirty of them are less than a second. */
const STEP_EXTRA = 30;
/** Time that really passes is taken back when it is more than this. */
const MOST_LAG = 5;
/** An operation that really took longer than this may have met an instant in one world and not in the other. */
export const SLOW: number = STEP_EXTRA - MOST_LAG - 5;
/** Two remaining times that differ by less are the same: all durations differ by more. */
const BLUR = 400;

/** Moves the locks of KEYS to the time ARGV[2], counted from ARGV[1] on the server's clock. */
const MOVE_TIME = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local skew = tonumber(redis.call('GET', 'skew') or 0)
local shift = ARGV[2] - (now - ARGV[1] + skew)
if shift <= 0 and shift >= -tonumber(ARGV[3]) then return 0 end
redis.call('SET', 'skew', string.format('%.0f', skew + shift))
for i = 1, #KEYS do
  local key = KEYS[i]
  local kind = redis.call('TYPE', key).ok
  if kind == 'zset' and not string.find(key, ':queue$') then
    local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for j = 1, #found, 2 do redis.call('ZADD', key, string.format('%.0f', found[j + 1] - shift), found[j]) end
  elseif string.find(key, ':waiters$') then
    local found = redis.call('HGETALL', key)
    for j = 1, #found, 2 do
      local before, stale_at, after = string.match(found[j + 1], '^(%S+ .-)(%d%d%d%d%d%d%d%d%d%d%d%d%d)( .*)$')
      redis.call('HSET', key, found[j], before .. string.format('%.0f', stale_at - shift) .. after)
    end
  end
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - shift) end
end
return shift`;

/** The wish to hold a lock, as each world knows it: the tickets differ. */
export interface Wish {
  readonly client: Client;
  readonly manner: "wait" | "try" | "steal";
  readonly requests: readonly [LockRequest, LockRequest];
  /** The fence of its latest grant that its client was told of. */
  readonly fences: [number, number];
}

export interface Client {
  readonly id: string;
  readonly schemes: readonly [Scheme, Scheme];
  /** What was pushed since it was last looked at. */
  readonly pushes: readonly [Push[], Push[]];
  /** Called when the marker has come that shows that everything before it has come. */
  synced: () => void;
}

interface Push {
  readonly what: "granted" | "lost" | "next";
  readonly lock: string;
  readonly token: string;
  /** The fence, or (with "next") the time that is left. */
  readonly number: number;
}

/** A script with a mistake in it, to see that it is found: sent in place of every script that holds `from`. */
export interface Mistake {
  readonly from: string;
  readonly to: string;
}

export class TwoWorlds {
  readonly #redis: Redis;
  readonly #mistake: Mistake | undefined;
  readonly #clock = new ManualClock();
  readonly #store = new MemoryStore(this.#clock);
  readonly #keys = LOCKS.flatMap((lock) => lockKeys(PREFIX, lock));
  readonly #origin: number;
  readonly clients: Client[] = [];
  readonly wishes: Wish[] = [];
  /** How long the slowest operation really took, in milliseconds. */
  slowest = 0;
  #crashed = false;
  /** Holders that were seen, now or earlier. */
  readonly seen: { readonly lock: string; readonly holders: readonly [HolderState, HolderState] }[] = [];
  /** In each world, which token each fence of a lock was drawn for, in the order in which they were seen. */
  readonly #grants = LOCKS.map(() => [new Map<number, string>(), new Map<number, string>()] as const);
  #count = 0;

  private constructor(redis: Redis, origin: number, mistake: Mistake | undefined) {
    this.#redis = redis;
    this.#origin = origin;
    this.#mistake = mistake;
  }

  /** On a server that nobody else uses, which is emptied. */
  static async open(redis: Redis, mistake?: Mistake): Promise<TwoWorlds> {
    await redis.flushall();
    const [seconds, micros] = await redis.time();
    const worlds = new TwoWorlds(redis, Number(seconds) * 1000 + Math.floor(Number(micros) / 1000), mistake);
    try {
      await Promise.all([worlds.#newClient(), worlds.#newClient(), worlds.#newClient()]);
    } catch (error) {
      await worlds.close();
      throw error;
    }
    return worlds;
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.schemes[1].close()));
  }

  newWish(client: number, manner: Wish["manner"], terms: Omit<LockRequest, "token">): Wish {
    const owner = this.#clientAt(client);
    const request = { ...terms, token: `${owner.id}:${(this.#count++).toString(36)}` };
    const wish: Wish = { client: owner, manner, requests: [{ ...request }, { ...request }], fences: [0, 0] };
    this.wishes.push(wish);
    return wish;
  }

  /** In one turn of the event loop, so that the calls of the lua scheme share a script call. */
  async ask(wishes: readonly Wish[]): Promise<void> {
    const answers = await Promise.all(
      wishes.map((wish) => this.#both(wish.client.schemes, (scheme, world) => askFor(scheme, wish, world))),
    );
    for (const [i, [expected, got]] of answers.entries()) {
      const wish = wishes[i] as Wish;
      const about = `answer to ${wish.requests[0].token}`;
      assert.equal(got.kind, expected.kind, about);
      if (expected.kind === "granted" && got.kind === "granted") this.#learn(wish, [expected.fence, got.fence]);
      // The first in line asks again when the last holder's time ends, all others at some time around 5 s.
      if (expected.kind === "pending" && got.kind === "pending") {
        if (Math.min(expected.pokeAfter, got.pokeAfter) < 4_000)
          assertNear(got.pokeAfter, expected.pokeAfter, `pokeAfter (${about})`);
        assert(got.pokeAfter >= 0 && got.pokeAfter <= 5_500, `pokeAfter ${got.pokeAfter} (${about})`);
        assert.deepEqual(got.holder, expected.holder, `who is waited for (${about})`);
        // The dead are cleared away sooner or later.
        if (!this.#crashed) assert.equal(got.ahead, expected.ahead, `how many are ahead (${about})`);
      }
      if (expected.kind === "refused" && got.kind === "refused") assert.deepEqual(got.error, expected.error, about);
    }
    await this.#compare();
  }

  async extend(wish: Wish, ttl: number, error: number): Promise<void> {
    const { lock, token, mode } = wish.requests[0];
    const [expected, got] = await this.#both(wish.client.schemes, (scheme, world) =>
      extend(scheme, { lock, token, mode, fence: Math.max(0, wish.fences[world] + error) }, ttl),
    );
    assert.equal(got, expected, `extension of ${token}`);
    await this.#compare();
  }

  async downgrade(wish: Wish, error: number): Promise<void> {
    const { lock, token, mode } = wish.requests[0];
    const [expected, got] = await this.#both(wish.client.schemes, async (scheme, world) =>
      scheme.downgrade?.({ lock, token, mode, fence: Math.max(0, wish.fences[world] + error) }),
    );
    assert.equal(got, expected, `downgrade of ${token}`);
    await this.#compare();
  }

  async release(wishes: readonly Wish[]): Promise<void> {
    await Promise.all(
      wishes.map(async (wish) => {
        const { token } = wish.requests[0];
        const [expected, got] = await this.#both(wish.client.schemes, (scheme, world) =>
          release(scheme, wish.requests[world]),
        );
        assert.equal(got, expected, `release of ${token}`);
      }),
    );
    await this.#compare();
  }

  async keep(wish: Wish, ttl: number, error: number): Promise<void> {
    const { lock, token, mode } = wish.requests[0];
    const [expected, got] = await this.#both(wish.client.schemes, (scheme, world) =>
      scheme.keep({ lock, token, mode, fence: Math.max(0, wish.fences[world] + error) }, ttl, "kept"),
    );
    assert.equal(got, expected, `keeping of ${token}`);
    await this.#compare();
  }

  async handOver(wish: Wish, heir: Wish, error: number): Promise<void> {
    const { lock, token, mode } = wish.requests[0];
    const [expected, got] = await this.#both(heir.client.schemes, (scheme, world) => {
      const grant = { lock, token, mode, fence: Math.max(0, wish.fences[world] + error) };
      return scheme.handOver(grant, heir.requests[world]);
    });
    assert.equal(got.kind, expected.kind, `hand-over of ${token}`);
    if (expected.kind === "granted" && got.kind === "granted") this.#learn(heir, [expected.fence, got.fence]);
    await this.#compare();
  }

  async evict(client: number, lock: string, holders: readonly [HolderState, HolderState]): Promise<void> {
    const [expected, got] = await this.#both(this.#clientAt(client).schemes, (scheme, world) =>
      scheme.evict(lock, holders[world]),
    );
    assert.equal(got, expected, `eviction of ${holders[0].token}`);
    await this.#compare();
  }

  /** The same time passes in both worlds. */
  async pass(seconds: number): Promise<void> {
    await this.#clock.advance(seconds * 1_000 + STEP_EXTRA);
    await this.#compare();
  }

  /** The client is gone without a word: nobody listens to its pushes. Another one takes its seat. */
  async crash(client: number): Promise<void> {
    const gone = this.#clientAt(client);
    this.#crashed = true;
    await Promise.all(gone.schemes.map((scheme) => scheme.close()));
    const channel = `${PREFIX}push:${gone.id}`;
    await until(async () => {
      const [, count] = (await this.#redis.call("PUBSUB", "NUMSUB", channel)) as [string, number];
      return count === 0;
    }, "nobody listened to the client that crashed");
    this.clients.splice(this.clients.indexOf(gone), 1);
    await this.#newClient();
    await this.#compare();
  }

  lives({ client }: Wish): boolean {
    return this.clients.includes(client);
  }

  /** All locks at once, as one who looks at everything sees them. */
  async queryAll(client: number): Promise<void> {
    const [expected, got] = await this.#both(this.#clientAt(client).schemes, (scheme) => scheme.query("all"));
    const busy = (states: LockState[]): string[] =>
      states
        .flatMap(({ lock, holders, waiters }) => (holders.length + this.#living(waiters).length > 0 ? lock : []))
        .sort();
    assert.deepEqual(busy(got), busy(expected), "locks that are not at rest");
  }

  /** Nothing outlives the leases but the counters and the labels. */
  async nothingLeft(): Promise<void> {
    await this.pass(130);
    const left = (await this.#redis.keys("*")).filter((key) => !/^skew$|:fence$|^lock:client:/.test(key));
    assert.deepEqual(left, [], "keys left on the server");
    for (const state of await (this.clients[0] as Client).schemes[0].query("all")) {
      assert.deepEqual([state.holders, state.waiters], [[], []], "left in memory");
    }
  }

  /** Without those of clients that crashed, which are cleared away sooner or later. */
  #living(waiters: readonly WaiterState[]): WaiterState[] {
    return waiters.filter(({ token }) => this.clients.some(({ id }) => token.startsWith(`${id}:`)));
  }

  #clientAt(index: number): Client {
    return this.clients[index % this.clients.length] as Client;
  }

  async #newClient(): Promise<void> {
    const id = `client-${(this.#count++).toString(36)}`.padEnd(22, "-");
    const settings = { prefix: PREFIX, clientId: id, label: `label of ${id}` };
    const driver = plant(new IoredisDriver(this.#redis), this.#mistake);
    const schemes = [new MemoryScheme(this.#store, settings), new LuaScheme(driver, systemClock, settings)] as const;
    const client: Client = { id, schemes, pushes: [[], []], synced: () => {} };
    this.clients.push(client);
    const listening = deferred();
    schemes.forEach((scheme, world) => {
      const pushes = client.pushes[world] as Push[];
      scheme.listen({
        granted: (lock, token, fence) => {
          if (token === SYNC) client.synced();
          else pushes.push({ what: "granted", lock, token, number: fence });
        },
        lost: (lock, token, fence) => pushes.push({ what: "lost", lock, token, number: fence }),
        next: (lock, token, remaining) => pushes.push({ what: "next", lock, token, number: remaining }),
        missed: () => listening.resolve(),
      });
    });
    // A lua scheme begins to listen with its first lease or wait.
    await extend(schemes[1], { lock: "nobody's", token: `${id}:0`, mode: "exclusive", fence: 1 }, 1_000);
    await soon(listening.promise, "the subscription was up");
  }

  /** One call in each world, at the same time by their clocks. The answer of the memory comes first. */
  async #both<T>(
    schemes: readonly [Scheme, Scheme],
    call: (scheme: Scheme, world: 0 | 1) => Promise<T>,
  ): Promise<[T, T]> {
    const start = performance.now();
    // Sent right before the call over the same connection: the server runs them back to back.
    const moved = this.#redis.eval(
      MOVE_TIME,
      this.#keys.length,
      ...this.#keys,
      this.#origin,
      this.#clock.now(),
      MOST_LAG,
    );
    const [expected, got] = await Promise.all([call(schemes[0], 0), call(schemes[1], 1), moved]);
    this.slowest = Math.max(this.slowest, performance.now() - start);
    return [expected, got];
  }

  async #compare(): Promise<void> {
    await this.#comparePushes();
    const [looker] = this.clients as [Client];
    const [expected, got] = await this.#both(looker.schemes, (scheme) =>
      Promise.all(LOCKS.map((name) => scheme.query({ name }))),
    );
    for (const i of LOCKS.keys()) this.#compareStates(i, expected[i]?.[0] as LockState, got[i]?.[0] as LockState);
    this.#compareGrants();
  }

  #compareStates(index: number, expected: LockState, got: LockState): void {
    const lock = LOCKS[index] as string;
    assert.equal(got.mode, expected.mode, `mode of ${lock}`);
    if (got.mode) assert.equal(got.limit, expected.limit, `limit of ${lock}`);
    const [memory, lua] = [byToken(expected.holders), byToken(got.holders)];
    assert.deepEqual(lua.map(tokenAndLabel), memory.map(tokenAndLabel), `holders of ${lock}`);
    const [wanted, found] = [this.#living(expected.waiters), this.#living(got.waiters)];
    // How long each has waited is no part of it: the worlds may count anew from different moments.
    assert.deepEqual(found.map(timeless), wanted.map(timeless), `waiters of ${lock}`);
    for (const [i, holder] of memory.entries()) {
      const other = lua[i] as HolderState;
      assertNear(other.remaining, holder.remaining, `remaining time of ${holder.token}`);
      this.#drawn(index, String(holder.token), [Number(holder.fence), Number(other.fence)]);
      const known = this.seen.some(
        ({ holders }) => holders[1].fence === other.fence && holders[1].token === other.token,
      );
      if (!known) this.seen.push({ lock, holders: [holder, other] });
    }
  }

  /** Waits until everything has come that was pushed until now, and compares it. */
  async #comparePushes(): Promise<void> {
    const arrivals = this.clients.map(async (client) => {
      const { promise, resolve } = deferred();
      client.synced = resolve;
      await this.#redis.publish(`${PREFIX}push:${client.id}`, `granted 0 0 0 ${SYNC} ${PREFIX}`);
      await soon(promise, "all pushes had come");
    });
    await Promise.all(arrivals);
    for (const { id, pushes } of this.clients) {
      const [expected, got] = pushes.map((each) => each.splice(0)) as [Push[], Push[]];
      // In which order several holders lose a lock is left open.
      const ordered = (all: Push[]): Push[] => [
        ...all.filter(({ what }) => what !== "lost"),
        ...all.filter(({ what }) => what === "lost").sort((a, b) => (a.token < b.token ? -1 : 1)),
      ];
      const told = (all: Push[]): string[] =>
        ordered(all).map(({ what, lock, token }) => `${what} ${token} of ${lock}`);
      assert.deepEqual(told(got), told(expected), `pushes to ${id}`);
      const others = ordered(got);
      for (const [i, push] of ordered(expected).entries()) this.#comparePush(push, others[i] as Push);
    }
  }

  #comparePush({ what, token, lock, number }: Push, other: Push): void {
    if (what === "next") return assertNear(other.number, number, `time told to ${token}`);
    const wish = this.wishes.find(({ requests }) => requests[0].token === token) as Wish;
    if (what === "granted") this.#learn(wish, [number, other.number]);
    else this.#drawn(indexOf(lock), token, [number, other.number]);
  }

  #learn(wish: Wish, fences: [number, number]): void {
    [wish.fences[0], wish.fences[1]] = fences;
    this.#drawn(indexOf(wish.requests[0].lock), wish.requests[0].token, fences);
  }

  #drawn(lock: number, token: string, fences: readonly [number, number]): void {
    this.#note(lock, 0, token, fences[0]);
    this.#note(lock, 1, token, fences[1]);
  }

  #fresh: { readonly lock: number; readonly world: 0 | 1; readonly fence: number }[] = [];

  #note(lock: number, world: 0 | 1, token: string, fence: number): void {
    assert(Number.isSafeInteger(fence), `fence ${fence}`);
    const grants = this.#grantsOf(lock, world);
    if (grants.has(fence))
      assert.equal(grants.get(fence), token, `the fence ${fence} of ${LOCKS[lock]} was drawn twice`);
    else {
      grants.set(fence, token);
      this.#fresh.push({ lock, world, fence });
    }
  }

  #grantsOf(lock: number, world: 0 | 1): Map<number, string> {
    return (this.#grants[lock] as readonly [Map<number, string>, Map<number, string>])[world];
  }

  #highest = LOCKS.map(() => [0, 0] as [number, number]);

  /** Fences grow with every grant, and are drawn in the same order in both worlds. */
  #compareGrants(): void {
    const before = this.#highest.map((each) => [...each]);
    for (const { lock, world, fence } of this.#fresh) {
      const last = before[lock]?.[world] ?? 0;
      assert(fence > last, `the fence ${fence} of ${LOCKS[lock]} came after ${last} in world ${world}`);
      const highest = this.#highest[lock] as [number, number];
      highest[world] = Math.max(highest[world], fence);
    }
    this.#fresh = [];
    for (const [i, lock] of LOCKS.entries()) {
      const [expected, got] = ([0, 1] as const).map((world) =>
        [...this.#grantsOf(i, world)].sort(([a], [b]) => a - b).map(([, token]) => token),
      );
      assert.deepEqual(got, expected, `grants of ${lock} in the order of their fences`);
    }
  }
}

/** Without a poll, because it is waited for after every operation. */
async function soon(promise: Promise<void>, what: string): Promise<void> {
  const late = deferred();
  const timer = setTimeout(() => late.reject(new Error(`Waited 5000 ms until ${what}; it did not happen.`)), 5_000);
  await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

function indexOf(lock: string): number {
  return LOCKS.findIndex((each) => each === lock);
}

function askFor(scheme: Scheme, wish: Wish, world: 0 | 1): Promise<Answer> {
  const request = wish.requests[world];
  return wish.manner === "steal" ? scheme.steal(request) : ask(scheme, request, wish.manner === "wait");
}

function byToken(holders: readonly HolderState[]): HolderState[] {
  return [...holders].sort((a, b) => (String(a.token) < String(b.token) ? -1 : 1));
}

function tokenAndLabel({ token, label, permits }: HolderState): unknown {
  return { token, label, permits };
}

function timeless(waiter: WaiterState): WaiterState {
  return { ...waiter, waited: 0 };
}

function assertNear(got: number | undefined, expected: number | undefined, what: string): void {
  const near = got !== undefined && expected !== undefined && Math.abs(got - expected) <= BLUR;
  assert(near, `${what}: expected about ${expected}, got ${got}`);
}

/** The same driver, but that scripts are sent whole and with the mistake in them. */
function plant(driver: Driver, mistake: Mistake | undefined): Driver {
  if (!mistake) return driver;
  const send = driver.send.bind(driver);
  driver.send = ([name = "", ...args]) => {
    // As from a server that does not know the script, which is sent its source then.
    if (name === "EVALSHA") return Promise.reject(new Error("NOSCRIPT"));
    if (name === "EVAL") args[0] = mistaken(args[0] ?? "", mistake);
    return send([name, ...args]);
  };
  return driver;
}

export function mistaken(source: string, { from, to }: Mistake): string {
  return source.replaceAll(from, to);
}
