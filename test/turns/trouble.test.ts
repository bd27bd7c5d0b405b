/** Local turns: thefts, failures, late pushes, and how little the server is asked. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { LockLostError } from "../../src/errors.ts";
import { SchemeError } from "../../src/index.ts";
import { down, NAME, type Process, TurnsStage, type TurnsStore, type Wish } from "../support/turns.ts";

vi.mock("../../src/schemes/index.ts", () => ({
  openScheme: (store: TurnsStore, ...terms: Parameters<TurnsStore["open"]>) => store.open(...terms),
}));

/** How soon others see that the number of waiters has changed. */
const COUNT_INTERVAL = 200;

let on: TurnsStage;
let p: Process;
let q: Process;

beforeEach(() => {
  on = new TurnsStage();
  [p, q] = [on.process(), on.process()];
});
afterEach(() => on.end());

function reasonOf(wish: Wish | undefined): string | undefined {
  return (wish?.lock?.signal.reason as LockLostError | undefined)?.reason;
}

function grantOf(wish: Wish | undefined): { token: string; fence: number } {
  return { token: wish?.lock?.token ?? "", fence: wish?.lock?.fence ?? 0 };
}

/** Three of one process, of whom the second holds in the middle of a turn, and one of another. */
async function middleOfTurn(): Promise<Wish[]> {
  const blocker = await on.blocked();
  const wishes = await on.asks(p, ["p1", "p2", "p3"]);
  await blocker.release();
  await on.clock.advance(0);
  await wishes[0]?.release();
  await on.clock.advance(0);
  expect(wishes.map((wish) => wish.held)).toEqual([false, true, false]);
  return wishes;
}

describe("in the middle of a turn", () => {
  test.each(["elsewhere", "in the same process"])(
    "steal %s tells the holder; nobody is handed the grant",
    async (by) => {
      const [, p2, p3] = await middleOfTurn();
      const thief = await on.ask(by === "elsewhere" ? q : p, "thief", { steal: true });
      expect([thief.held, p2?.held, reasonOf(p2)]).toEqual([true, false, "stolen"]);
      await p2?.release();
      await on.clock.advance(100);
      expect([thief.held, p3?.held]).toEqual([true, false]);
      await thief.release();
      await on.clock.advance(0);
      expect(p3?.held).toBe(true);
      expect(p3?.lock?.fence).toBeGreaterThan(thief.lock?.fence ?? Infinity);
      await p3?.release();
    },
  );

  test.each(["elsewhere", "in the same process"])(
    "forceRelease %s tells the holder and serves the next",
    async (by) => {
      const [, p2, p3] = await middleOfTurn();
      const q1 = await on.ask(q, "q1");
      const taken = await (by === "elsewhere" ? q : p).locks.forceRelease(NAME);
      expect(taken).toHaveLength(1);
      if (by !== "elsewhere") expect(taken[0]).toMatchObject({ token: p2?.lock?.token, fence: p2?.lock?.fence });
      await on.clock.advance(0);
      expect([p2?.held, reasonOf(p2)]).toEqual([false, "stolen"]);
      await on.serve();
      expect([p3?.lock?.fence, q1.lock?.fence].every((fence) => (fence ?? 0) > (p2?.lock?.fence ?? 0))).toBe(true);
      await p2?.release();
    },
  );

  test("the theft of a shared grant tells all who hold it", async () => {
    const blocker = await on.blocked();
    const wishes = await on.asks(p, ["s1", "s2", "s3"], { mode: "shared" });
    await blocker.release();
    await on.clock.advance(0);
    expect(wishes.map(({ held }) => held)).toEqual([true, true, true]);
    const thief = await on.ask(q, "thief", { steal: true });
    expect(wishes.map(reasonOf)).toEqual(["stolen", "stolen", "stolen"]);
    for (const wish of wishes) await wish.release();
    expect(thief.held).toBe(true);
    await thief.release();
  });

  test("forceRelease takes the lock of one reader under a shared grant, and the others keep theirs", async () => {
    const blocker = await on.blocked();
    const wishes = await on.asks(p, ["s1", "s2", "s3"], { mode: "shared" });
    await blocker.release();
    await on.clock.advance(0);
    const { token } = grantOf(wishes[1]);
    expect(await p.locks.forceRelease(NAME, [token])).toMatchObject([{ token }]);
    await on.clock.advance(0);
    expect(wishes.map(({ held }) => held)).toEqual([true, false, true]);
    expect(wishes.map(reasonOf)).toEqual([undefined, "stolen", undefined]);
    for (const wish of wishes) await wish.release();
  });

  test("pushes that come late change nothing", async () => {
    const [p1, p2] = await middleOfTurn();
    const grant = grantOf(p1);
    const before = p.scheme.count("release");
    p.scheme.listener.granted(NAME, grant.token, grant.fence, 1);
    p.scheme.listener.next(NAME, grant.token, 0);
    await on.clock.advance(0);
    expect([p2?.held, p.scheme.count("release")]).toEqual([true, before]);
    await on.serve();
    const after = p.scheme.calls.length;
    p.scheme.listener.next(NAME, grant.token, 0);
    p.scheme.listener.lost(NAME, grant.token, grant.fence);
    await on.clock.advance(60_000);
    expect(p.scheme.calls.length).toBe(after);
  });
});

