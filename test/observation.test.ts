/** What several looks show together: what is stuck, renewals, holds that ended, within bounded memory. */
import { describe, expect, test } from "vitest";
import { pause } from "../src/clock.ts";
import { whyStuck } from "../src/cli/watch/phrases.ts";
import { findLocks, type Search } from "../src/observation/find.ts";
import { History } from "../src/observation/history.ts";
import { Journal } from "../src/observation/journal.ts";
import type { Observation } from "../src/observation/observation.ts";
import { Observer } from "../src/observation/observer.ts";
import { ManualClock } from "../src/testing.ts";
import type { LockInfo } from "../src/index.ts";

const AFTER = 60_000;
const START = 1e12;

function holder(name: string, more: Partial<LockInfo> = {}): LockInfo {
  return {
    name,
    mode: "exclusive",
    clientId: "c",
    token: "c:1",
    label: "holder",
    clientLabel: "host",
    fence: 1,
    remaining: 30_000,
    held: 0,
    waited: undefined,
    inElection: false,
    ...more,
  };
}

function waiter(name: string, waited: number, more: Partial<LockInfo> = {}): LockInfo {
  return holder(name, {
    token: "c:2",
    label: "waiter",
    fence: undefined,
    remaining: undefined,
    held: undefined,
    waited,
    ...more,
  });
}

function look(history: History, at: number, held: LockInfo[], pending: LockInfo[] = []): Observation {
  return history.add({ held, pending }, at, START + at);
}

/** Twenty holds of a second each. */
function withUsualHolds(): History {
  const history = new History(AFTER);
  for (let i = 0; i < 20; i++) {
    look(history, i * 1_000, [holder("a", { token: `c:${i}`, fence: i, held: 0 })]);
  }
  look(history, 20_000, []);
  return history;
}

test("nothing is stuck that is held and waited for as usual", () => {
  const history = withUsualHolds();
  expect(look(history, 21_000, [holder("a", { token: "c:99", held: 500 })], [waiter("a", 400)]).stuck).toEqual([]);
});

test.each([
  [
    "a key that never expires",
    [holder("a", { clientId: "", token: undefined, remaining: undefined })],
    [],
    "no-expiry",
    /^Never expires, held for \S+\. If its owner is gone, nobody releases it\.$/,
  ],
  [
    "a hold of over five times the usual",
    [holder("a", { token: "c:99", held: 61_000 })],
    [],
    "long-hold",
    /^Held for 61s, usually 500ms\.$/,
  ],
  [
    "a lock nobody holds, and yet others wait",
    [],
    [waiter("a", 21_000)],
    "unclaimed",
    /^Free, and yet others have been waiting for 21s\.$/,
  ],
] as const)("%s is stuck, and why is said", (_, held, pending, reason, sentence) => {
  const { stuck } = look(withUsualHolds(), 100_000, [...held], [...pending]);
  expect(stuck.map((each) => [each.stuck?.reason, whyStuck(each)])).toEqual([
    [reason, expect.stringMatching(sentence)],
  ]);
});

test("a queue that does not move is stuck after a while, also if nothing is known of the lock", () => {
  const history = new History(AFTER);
  const queue = (waited: number) => [waiter("a", waited)];
  expect(look(history, 0, [holder("a", { held: 59_000 })], queue(59_000)).stuck).toEqual([]);
  const { stuck } = look(history, 2_000, [holder("a", { held: 61_000 })], queue(61_000));
  expect(stuck[0]?.stuck).toEqual({ reason: "no-progress", for: 61_000 });
  expect(whyStuck(stuck[0]!)).toBe("The queue has not moved for 61s.");
});

test("a leader that leads for long, and a job that is kept, are not stuck", () => {
  const history = new History(AFTER);
  const leader = holder("a", { inElection: true, held: 1e7 });
  const job = holder("b", { label: "host (done, started 2026-01-01T00:00:00.000Z)", held: 1e7 });
  const { stuck, locks } = look(history, 0, [leader, job], [waiter("a", 1e7, { inElection: true })]);
  expect(stuck).toEqual([]);
  expect([locks.get("a")?.kind, locks.get("b")?.kind]).toEqual(["election", "job"]);
});

test("those that most wait for are the worst", () => {
  const history = new History(AFTER);
  const held = ["a", "b"].map((name) => holder(name, { held: 70_000 }));
  const { stuck } = look(history, 0, held, [waiter("a", 70_000), waiter("b", 70_000), waiter("b", 70_000)]);
  expect(stuck.map(({ name }) => name)).toEqual(["b", "a"]);
});

