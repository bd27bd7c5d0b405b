/** Globs of `query({ match })` have the answers that a server gives to the same pattern. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { Glob } from "../src/schemes/glob.ts";

let server: Server;
let redis: Redis;
beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

/** What both are asked behind: a key is never empty, and to an empty string servers apply no pattern. */
const before = "k:";

/** For each pattern, the names that a server finds with it. */
async function found(names: readonly string[], patterns: readonly string[]): Promise<string[][]> {
  const key = "names";
  await redis.del(key);
  await redis.sadd(key, ...names.map((name) => before + name));
  const scans = redis.pipeline();
  for (const pattern of patterns) scans.sscan(key, 0, "MATCH", before + pattern, "COUNT", 1_000_000);
  const replies = (await scans.exec()) as [Error | null, [string, string[]]][];
  return replies.map(([error, reply]) => {
    if (error) throw error;
    return reply[1].map((each) => each.slice(before.length)).sort();
  });
}

function differences(names: readonly string[], patterns: readonly string[], expected: readonly string[][]): unknown[] {
  return patterns.flatMap((pattern, i) => {
    const glob = new Glob(pattern);
    const ours = names.filter((name) => glob.matches(name)).sort();
    const theirs = expected[i] as string[];
    return JSON.stringify(ours) === JSON.stringify(theirs) ? [] : [{ pattern, ours, theirs }];
  });
}

/** A small generator that can be seeded, because a failure must be repeatable. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const ODD = ["[z-a]", "[a", "[]", "[^]", "[\\]]", "[!a]", "a\\", "**", "[a-", "[\\d]", "[\\w]*", "(?<n>", "[\\q-z]"]
  .concat(["*[a-z", "[", "[^", "[^a", "[a-]", "[a-]b]", "[]a]", "[^]a]", "\\", "\\\\", "[\\", "[a\\", "", "*", "***"])
  .concat(["[--a]", "[a--]", "[^-]", "a*b*c", "*a*b", "?*?", "[é]", "é", "?", "??", "[a-é]", "[é-a]", "*é", "\0*"]);

test("odd patterns match what a server matches", async () => {
  const names = [
    "",
    "a",
    "b",
    "z",
    "-",
    "]",
    "[",
    "^",
    "\\",
    "a-b",
    "ab",
    "abc",
    "d",
    "w",
    "q",
    "a\\",
    "é",
    "aé",
    "(?<n>",
  ].concat(["n", "!", "a]", "-]", "]]", "\0", "\0a", "*", "?", "[a", "b]", "aabbcc", "~", "\u007f", "\u0080"]);
  expect(differences(names, ODD, await found(names, ODD))).toEqual([]);
});

test("random patterns match what a server matches", async () => {
  const draw = random(Number(process.env["GLOB_SEED"] ?? 1));
  const text = (alphabet: string, longest: number): string =>
    Array.from({ length: draw(longest + 1) }, () => alphabet[draw(alphabet.length)]).join("");
  const names = [...new Set(Array.from({ length: 300 }, () => text("aab-]^\\", 6)))];
  const patterns = Array.from({ length: 4_000 }, () => text("**??[[]]^^--\\aab", 9));
  const expected = await found(names, patterns);
  expect(expected.filter((each) => each.length > 0).length).toBeGreaterThan(500);
  expect(differences(names, patterns, expected)).toEqual([]);
});

test("a pattern of many stars is not tried in every way there is", () => {
  // With backtracking over all stars this is some 10^30 steps.
  const glob = new Glob("*a".repeat(40) + "b");
  expect(glob.matches("a".repeat(2_000))).toBe(false);
  expect(glob.matches("a".repeat(2_000) + "b")).toBe(true);
});