test("a late push for a turn that ended gives nothing back while others wait", async () => {
  const blocker = await on.blocked();
  const [p1] = await on.asks(p, ["p1", "p2"]);
  const q1 = await on.ask(q, "q1");
  await blocker.release();
  await on.clock.advance(60);
  const { token, fence } = grantOf(p1);
  await p1?.release();
  await on.clock.advance(0);
  expect(q1.held).toBe(true);
  const before = p.scheme.count("release");
  p.scheme.listener.granted(NAME, token, fence, 1);
  await on.clock.advance(0);
  expect(p.scheme.count("release")).toBe(before);
  await on.serve();
  expect(on.order).toEqual(["p1", "q1", "p2"]);
});

test("a grant that was taken away before its answer came is handed to nobody who would believe in it", async () => {
  const blocker = await on.blocked();
  const [p1, p2] = await on.asks(p, ["p1", "p2", "p3"]);
  const answer = p.scheme.holdAnswers();
  await blocker.release();
  await on.clock.advance(0);
  const thief = await on.ask(q, "thief", { steal: true });
  p1?.abort();
  await on.clock.advance(0);
  answer();
  await on.clock.advance(0);
  expect([thief.held, p2?.held ?? false]).toEqual([true, false]);
  await thief.release();
  await on.serve();
  expect(on.order.at(-1)).toBe("p3");
});

describe("a server that fails", () => {
  test("fails everybody in line when patience ends, each with its own; and is asked by one at a time", async () => {
    const blocker = await on.blocked({ ttl: 300_000 });
    const [p1, p2] = await on.asks(p, ["p1", "p2"]);
    p.scheme.fault = down();
    // The first asks in vain by itself; the other one sleeps until it is told.
    await on.clock.advance(5_000);
    const late = await on.ask(p, "late");
    await on.clock.advance(7_500);
    expect([p1?.error, p2?.error]).toEqual([undefined, undefined]);
    expect(late.error, "it never was in line").toBeInstanceOf(SchemeError);
    await on.clock.advance(32_000);
    expect([p1?.error, p2?.error]).toEqual([expect.any(SchemeError), expect.any(SchemeError)]);
    expect(p.scheme.mostOut).toBe(1);
    p.scheme.fault = undefined;
    await blocker.release();
    await on.clock.advance(5_000);
  });

  test("and recovers serves those in line, in order", async () => {
    const blocker = await on.blocked({ ttl: 300_000 });
    await on.asks(p, ["p1", "p2", "p3"]);
    p.scheme.fault = down();
    p.scheme.listener.missed();
    await on.clock.advance(10_000);
    p.scheme.fault = undefined;
    await blocker.release();
    await on.clock.advance(2_000);
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "p3"]);
  });

  test("once, fails nobody, however long they have waited", async () => {
    const blocker = await on.blocked({ ttl: 300_000 });
    const wishes = await on.asks(p, ["p1", "p2", "p3"]);
    await on.clock.advance(60_000);
    p.scheme.fault = down();
    p.scheme.listener.missed();
    await on.clock.advance(0);
    p.scheme.fault = undefined;
    await on.clock.advance(2_000);
    expect(wishes.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
    await blocker.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "p3"]);
  });

  test("for good fails everybody at once", async () => {
    const blocker = await on.blocked();
    const wishes = await on.asks(p, ["p1", "p2", "p3"]);
    p.scheme.fault = new SchemeError("failed" as never, "no permission", [], false);
    p.scheme.listener.missed();
    await on.clock.advance(0);
    expect(wishes.map(({ error }) => error)).toEqual(Array(3).fill(p.scheme.fault));
    p.scheme.fault = undefined;
    await blocker.release();
    await on.clock.advance(20_000);
  });

  test("and does not hear the end of a turn is told again, of the right token", async () => {
    const blocker = await on.blocked();
    const [p1, p2] = await on.asks(p, ["p1", "p2"]);
    await blocker.release();
    await on.clock.advance(0);
    const { token } = grantOf(p1);
    await p1?.release();
    await on.clock.advance(0);
    const q1 = await on.ask(q, "q1");
    p.scheme.fault = down();
    await p2?.release();
    await on.clock.advance(0);
    expect(q1.held).toBe(false);
    p.scheme.fault = undefined;
    await on.clock.advance(500);
    expect(q1.held).toBe(true);
    expect(p.scheme.calls.filter(({ verb }) => verb === "release").map((call) => call.token)).toContain(token);
    await q1.release();
  });

  test("and does not hear that the last waiter left is told again, of the place", async () => {
    const blocker = await on.blocked();
    const [p1, p2] = await on.asks(p, ["p1", "p2"]);
    const q1 = await on.ask(q, "q1");
    p1?.abort();
    await on.clock.advance(0);
    p.scheme.fault = down();
    p2?.abort();
    await on.clock.advance(0);
    p.scheme.fault = undefined;
    await on.clock.advance(500);
    await blocker.release();
    await on.clock.advance(0);
    expect(q1.held).toBe(true);
    await q1.release();
  });
});

