/** Leader election, on every scheme. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { campaign, leaders } from "../src/primitives/election.ts";
import type { ElectionRoom, Leader, Term } from "../src/primitives/election.ts";
import { LockLostError, SchemeError } from "../src/index.ts";
import type { LockManager } from "../src/index.ts";
import { ManualClock, TestLocks } from "../src/testing.ts";
import { deferred, isFree, rejection, stateOf, unique } from "./support/locks.ts";
import { PROCESSES, participant } from "./support/processes.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";
import type { Lease } from "../src/leases/lease.ts";

/** A candidate whose terms last until they are told to end. */
class Candidate {
  readonly terms: Term[] = [];
  readonly over: Promise<void>;
  readonly #leave = new AbortController();
  #end = deferred();

  constructor(locks: LockManager, name: string, options: { ttl?: number; label?: string } = {}) {
    this.over = this.#run(locks.elect(name, { ...options, signal: this.#leave.signal }));
    onTestFinished(() => {
      this.leave();
      this.endTerm();
    });
  }

  get leads(): boolean {
    return this.terms.at(-1)?.held === true;
  }

  get term(): Term {
    return this.terms.at(-1) as Term;
  }

  async elected(count = 1): Promise<Term> {
    await until(() => this.terms.length === count, `the candidate was elected (${count})`);
    return this.term;
  }

  /** Let the loop's body end. */
  endTerm(): void {
    this.#end.resolve();
    this.#end = deferred();
  }

  leave(reason?: unknown): void {
    this.#leave.abort(reason);
  }

