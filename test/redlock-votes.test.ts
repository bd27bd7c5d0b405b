/** What the answers of several nodes decide together: pure functions of the scheme `redlock`. */
import { describe, expect, test } from "vitest";
import { SchemeError } from "../src/errors.ts";
import { Keys, nodeKeys } from "../src/schemes/keys.ts";
import { Debts } from "../src/schemes/redlock/debts.ts";
import { majorityState, readLook } from "../src/schemes/redlock/look.ts";
import { countHolders, pending, type Refusal } from "../src/schemes/redlock/pending.ts";
import { type HolderVote, judgeRelease, judgeRenewal, noQuorum } from "../src/schemes/redlock/verdict.ts";
import { ManualClock } from "../src/testing.ts";

const yes: HolderVote = { kind: "yes" };
const failed: HolderVote = { kind: "failed" };
const unsure: HolderVote = { kind: "unsure", holder: "" };
const gone: HolderVote = { kind: "no", holder: "" };
const theirs: HolderVote = { kind: "no", holder: "x" };

describe("a renewal", () => {
  test.each([
    [[yes, yes], 3, "extended"],
    [[yes, failed], 3, undefined],
    [[yes, theirs], 3, undefined],
    [[gone, failed, unsure], 3, undefined],
    [[gone, gone], 3, "gone"],
    [[theirs, theirs], 3, "stolen"],
    [[theirs, gone], 3, "gone"],
    [[theirs, theirs, gone], 5, "stolen"],
    [[theirs, gone, gone], 5, "gone"],
    [[yes, yes, theirs, theirs], 5, undefined],
  ] as const)("%j of %i nodes: %s", (votes, nodes, verdict) => {
    expect(judgeRenewal(votes, nodes)).toBe(verdict);
  });
});

describe("a release", () => {
  test.each([
    [[yes, yes], 3, 3, "released"],
    [[yes, gone], 3, 3, undefined],
    [[gone, gone], 3, 3, "gone"],
    [[gone], 2, 3, "gone"],
    [[failed, failed], 3, 3, "no-quorum"],
    [[yes, failed], 3, 3, undefined],
    [[yes, failed, unsure], 3, 3, "unsure"],
    [[unsure, unsure], 2, 3, "unsure"],
    [[unsure, failed], 3, 5, undefined],
  ] as const)("%j of %i asked of %i nodes: %s", (votes, asked, nodes, verdict) => {
    expect(judgeRelease(votes, asked, nodes)).toBe(verdict);
  });
});

describe("an error without a majority", () => {
  const lasting = new SchemeError("not-authorized", "May not.", []);
  const passing = new SchemeError("unreachable", "Is down.", [], true);

  test("says of each node how it voted, and that it may pass if no node failed", () => {
    const error = noQuorum([
      ["a", "yes"],
      ["b", "no"],
      ["c", undefined],
    ]);
    expect(error).toMatchObject({
      code: "no-quorum",
      transient: true,
      votes: [
        { node: "a", vote: "yes" },
        { node: "b", vote: "no" },
        { node: "c", vote: "unknown" },
      ],
    });
    expect(error.message).toContain(
      "No majority of the 3 nodes: expected 2 to do their part; a: yes; b: no; c: unknown.",
    );
    expect(error.message).toContain("Bring the nodes back");
  });

  test("has the code that all failures share if it will not pass", () => {
    const error = noQuorum([
      ["a", { cause: lasting }],
      ["b", { cause: lasting }],
      ["c", "yes"],
    ]);
    expect(error).toMatchObject({ code: "not-authorized", transient: false });
    expect(error.votes[0]).toEqual({ node: "a", vote: "failed", cause: lasting });
    expect(error.message).toContain("a: failed (May not");
    expect(error.message).toContain("What the nodes say tells what to do.");
  });

  test.each([
    ["may pass if one of the failures may", passing, { code: "no-quorum", transient: true }],
    ["may pass if one failure is no error of ours", new Error("odd"), { code: "no-quorum", transient: true }],
    ["names no reason if they differ", new SchemeError("read-only", "Is a replica.", []), { code: "no-quorum" }],
  ])("%s", (_, other, expected) => {
    const votes = [
      ["a", { cause: lasting }],
      ["b", { cause: other }],
    ] as const;
    expect(noQuorum(votes)).toMatchObject(expected);
  });
});