test("10,000 waiters ask a handful of times in a minute, one question at a time", async () => {
  const blocker = await on.blocked({ ttl: 300_000 });
  const names = Array.from({ length: 10_000 }, (_, i) => `p${i}`);
  await on.asks(p, names);
  await on.clock.advance(60_000);
  expect(p.scheme.count("acquire")).toBeLessThan(20);
  expect(p.scheme.mostOut).toBe(1);
  await blocker.release();
  const before = p.scheme.calls.length;
  await on.serve();
  expect(on.order).toEqual(names);
  expect(p.scheme.calls.length - before).toBeLessThan(4 * Math.ceil(names.length / 16));
  expect(p.scheme.mostOut).toBe(1);
});

const clientOf = (wish: Wish | undefined): string | undefined => wish?.lock?.token.split(":")[0];

describe("query", () => {
  test("in the own process shows each waiter, and the true holder", async () => {
    const [, p2, p3] = await middleOfTurn();
    const p4 = await on.ask(p, "p4", { label: "the fourth" });
    await on.clock.advance(0);
    const { held, pending } = await p.locks.query();
    expect(held).toMatchObject([{ token: p2?.lock?.token, fence: p2?.lock?.fence }]);
    expect(pending.map(({ label }) => label)).toEqual([expect.any(String), "the fourth"]);
    await on.serve();
    expect(pending.map(({ token }) => token)).toEqual([undefined, p4.lock?.token]);
    expect(pending.map(({ clientId }) => clientId)).toEqual([clientOf(p2), clientOf(p3)]);
  });

  test("elsewhere shows how many wait, soon after the number changed", async () => {
    const blocker = await on.blocked({ ttl: 60_000 });
    const seen = async (): Promise<number> => (await q.locks.query()).pending.length;
    const wishes = await on.asks(p, ["p1", "p2", "p3"]);
    await on.clock.advance(COUNT_INTERVAL + 5);
    expect(await seen()).toBe(3);
    await on.asks(p, ["p4", "p5"]);
    await on.clock.advance(COUNT_INTERVAL + 5);
    expect(await seen()).toBe(5);
    wishes[0]?.abort();
    wishes[2]?.abort();
    await on.clock.advance(COUNT_INTERVAL + 5);
    expect(await seen()).toBe(3);
    await blocker.release();
    await on.serve();
  });

  test("elsewhere shows it also when the place moves up meanwhile", async () => {
    const blocker = await on.blocked({ ttl: 60_000 });
    const [q1] = await on.asks(q, ["q1"], { ttl: 60_000 });
    await on.asks(p, ["p1"]);
    await on.clock.advance(100);
    await on.asks(p, ["p2"]);
    await on.clock.advance(10);
    await blocker.release();
    await on.clock.advance(COUNT_INTERVAL);
    expect(q1?.held).toBe(true);
    expect((await q.locks.query()).pending).toHaveLength(2);
    await on.serve();
  });
});
