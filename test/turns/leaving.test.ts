/** Local turns: waiters that leave, whenever it may be, leave nothing behind and delay nobody. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LockTimeoutError } from "../../src/index.ts";
import { NAME, type Process, TurnsStage, type TurnsStore, type Wish } from "../support/turns.ts";

vi.mock("../../src/schemes/index.ts", () => ({
  openScheme: (store: TurnsStore, ...terms: Parameters<TurnsStore["open"]>) => store.open(...terms),
}));

const NAMES = ["p1", "p2", "p3"];
/** After that a turn keeps no question back. */
const HELD_BACK = 5;

let on: TurnsStage;
let p: Process;
let q: Process;
let blocker: Wish;

beforeEach(async () => {
  on = new TurnsStage();
  [p, q] = [on.process(), on.process()];
  blocker = await on.blocked({ ttl: 60_000 });
});
afterEach(() => on.end());

/** All who are still there are served in no time, in order. */
async function allServed(expected: readonly string[]): Promise<void> {
  const start = on.clock.now();
  if (!blocker.over) await blocker.release();
  await on.serve();
  expect(on.order).toEqual(expected);
  expect(on.clock.now()).toBe(start);
}

/** Who leaves, and who remains. */
const leavers: [string, number[], string[]][] = [
  ["the first, that opened the place", [0], ["p2", "p3"]],
  ["one in between", [1], ["p1", "p3"]],
  ["the last", [2], ["p1", "p2"]],
  ["the first two", [0, 1], ["p3"]],
  ["all", [0, 1, 2], []],
  ["all, from the last to the first", [2, 1, 0], []],
];

describe.each(leavers)("%s", (_, indexes, remain) => {
  test("aborted while waiting", async () => {
    const wishes = await on.asks(p, NAMES);
    await on.asks(q, ["q1"]);
    for (const i of indexes) wishes[i]?.abort();
    await on.clock.advance(0);
    await allServed([...remain, "q1"]);
    for (const i of indexes) expect(wishes[i]?.error).toBe("enough");
  });

  test("aborted while the question is out", async () => {
    const answer = p.scheme.holdAnswers();
    const wishes = await on.asks(p, NAMES);
    await on.asks(q, ["q1"]);
    for (const i of indexes) wishes[i]?.abort();
    await on.clock.advance(0);
    answer();
    await on.clock.advance(0);
    await allServed([...remain, "q1"]);
  });

  test("aborted while the answer that grants is out", async () => {
    const wishes = await on.asks(p, NAMES);
    await on.asks(q, ["q1"]);
    const answer = p.scheme.holdAnswers();
    await blocker.release();
    await on.clock.advance(0);
    expect(p.scheme.out).toBe(1);
    for (const i of indexes) wishes[i]?.abort();
    await on.clock.advance(0);
    answer();
    await allServed([...remain, "q1"]);
  });

  test("timed out", async () => {
    const wishes: Wish[] = [];
    for (const [i, name] of NAMES.entries()) {
      wishes.push(await on.ask(p, name, indexes.includes(i) ? { waitTimeout: 1_000 } : {}));
    }
    await on.asks(q, ["q1"]);
    await on.clock.advance(1_000);
    for (const i of indexes) expect(wishes[i]?.error).toBeInstanceOf(LockTimeoutError);
    await allServed([...remain, "q1"]);
  });

  test("aborted in the middle of a turn", async () => {
    const [p0] = await on.asks(p, ["p0"]);
    const wishes = await on.asks(p, NAMES);
    await on.asks(q, ["q1"]);
    await blocker.release();
    await on.clock.advance(0);
    expect(p0?.held).toBe(true);
    for (const i of indexes) wishes[i]?.abort();
    await allServed(["p0", ...remain, "q1"]);
  });
});

test("one that is handed the lock holds it, though it aborts in the same step", async () => {
  const [p1, p2] = await on.asks(p, NAMES);
  await blocker.release();
  await on.clock.advance(0);
  void p1?.release();
  p2?.abort();
  await allServed(["p1", "p2", "p3"]);
});