  async #run(candidacy: AsyncIterable<Term>): Promise<void> {
    for await (const term of candidacy) {
      this.terms.push(term);
      await this.#end.promise;
    }
  }
}

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;

  beforeAll(async () => {
    world = await open();
    a = await world.manager({ label: "machine a" });
    b = await world.manager({ label: "machine b" });
  });
  afterAll(() => world.close());

  test("one candidate leads; when it resigns the other does, with a larger fence", async () => {
    const name = unique();
    const one = new Candidate(a, name);
    const first = await one.elected();
    const two = new Candidate(b, name);
    if (scheme !== "set") await until(async () => (await stateOf(a, name)).pending.length === 1, "one waited");
    expect(two.terms).toEqual([]);
    await first.resign();
    expect(first.held).toBe(false);
    expect(first.signal.aborted).toBe(true);
    expect((await two.elected()).fence).toBeGreaterThan(first.fence);
  });

  test("a body that ends resigns, and the loop continues as a candidate", async () => {
    const name = unique();
    const one = new Candidate(a, name);
    const first = await one.elected();
    one.endTerm();
    expect((await one.elected(2)).fence).toBeGreaterThan(first.fence);
    expect(first.signal.aborted).toBe(true);
  });

  test("await using resigns at the end of the block, before the loop's body ends", async () => {
    const name = unique();
    for await (const each of a.elect(name)) {
      {
        await using term = each;
        expect(term.held).toBe(true);
      }
      expect(await isFree(b, name)).toBe(true);
      break;
    }
  });

  test.each(["break", "throw"])("leaving the loop by %s resigns", async (how) => {
    const name = unique();
    const thrown = new Error("enough");
    const run = async (): Promise<void> => {
      for await (const term of a.elect(name)) {
        expect(term.held).toBe(true);
        if (how === "throw") throw thrown;
        break;
      }
    };
    if (how === "throw") expect(await rejection(run())).toBe(thrown);
    else await run();
    expect(await isFree(b, name)).toBe(true);
  });

  test("a leader that is robbed is notified, and continues as a candidate", async () => {
    const name = unique();
    const one = new Candidate(a, name, { ttl: 3_000 });
    const first = await one.elected();
    const thief = await b.acquire(name, { steal: true });
    await until(() => first.signal.aborted, "the leader was told");
    expect(first.signal.reason).toBeInstanceOf(LockLostError);
    one.endTerm();
    await thief.release();
    expect((await one.elected(2)).fence).toBeGreaterThan(thief.fence);
  });

  test("an aborted signal ends a candidate's loop and leaves nothing", async () => {
    const name = unique();
    await using _ = await b.acquire(name);
    const one = new Candidate(a, name);
    if (scheme !== "set") await until(async () => (await stateOf(a, name)).pending.length === 1, "one waited");
    one.leave();
    await one.over;
    expect(one.terms).toEqual([]);
    await until(async () => (await stateOf(a, name)).pending.length === 0, "nobody waited");
  });

  test("an aborted signal asks a leader to stop, which resigns only once its body has ended", async () => {
    const name = unique();
    const one = new Candidate(a, name);
    const term = await one.elected();
    one.leave("shutting down");
    expect(term.signal.reason).toBe("shutting down");
    expect(term.held).toBe(true);
    expect(await isFree(b, name)).toBe(false);
    one.endTerm();
    await one.over;
    expect(await isFree(b, name)).toBe(true);
  });

  test("close() notifies the leader, resigns, and ends the loop with an error", async () => {
    const name = unique();
    const manager = await world.manager();
    const one = new Candidate(manager, name);
    const term = await one.elected();
    const refusal = rejection(one.over);
    const closing = manager.close();
    await until(() => term.signal.aborted, "the leader was told");
    one.endTerm();
    await closing;
    expect(await isFree(b, name)).toBe(true);
    expect(await refusal).toMatchObject({ code: "closed" });
  });

  test("observe reports who leads at once, and each change", async () => {
    const name = unique();
    const leave = new AbortController();
    const seen: (Leader | null)[] = [];
    const watch = async (): Promise<void> => {
      for await (const leader of b.observe(name, { signal: leave.signal, interval: 50 })) seen.push(leader);
    };
    const watching = watch();
    await until(() => seen.length === 1, "the first was told");
    const one = new Candidate(a, name);
    const first = await one.elected();
    await until(() => seen.length === 2, "the election was told");
    await first.resign();
    await until(() => seen.length === 3, "the resignation was told");
    leave.abort();
    await watching;
    expect(seen).toMatchObject([null, { token: first.token, label: "machine a" }, null]);
    expect(seen[1]?.clientId).toBe(first.token.split(":")[0]);
    if (scheme !== "set") expect(seen[1]?.fence).toBe(first.fence);
  });
});

describe("when things break", () => {
  test("a leader that the server no longer answers is notified at its deadline, and may be elected again", async (t) => {
    const stage = await openStage(t);
    const one = new Candidate(await stage.manager(), "scheduler", { ttl: 4_000 });
    const first = await one.elected();
    stage.server.freeze();
    await until(() => first.signal.aborted, "the leader was told");
    expect(first.signal.reason).toMatchObject({ reason: "unreachable" });
    stage.server.thaw();
    one.endTerm();
    expect((await one.elected(2)).fence).toBeGreaterThan(first.fence);
  });

  test(
    "a candidate follows a leader that was killed, within its lease",
    async (t) => {
      const stage = await openStage(t);
      const leader = await participant(t, stage.server.url);
      const { fence } = await leader.acquire("scheduler", { ttl: 3_000 });
      const next = new Candidate(await stage.manager(), "scheduler");
      await until(
        async () => (await stage.redis.exists("{lock:scheduler}:queue")) === 1,
        "the candidate stood in line",
      );
      await leader.kill();
      expect((await next.elected()).fence).toBeGreaterThan(fence ?? Infinity);
    },
    PROCESSES.timeout,
  );

  test("a frozen process reads an aborted signal before its timers have run", async () => {
    const world = new TestLocks();
    const locks = world.manager();
    const { value: term } = (await locks.elect("scheduler", { ttl: 1_000 }).next()) as { value: Term };
    world.clock.after = () => ({ cancel: () => {} });
    Object.defineProperty(world.clock, "now", { value: () => 5_000 });
    expect(term.signal.aborted).toBe(true);
  });
});

