/** What the check of versions says of servers that the tests cannot have: by what these answer to INFO. */
import { expect, test } from "vitest";
import { version } from "../../src/doctor/checks/version.ts";
import type { Facts } from "../../src/doctor/facts/facts.ts";
import type { Terms } from "../../src/doctor/finding.ts";

const terms: Terms = { topology: "server", scheme: "lua", prefix: "lock:", count: 1, ttl: 30_000 };

const cases: [info: Record<string, string>, topology: Terms["topology"], severity: string, words: string][] = [
  [{ redis_version: "5.0.14" }, "server", "critical", "older than Redis 6"],
  [{ redis_version: "2.8.4" }, "server", "critical", "older than Redis 6"],
  [{ redis_version: "6.0.16" }, "server", "note", "lacks CLIENT INFO"],
  [{ redis_version: "6.2.14" }, "cluster", "note", "lacks sharded channels"],
  [{ redis_version: "7.0.15" }, "cluster", "note", "Redis 7.0.15 lacks WAITAOF"],
  [{ redis_version: "7.2.4", dragonfly_version: "df-v1.30.0" }, "server", "warning", "neither Redis nor Valkey"],
];

test.each(cases)("%j in a %s: a %s, %s", (info, topology, severity, words) => {
  const facts = { info: new Map(Object.entries(info)) } as unknown as Facts;
  const problems = version.each!(facts, { ...terms, topology });
  expect(problems).toMatchObject([{ severity }]);
  expect(`${problems[0]!.problem} ${problems[0]!.evidence}`).toContain(words);
  expect(problems[0]!.remedy).not.toBe("");
});

test.each([{ redis_version: "8.6.3" }, { redis_version: "7.2.4", valkey_version: "9.0.1" }])(
  "%j lacks nothing",
  (info) => {
    const facts = { info: new Map(Object.entries(info as Record<string, string>)) } as unknown as Facts;
    expect(version.each!(facts, terms)).toEqual([]);
  },
);