describe("what nodes tell of a lock", () => {
  const [holder, waiter, later] = ["holder", "waiter", "later"].map((name) => `${name.padEnd(22, "-")}:1`) as [
    string,
    string,
    string,
  ];
  const look = (kind: string, holders: unknown[][], waiters: unknown[][] = []) =>
    readLook([kind, holders.flat(), waiters.flat()]);
  const held = (fence: number, left: number, label = "me") => [holder, `${fence}#${fence}#0#${label}`, String(left)];

  test("a holder is who holds on a majority, with the time, fence and label that a majority has at least", () => {
    const looks = [
      look("exclusive", [held(7, 900, "old")]),
      look("exclusive", [held(9, 500)]),
      look("exclusive", [held(8, 700)]),
    ];
    expect(majorityState("x", looks, 3)).toMatchObject({
      mode: "exclusive",
      holders: [{ token: holder, fence: 8, remaining: 700, label: "me" }],
      waiters: [],
    });
  });

  test("who holds on a minority does not hold, and waits if it also stands in queues", () => {
    const inQueue = [waiter, "3", "exclusive", "1", "w"];
    const looks = [
      look("exclusive", [[waiter, "5#5#0#w", "900"]]),
      look("", [], [inQueue]),
      look("", [], [[later, "4", "shared", "2", "l"]]),
    ];
    const { mode, holders, waiters } = majorityState("x", looks, 3);
    expect({ mode, holders }).toEqual({ mode: undefined, holders: [] });
    expect(waiters).toEqual([{ token: waiter, mode: "exclusive", waiting: 1, label: "w" }]);
  });

  test("waiters stand in the order of their tickets, without those who hold", () => {
    const [first, second, own] = [
      [waiter, "3", "exclusive", "1", ""],
      [later, "4", "shared", "2", ""],
      [holder, "1", "shared", "1", ""],
    ];
    const each = look("shared", [held(5, 900)], [second, first, own]);
    const { mode, waiters } = majorityState("x", [each, each], 3);
    expect(mode).toBe("shared");
    expect(waiters.map(({ token, waiting }) => [token, waiting])).toEqual([
      [waiter, 1],
      [later, 2],
    ]);
  });

  test("another library's value has no token; one without an end has no remaining time", () => {
    const each = look("foreign", [["theirs", "", "-1"]]);
    const { holders } = majorityState("x", [each, each, look("", [])], 3);
    expect(holders).toEqual([
      { token: undefined, fence: undefined, remaining: undefined, label: "", foreign: "theirs" },
    ]);
  });
});

describe("who waits", () => {
  const free: Refusal = { rank: 0, left: 0, isForeign: false, isShared: false, holder: "", label: "" };

  test("is told who holds on most nodes, and the largest number of those before it", () => {
    const a = { ...free, left: 60_000, holder: "a", label: "la" };
    const b = { ...free, left: 60_000, holder: "b", label: "lb", rank: 2 };
    expect(pending([b, a, a], 2, true)).toMatchObject({ ahead: 2, holder: { token: "a", label: "la" } });
    expect(pending([free, free], 2, true)).not.toHaveProperty("holder");
    expect([...countHolders([a, b, a, free])]).toEqual([
      ["a", 2],
      ["b", 1],
    ]);
  });

  test("asks again when a majority's leases end, every 50 ms behind another library's key, and every 250 ms if deaf", () => {
    const until = (left: number): Refusal => ({ ...free, left });
    const { pokeAfter } = pending([until(3_000), until(1_000), until(2_000)], 2, true) as { pokeAfter: number };
    expect(pokeAfter).toBeGreaterThan(1_999);
    expect(pokeAfter).toBeLessThan(2_200);
    expect(pending([{ ...until(-1), isForeign: true }], 2, true)).toMatchObject({ pokeAfter: 50 });
    expect(pending([until(60_000)], 2, false)).toMatchObject({ pokeAfter: 250 });
    const poke = pending([until(-1)], 2, true) as { pokeAfter: number };
    expect(poke.pokeAfter).toBeGreaterThanOrEqual(4_500);
    expect(poke.pokeAfter).toBeLessThanOrEqual(5_500);
  });
});

test("of what a node is to be told later, a thousand are kept, and none that has ended", async () => {
  const clock = new ManualClock();
  const debts = new Debts(clock);
  const keys = new Keys("lock:", nodeKeys).of("x");
  const debt = (token: string, left: number) => ({ keys, args: [], token, until: clock.now() + left });
  expect(debts.add(debt("over", 0))).toBe(false);
  for (let i = 0; i < 1_000; i++) expect(debts.add(debt(`${i}`, i === 0 ? 10 : 1_000))).toBe(true);
  expect(debts.add(debt("too many", 1_000))).toBe(false);
  expect(debts.size).toBe(1_000);
  await clock.advance(10);
  expect(debts.take()).toHaveLength(999);
  expect(debts.size).toBe(0);
});