/** A room whose leases and query answer what the test says. */
function room(clock: ManualClock, answers: Partial<ElectionRoom>): ElectionRoom {
  const never = (): Promise<never> => new Promise(() => {});
  const origin = { scheme: "memory", prefix: "lock:", label: "" } as const;
  return { clock, origin, closing: new AbortController().signal, candidacy: never, query: never, ...answers };
}

describe("trouble", () => {
  const passing = new SchemeError("unreachable", "gone for now", [], true);
  const lasting = new SchemeError("not-authorized", "no", []);
  const candidate = { name: "scheduler", signal: undefined, ttl: 1_000, label: "" };

  test("that passes does not end a candidacy: it asks again after a second", async () => {
    const clock = new ManualClock();
    let asked = 0;
    const refuse = () => (asked++, Promise.reject(passing));
    void campaign(room(clock, { candidacy: refuse }), candidate).next();
    await clock.advance(2_500);
    expect(asked).toBe(3);
  });

  test("of bad timing: a candidate elected at the moment of the abort does not lead, and resigns", async () => {
    const locks = new TestLocks().manager();
    const leave = new AbortController();
    const elected: ElectionRoom["candidacy"] = async (name) => {
      const lock = await locks.acquire(name);
      leave.abort();
      return Object.assign(lock, { guard: () => {} }) as unknown as Lease;
    };
    const terms = campaign(room(new ManualClock(), { candidacy: elected }), { ...candidate, signal: leave.signal });
    expect(await terms.next()).toEqual({ done: true, value: undefined });
    expect(await isFree(locks, "scheduler")).toBe(true);
  });

  test("that lasts ends a candidacy and an observation", async () => {
    const clock = new ManualClock();
    const refuse = () => Promise.reject(lasting);
    expect(await rejection(campaign(room(clock, { candidacy: refuse }), candidate).next())).toBe(lasting);
    const observation = { name: "scheduler", signal: undefined, interval: 1_000 };
    expect(await rejection(leaders(room(clock, { query: refuse }), observation).next())).toBe(lasting);
  });

  test("does not end an observation, which asks once per interval and leaves no timer when it ends", async () => {
    const clock = new ManualClock();
    let asked = 0;
    const query = () => (asked++ % 2 ? Promise.reject(passing) : Promise.resolve({ held: [] }));
    const leave = new AbortController();
    const watching = leaders(room(clock, { query }), { name: "x", signal: leave.signal, interval: 1_000 });
    expect(await watching.next()).toEqual({ done: false, value: null });
    const next = watching.next();
    await clock.advance(5_500);
    expect(asked).toBe(6);
    leave.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(clock.pending).toBe(0);
  });
});

describe("refused at once", () => {
  const locks = new TestLocks().manager();
  test.each([
    ["elect", 5, {}, TypeError, "Expected the lock's name to be a string; got 5."],
    ["elect", "a", { mode: "shared" }, TypeError, 'Unknown option "mode"'],
    ["elect", "a", { ttl: 3 }, RangeError, "Expected ttl to be a whole number of at least 50 milliseconds; got 3."],
    ["elect", "a", { signal: {} }, TypeError, "Expected signal to be an AbortSignal; got an object (Object)."],
    ["elect", "-a", {}, DOMException, 'names that start with "-" are reserved'],
    ["observe", "a", { interval: 0 }, RangeError, "Expected interval to be a whole number of at least 50"],
    ["observe", "a", { ttl: 100 }, TypeError, 'Unknown option "ttl"'],
  ] as const)("%s(%j, %j)", (verb, name, options, kind, message) => {
    const call = () => Reflect.apply(locks[verb], locks, [name, options]) as unknown;
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });
});