test("a newcomer of another mode finds the place of those who have left", async () => {
  const [p1] = await on.asks(p, ["p1"]);
  const answer = p.scheme.holdAnswers();
  await blocker.release();
  await on.clock.advance(0);
  p1?.abort();
  const s1 = await on.ask(p, "s1", { mode: "shared" });
  answer();
  await on.clock.advance(0);
  expect(s1.held).toBe(true);
  await allServed(["s1"]);
});

test("whoever is behind one of another kind that leaves has the place of that one", async () => {
  const [p1] = await on.asks(p, ["p1"]);
  await on.asks(p, ["s1", "s2"], { mode: "shared" });
  await on.asks(q, ["q1"]);
  p1?.abort();
  await on.clock.advance(0);
  await blocker.release();
  await on.serve();
  expect(on.order.toSorted()).toEqual(["q1", "s1", "s2"]);
  expect(on.order.at(-1)).toBe("q1");
});

test("the last holder releases while the only one behind has left, and its question is out: the place goes with it", async () => {
  const [p1, p2, p3] = await on.asks(p, NAMES);
  await on.asks(q, ["q1"]);
  await blocker.release();
  await on.clock.advance(0);
  const answer = p.scheme.holdAnswers();
  const p4 = await on.ask(p, "p4");
  await on.clock.advance(HELD_BACK);
  expect(p.scheme.out, "the fourth asked for its place").toBe(1);
  p4.abort();
  for (const wish of [p1, p2, p3]) {
    void wish?.release();
    await on.clock.advance(0);
  }
  answer();
  await allServed(["p1", "p2", "p3", "q1"]);
});

test("one that comes while the question of one that has left is out keeps the place", async () => {
  const [p1, p2, p3] = await on.asks(p, NAMES);
  await blocker.release();
  await on.clock.advance(0);
  const answer = p.scheme.holdAnswers();
  const p4 = await on.ask(p, "p4");
  await on.clock.advance(HELD_BACK);
  await on.ask(q, "q1");
  p4.abort();
  await on.ask(p, "p5");
  for (const wish of [p1, p2, p3]) {
    void wish?.release();
    await on.clock.advance(0);
  }
  answer();
  await allServed(["p1", "p2", "p3", "p5", "q1"]);
});

test("a holder that loses its lease and never releases does not hold up the line", async () => {
  const [p1, p2, p3] = await on.asks(p, NAMES, { ttl: 1_000, renew: false });
  await on.asks(q, ["q1"]);
  await blocker.release();
  await on.clock.advance(0);
  await p1?.release();
  await on.clock.advance(1_005);
  expect(p2?.held).toBe(false);
  expect(on.order).toEqual(["p1", "p2", "q1"]);
  await on.granted.at(-1)?.release();
  await on.clock.advance(0);
  expect(p3?.held).toBe(true);
  await p2?.release();
  expect(p3?.held).toBe(true);
  await p3?.release();
});

test("a shared holder that lost its lease and never releases does not keep the grant of others", async () => {
  const [s1] = await on.asks(p, ["s1"], { mode: "shared", ttl: 1_000, renew: false });
  const [s2] = await on.asks(p, ["s2"], { mode: "shared", ttl: 1_000 });
  const q1 = await on.ask(q, "q1");
  await blocker.release();
  await on.clock.advance(3_100);
  expect([s1?.held, s2?.held, q1.held]).toEqual([false, true, false]);
  await s2?.release();
  await on.clock.advance(0);
  expect(q1.held).toBe(true);
  await q1.release();
});

test("when all is over, a request goes through as in the beginning", async () => {
  await on.asks(p, NAMES);
  await on.asks(q, ["q1"]);
  await blocker.release();
  await on.serve();
  const before = p.scheme.calls.length;
  p.scheme.listener.missed();
  await on.clock.advance(60_000);
  expect(p.scheme.calls.length).toBe(before);
  await using lock = await p.locks.acquire(NAME);
  await lock.release();
  expect(p.scheme.calls.slice(before).map(({ verb, token }) => [verb, token === lock.token])).toEqual([
    ["acquire", true],
    ["release", true],
  ]);
});
