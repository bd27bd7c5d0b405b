/** Local turns: who is served when, and with what. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Lock, LockOptions } from "../../src/index.ts";
import { drift } from "../../src/leases/deadline.ts";
import { NAME, TurnsStage, type TurnsStore, down } from "../support/turns.ts";

vi.mock("../../src/schemes/index.ts", () => ({
  openScheme: (store: TurnsStore, ...terms: Parameters<TurnsStore["open"]>) => store.open(...terms),
}));

let on: TurnsStage;

beforeEach(() => {
  on = new TurnsStage();
});
afterEach(() => on.end());

describe("a turn", () => {
  test("serves those who waited when it began, in the order they came; then the next process has its turn", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1"]);
    await on.asks(q, ["q1", "q2"]);
    await on.asks(p, ["p2", "p3"]);
    await on.asks(q, ["q3"]);
    await blocker.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "p3", "q1", "q2", "q3"]);
  });

  test("does not serve those who came while it lasted", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2"]);
    await on.asks(q, ["q1"]);
    await blocker.release();
    await on.clock.advance(0);
    await on.asks(p, ["p3", "p4"]);
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "q1", "p3", "p4"]);
  });

  test("keeps the question for the next turn until it is over, but for 5 ms at most", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    const [p1] = await on.asks(p, ["p1"]);
    await blocker.release();
    await on.clock.advance(0);
    const [p2] = await on.asks(p, ["p2"]);
    const asked = (): number => p.scheme.calls.filter(({ verb }) => verb === "acquire").length;
    const before = asked();
    await p1?.release();
    await on.clock.advance(0);
    expect(
      p.scheme.calls.slice(-2).map(({ verb }) => verb),
      "in one write",
    ).toEqual(["release", "acquire"]);
    expect(asked()).toBe(before + 1);
    await on.asks(p, ["p3"]);
    await on.clock.advance(4);
    expect(asked(), "while the turn may still end in time").toBe(before + 1);
    await on.clock.advance(1);
    expect(asked(), "when the turn has lasted 5 ms").toBe(before + 2);
    await p2?.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "p3"]);
  });

  test("has as many grants as the process allows at most", async () => {
    const [p, q] = [on.process(2), on.process(3)];
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2", "p3", "p4", "p5"]);
    await on.asks(q, ["q1", "q2", "q3", "q4"]);
    await blocker.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "q1", "q2", "q3", "p3", "p4", "q4", "p5"]);
  });

  test("hands the lock to nobody after 50 ms: slow work alternates", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2", "p3"]);
    await on.asks(q, ["q1", "q2", "q3"]);
    await blocker.release();
    await on.serve(50);
    expect(on.order).toEqual(["p1", "q1", "p2", "q2", "p3", "q3"]);
  });

  test("hands the lock on for 50 ms from its beginning, not from each grant", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2", "p3"]);
    await on.asks(q, ["q1", "q2", "q3"]);
    await blocker.release();
    await on.serve(49);
    expect(on.order).toEqual(["p1", "p2", "q1", "q2", "p3", "q3"]);
  });

  test("hands on no lease that the scheme has not confirmed for 10 ms, and cannot confirm now", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    const [p1, p2] = await on.asks(p, ["p1", "p2", "p3"]);
    await on.asks(q, ["q1"]);
    await blocker.release();
    await on.clock.advance(20);
    p.scheme.fault = down();
    void p1?.release();
    await on.clock.advance(0);
    expect(p2?.held).toBe(false);
    p.scheme.fault = undefined;
    await on.clock.advance(1_000);
    await on.serve();
    expect(on.order).toEqual(["p1", "q1", "p2", "p3"]);
  });

  test("confirms a lease that the scheme has not confirmed for 10 ms before it hands it on", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    const [p1, p2, p3] = await on.asks(p, ["p1", "p2", "p3"]);
    await blocker.release();
    await on.clock.advance(10);
    void p1?.release();
    await on.clock.advance(0);
    expect([p2?.held, p.scheme.count("extend")]).toEqual([true, 1]);
    await on.clock.advance(15);
    void p2?.release();
    await on.clock.advance(0);
    expect([p3?.held, p.scheme.count("extend")]).toEqual([true, 2]);
    await on.serve();
  });

  test("hands a lease on when the scheme's word comes, however far away the scheme is", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    const [p1, p2] = await on.asks(p, ["p1", "p2"]);
    await on.asks(q, ["q1"]);
    await blocker.release();
    p.scheme.delayExtensions(25);
    await on.clock.advance(11);
    void p1?.release();
    await on.clock.advance(24);
    expect(p2?.held).toBe(false);
    await on.clock.advance(1);
    expect(p2?.held).toBe(true);
    await on.serve();
    expect(on.order).toEqual(["p1", "p2", "q1"]);
    await on.clock.advance(25);
  });

  test("puts those whom it did not reach before all of the process that came later, and share places", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2", "p3"]);
    // Each group wants another ttl, so it needs a place of its own. Only the last, who stands alone, makes them have one.
    await on.asks(p, ["p4", "p5"], { ttl: 20_000 });
    await on.asks(p, ["p6"], { ttl: 25_000 });
    await on.asks(p, ["alone"], { onWait: () => {} });
    await blocker.release();
    await on.serve(60);
    expect(on.order.filter((name) => name !== "alone")).toEqual(["p1", "p2", "p3", "p4", "p5", "p6"]);
  });

  test("puts those whom it did not reach before those in other places of the process, though few fit into one", async () => {
    const p = on.process(2);
    const blocker = await on.blocked();
    await on.asks(p, ["p1", "p2", "p3", "p4", "p5", "p6"]);
    await on.asks(p, ["alone"], { onWait: () => {} });
    await blocker.release();
    await on.serve(60);
    expect(on.order.filter((name) => name !== "alone")).toEqual(["p1", "p2", "p3", "p4", "p5", "p6"]);
  });

  test("keeps that question also if somebody looks at the lock meanwhile", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    const [p1] = await on.asks(p, ["p1"]);
    await on.asks(p, ["alone"], { onWait: () => {} });
    await blocker.release();
    await on.clock.advance(0);
    expect((await p.locks.query({ name: NAME })).held).toHaveLength(1);
    const asked = (): number => p.scheme.count("acquire");
    const before = asked();
    await on.asks(p, ["p2"]);
    expect(asked()).toBe(before);
    await p1?.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "alone", "p2"]);
  });

  test("asks for the whole ttl again for whoever it is handed to, if less is left", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    const [p1, p2] = await on.asks(p, ["p1", "p2"], { ttl: 1_000, renew: false });
    await blocker.release();
    await on.clock.advance(40);
    expect(p1?.lock?.remaining).toBe(1_000 - 12 - 40);
    await p1?.release();
    await on.clock.advance(0);
    expect(p2?.lock?.remaining).toBeCloseTo(1_000 - drift(1_000));
    await on.serve();
  });
});

describe("inside a process", () => {
  test("first come is first served, shared ones together and exclusive ones alone", async () => {
    const p = on.process();
    const blocker = await on.blocked();
    await on.asks(p, ["s1", "s2"], { mode: "shared" });
    await on.asks(p, ["x1"]);
    await on.asks(p, ["s3", "s4"], { mode: "shared" });
    await on.asks(p, ["x2", "x3"]);
    await blocker.release();
    const together: string[][] = [];
    for (let holding = on.granted; holding.length > 0 || together.length === 0;) {
      await on.clock.advance(0);
      holding = on.granted.filter(({ over }) => !over);
      if (holding.length > 0) together.push(holding.map(({ name }) => name).sort());
      for (const wish of holding) void wish.release();
    }
    expect(together).toEqual([["s1", "s2"], ["x1"], ["s3", "s4"], ["x2"], ["x3"]]);
  });

  test("a shared grant is given back only when its last holder is done", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    const [s1, s2] = await on.asks(p, ["s1", "s2"], { mode: "shared" });
    const x = await on.ask(q, "x");
    await blocker.release();
    await on.clock.advance(0);
    expect(await s1?.release()).toBe(true);
    await on.clock.advance(0);
    expect([s2?.held, x.held]).toEqual([true, false]);
    expect(await s2?.release()).toBe(true);
    await on.clock.advance(0);
    expect(x.held).toBe(true);
    await on.serve();
  });

  test("a request that is alone goes through as it is", async () => {
    const p = on.process();
    const alone = await on.ask(p, "alone");
    const { token } = alone.lock as Lock;
    await alone.release();
    expect(p.scheme.calls).toEqual([
      { verb: "acquire", token, at: 0 },
      { verb: "release", token, at: 0 },
    ]);
  });

  test.each<[string, LockOptions]>([
    ["ttl", { ttl: 5_000 }],
    ["mode", { mode: "shared" }],
    ["label", { label: "another" }],
  ])("a request with a different %s shares no grant", async (_, options) => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1"]);
    const other = await on.ask(p, "other", options);
    await on.asks(q, ["q1"]);
    await blocker.release();
    await on.serve();
    expect(on.order).toEqual(["p1", "q1", "other"]);
    const tokens = p.scheme.calls.filter(({ verb }) => verb === "acquire").map(({ token }) => token);
    expect(tokens).toContain((other.lock as Lock).token);
  });

  test("a request that follows one of another kind has what it asked for on the server", async () => {
    const [p, q] = [on.process(), on.process()];
    const blocker = await on.blocked();
    await on.asks(p, ["p1"], { ttl: 5_000 });
    const other = await on.ask(p, "other", { ttl: 60_000, label: "me" });
    await blocker.release();
    await on.clock.advance(0);
    await on.granted[0]?.release();
    await on.clock.advance(0);
    const { held } = await q.locks.query();
    expect(held).toMatchObject([{ label: "me", remaining: 60_000, token: other.lock?.token }]);
    await on.serve();
  });
});

test("fences grow with each grant, over all processes, turns, attempts and thefts", async () => {
  const [p, q] = [on.process(3), on.process()];
  const blocker = await on.blocked();
  await on.asks(p, ["p1", "p2", "p3", "p4", "p5"]);
  await on.asks(q, ["q1", "q2", "q3"]);
  await on.asks(p, ["s1", "s2"], { mode: "shared" });
  await blocker.release();
  await on.clock.advance(0);
  await on.ask(q, "thief", { steal: true });
  await on.serve();
  await on.ask(q, "later", { waitTimeout: 0 });
  await on.serve();
  const fences = on.granted.map(({ lock }) => lock?.fence ?? 0);
  expect(new Set(fences).size).toBe(12);
  // Those of one shared grant become holders at the same instant.
  const [before, shared, after] = [fences.slice(0, 9), fences.slice(9, 11).sort((a, b) => a - b), fences.slice(11)];
  expect(on.order.slice(9)).toEqual(expect.arrayContaining(["s1", "s2", "later"]));
  const inOrder = [...before, ...shared, ...after];
  expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
});

test("maxHold of a grant that was handed on counts from that grant", async () => {
  const p = on.process();
  const blocker = await on.blocked();
  const [p1, p2] = await on.asks(p, ["p1", "p2"], { ttl: 1_000, maxHold: 2_500 });
  await blocker.release();
  await on.clock.advance(40);
  await p1?.release();
  await on.clock.advance(2_485);
  expect(p2?.held).toBe(true);
  await on.clock.advance(15);
  expect(p2?.held).toBe(false);
  await p2?.release();
});

test("extend in a turn prolongs the server's lease, and the next holder counts on what the server granted", async () => {
  const [p, q] = [on.process(), on.process()];
  const blocker = await on.blocked();
  const [p1, p2] = await on.asks(p, ["p1", "p2"], { ttl: 1_000, renew: false });
  await blocker.release();
  await on.clock.advance(10);
  await p1?.lock?.extend(20_000);
  expect((await q.locks.query()).held).toMatchObject([{ remaining: 20_000 }]);
  await p1?.release();
  await on.clock.advance(0);
  expect(p2?.lock?.remaining).toBe(20_000 - drift(20_000));
  await on.clock.advance(19_700);
  expect([p2?.held, (await q.locks.query()).held.length]).toEqual([true, 1]);
  await p2?.release();
});

test("a lease that was handed on is renewed as long as it is held", async () => {
  const [p, q] = [on.process(), on.process()];
  const blocker = await on.blocked();
  const [p1, p2] = await on.asks(p, ["p1", "p2"], { ttl: 300 });
  const q1 = await on.ask(q, "q1");
  await blocker.release();
  await on.clock.advance(40);
  await p1?.release();
  await on.clock.advance(5_000);
  expect([p2?.held, q1.held]).toEqual([true, false]);
  await on.serve();
});