describe("of the locks that a look shows", () => {
  const held = [
    holder("free soon", { remaining: 1_000, held: 10 }),
    holder("wanted", { remaining: 2_000, held: 30 }),
    holder("jammed", { remaining: 3_000, held: 70_000 }),
    holder("seats", { permits: 1, limit: 3, remaining: 4_000, held: 20 }),
    holder("chair", { inElection: true, remaining: 5_000, held: 50 }),
    holder("nightly", { label: "host (done, started 2026-01-01T00:00:00.000Z)", remaining: 6_000, held: 40 }),
    holder("theirs", { clientId: "", token: undefined, remaining: 7_000, held: undefined }),
  ];
  const pending = [waiter("wanted", 100), waiter("wanted", 50), waiter("jammed", 65_000)];
  const found = (choice: Partial<Search>): string[] =>
    findLocks(look(new History(AFTER), 0, held, pending), { search: "", show: "all", sort: "name", ...choice }).map(
      ({ name }) => name,
    );

  test.each([
    ["contended", ["jammed", "wanted"]],
    ["stuck", ["jammed"]],
    ["semaphores", ["seats"]],
    ["elections", ["chair"]],
    ["jobs", ["nightly"]],
    ["foreign", ["theirs"]],
  ] as const)("%s are %j", (show, names) => {
    expect(found({ show })).toEqual(names);
  });

  test.each([
    ["attention", ["jammed", "wanted"]],
    ["waiters", ["wanted", "jammed"]],
    ["wait", ["jammed", "wanted"]],
    ["held", ["jammed", "chair"]],
    ["left", ["free soon", "wanted"]],
  ] as const)("the first by %s are %j", (sort, names) => {
    expect(found({ sort }).slice(0, 2)).toEqual(names);
  });
});

test("a renewal is seen by the later end of the lease, once", () => {
  const history = new History(AFTER);
  const lefts = [30_000, 29_000, 30_000, 29_000, 30_000];
  lefts.forEach((remaining, i) => look(history, i * 1_000, [holder("a", { remaining, held: i * 1_000 })]));
  const { locks } = look(history, 5_000, [holder("a", { remaining: 29_000, held: 5_000 })]);
  expect(locks.get("a")?.holders).toMatchObject([{ renewals: 2, renewedAt: 4_000, lease: 30_000 }]);
});

test("a hold that ended is kept, with how long its holder had waited", () => {
  const history = new History(AFTER);
  look(history, 0, [holder("a")], [waiter("a", 3_000)]);
  look(history, 1_000, [holder("a", { token: "c:2", fence: 2, label: "waiter", held: 400 })]);
  look(history, 2_000, []);
  expect(history.pastHolds.of("a")).toMatchObject([
    { label: "holder", held: 500, time: START },
    { label: "waiter", held: 900, time: START + 600, waited: 3_600 },
  ]);
});

test("memory is bounded: a journal keeps the latest of each, and drops what is oldest of all", () => {
  const journal = new Journal<number>(3, 10);
  for (let i = 0; i < 5; i++) journal.add("a", i);
  expect(journal.of("a")).toEqual([2, 3, 4]);
  for (let i = 0; i < 9; i++) journal.add(`other ${i}`, i);
  expect(journal.size).toBe(10);
  expect(journal.of("a")).toEqual([4]);
});

test("charts keep a quarter of an hour of looks and a day of minutes", () => {
  const history = new History(AFTER);
  for (let i = 0; i <= 30 * 60; i++) look(history, i * 60_000, []);
  expect(history.series.recent).toHaveLength(16);
  expect(history.series.minutes).toHaveLength(24 * 60);
});

test("it looks again after its interval if the last look failed, however long that took", async () => {
  const clock = new ManualClock();
  let looks = 0;
  const query = async (): Promise<never> => {
    looks++;
    await pause(clock, 6_000);
    throw new Error("no answer");
  };
  const observer = new Observer({ query }, { poll: 1_000, stuckAfter: AFTER, always: false }, clock);
  observer.watch(() => {});
  await clock.advance(6_000);
  expect([looks, observer.failure?.error]).toEqual([1, new Error("no answer")]);
  await clock.advance(1_000);
  expect(looks).toBe(2);
  observer.close();
});
