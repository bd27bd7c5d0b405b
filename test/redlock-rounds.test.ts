/** A question to several nodes asks no more of them than it has to, and no fewer. */
import { describe, expect, test } from "vitest";
import { judgeRelease, judgeVotes } from "../src/schemes/redlock/ballot.ts";
import type { Failure, Verdict, Vote } from "../src/schemes/redlock/ballot.ts";
import { Rounds } from "../src/schemes/redlock/round.ts";
import type { Round } from "../src/schemes/redlock/round.ts";
import { ManualClock } from "../src/testing.ts";
import { turn } from "./support/locks.ts";

interface Voter {
  readonly title: string;
}

const nodes: Voter[] = ["a", "b", "c", "d", "e"].map((title) => ({ title }));
const [a, b, c, d, e] = nodes as [Voter, Voter, Voter, Voter, Voter];
const granted: Vote = { kind: "granted", fence: 7 };
const held: Vote = { kind: "held", left: 1, holder: "x" };
const failed: Failure = { kind: "failed", cause: new Error("down") };

function poll() {
  const clock = new ManualClock();
  const asked: string[] = [];
  const lagging: string[] = [];
  let followed = 0;
  const rounds = new Rounds(clock);
  const round: Round<Voter, Vote, Verdict> = rounds.ask({
    first: nodes.slice(0, 3),
    rest: nodes.slice(3),
    limit: 1_000,
    ask: ({ title }, { wanted }) => wanted && asked.push(title),
    judge: (votes) => judgeVotes(votes.values(), nodes.length),
    follows: ({ kind }) => kind === "granted",
    followed: () => followed++,
    lags: ({ title }) => lagging.push(title),
  });
  const pass = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    await turn();
  };
  return { round, asked, lagging, pass, followed: () => followed };
}

describe("a question to five nodes", () => {
  test("is asked of three; the rest follows behind a grant", async () => {
    const { round, asked, pass, followed } = poll();
    expect(asked).toEqual(["a", "b", "c"]);
    for (const node of [a, b, c]) round.count(node, granted);
    expect((await round.outcome).result).toEqual({ kind: "granted", fence: 7 });
    expect(round.isFollowed).toBe(true);
    expect(asked).toEqual(["a", "b", "c"]);
    await pass(0);
    expect(asked).toEqual(["a", "b", "c", "d", "e"]);
    expect(round.asked).toEqual(nodes);
    expect([round.isFollowed, round.wanted, followed()]).toEqual([false, false, 1]);
  });

  test("does not follow a grant that is over before", async () => {
    const { round, asked, pass, followed } = poll();
    for (const node of [a, b, c]) round.count(node, granted);
    round.stop();
    await pass(1_000);
    expect(asked).toEqual(["a", "b", "c"]);
    expect(round.asked).toEqual([a, b, c]);
    expect([round.wanted, followed()]).toEqual([false, 0]);
  });

  test("is not asked of the rest where a majority holds the lock already", async () => {
    const { round, asked, pass } = poll();
    for (const node of [a, b, c]) round.count(node, held);
    expect((await round.outcome).result).toEqual({ kind: "held" });
    await pass(1_000);
    expect(asked).toEqual(["a", "b", "c"]);
  });

  test("is asked of the rest at once when one of the first fails, or they do not decide it", async () => {
    const one = poll();
    one.round.count(b, failed);
    expect(one.asked).toEqual(["a", "b", "c", "d", "e"]);
    expect(one.lagging).toEqual(["b"]);
    const other = poll();
    for (const node of [a, b]) other.round.count(node, granted);
    expect(other.asked).toEqual(["a", "b", "c"]);
    other.round.count(c, held);
    expect(other.asked).toEqual(["a", "b", "c", "d", "e"]);
    expect(other.lagging).toEqual([]);
    other.round.count(e, granted);
    expect((await other.round.outcome).result.kind).toBe("granted");
  });

  test("does not wait for who is late, and fails whoever never answers", async () => {
    const { round, asked, lagging, pass } = poll();
    for (const node of [a, b]) round.count(node, granted);
    await pass(50);
    expect(asked).toEqual(["a", "b", "c", "d", "e"]);
    expect(lagging).toEqual(["c"]);
    round.count(d, held);
    await pass(950);
    const { result, votes } = await round.outcome;
    expect(result).toEqual({ kind: "held" });
    expect([...votes].map(([{ title }, { kind }]) => `${title} ${kind}`)).toEqual([
      "a granted",
      "b granted",
      "d held",
      "c failed",
      "e failed",
    ]);
  });
});

describe("a release", () => {
  const judge = (kinds: string, asked: number): string | undefined => {
    const names = { y: "yes", n: "no", u: "unsure", f: "failed" } as const;
    return judgeRelease(
      kinds.split("").map((letter) => ({ kind: names[letter as keyof typeof names] })),
      asked,
      5,
    );
  };

  test.each([
    ["yyy", 5, "released"],
    ["yynn", 5, undefined],
    ["nnn", 5, "gone"],
    ["yynnf", 5, "unsure"],
    ["yynnu", 5, "unsure"],
    ["fff", 5, "no-quorum"],
    ["yyy", 3, "released"],
    ["yy", 3, undefined],
    ["n", 3, "gone"],
    ["yyf", 3, "unsure"],
    ["fff", 3, "no-quorum"],
  ])("with the answers %s of %i that were asked is %s", (kinds, asked, result) => {
    expect(judge(kinds, asked)).toBe(result);
  });
});
