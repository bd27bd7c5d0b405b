/** What checks say of servers that the tests cannot have: by what these answer. */
import { describe, expect, test } from "vitest";
import { cluster } from "../../src/doctor/checks/cluster.ts";
import { connections } from "../../src/doctor/checks/connections.ts";
import { memory } from "../../src/doctor/checks/memory.ts";
import { replication } from "../../src/doctor/checks/replication.ts";
import { version } from "../../src/doctor/checks/version.ts";
import type { Facts } from "../../src/doctor/facts/facts.ts";
import type { Check, Problem, Terms } from "../../src/doctor/finding.ts";

const terms: Terms = { topology: "server", scheme: "lua", prefix: "lock:", count: 1, ttl: 30_000 };

interface Known extends Partial<Omit<Facts, "info">> {
  readonly info: Record<string, string>;
}

function problems({ each }: Check, { info, ...facts }: Known, topology: Terms["topology"] = "server"): Problem[] {
  const known = { ...facts, info: new Map(Object.entries(info)) } as unknown as Facts;
  return each!(known, { ...terms, topology }) as Problem[];
}

function expectOne(found: readonly Problem[], severity: string, words: string): void {
  expect(found).toMatchObject([{ severity }]);
  expect(`${found[0]!.problem} ${found[0]!.evidence}`).toContain(words);
  expect(found[0]!.remedy).not.toBe("");
}

describe("the version", () => {
  const cases: [info: Record<string, string>, topology: Terms["topology"], severity: string, words: string][] = [
    [{ redis_version: "5.0.14" }, "server", "critical", "older than Redis 6"],
    [{ redis_version: "2.8.4" }, "server", "critical", "older than Redis 6"],
    [{ redis_version: "6.0.16" }, "server", "note", "lacks CLIENT INFO"],
    [{ redis_version: "6.2.14" }, "cluster", "note", "lacks sharded channels"],
    [{ redis_version: "7.0.15" }, "cluster", "note", "Redis 7.0.15 lacks WAITAOF"],
    [{ redis_version: "7.2.4", dragonfly_version: "df-v1.30.0" }, "server", "warning", "neither Redis nor Valkey"],
  ];

  test.each(cases)("%j in a %s: a %s, %s", (info, topology, severity, words) => {
    expectOne(problems(version, { info }, topology), severity, words);
  });

  test.each([{ redis_version: "8.6.3" }, { redis_version: "7.2.4", valkey_version: "9.0.1" }])(
    "%j lacks nothing",
    (info) => {
      expect(problems(version, { info })).toEqual([]);
    },
  );
});

test("a proxy that shares its connections among clients is a warning", () => {
  expectOne(problems(connections, { info: {}, mixed: "connections" }), "warning", "CLIENT ID changed");
});

test("a server without a limit that fills its machine's memory is a warning, and one that does not is none", () => {
  const info = { maxmemory: "0", used_memory: "1", total_system_memory: "1000000000" };
  const full = { ...info, used_memory_rss: "900000000" };
  expectOne(problems(memory, { info: full }), "warning", "machine's memory is nearly full");
  expect(problems(memory, { info: { ...info, used_memory_rss: "800000000" } })).toEqual([]);
});

test("replicas that do not follow are a warning, which names them; a primary that should have one and has none, too", () => {
  const info = {
    role: "master",
    connected_slaves: "3",
    slave0: "ip=10.0.0.1,port=6379,state=online,offset=1,lag=0",
    slave1: "ip=10.0.0.2,port=6379,state=online,offset=1,lag=60",
    slave2: "ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0",
  };
  const found = problems(replication, { info });
  expectOne(found, "warning", "2 of 3 replicas do not follow");
  expect(found[0]!.evidence).toMatch(/^10\.0\.0\.2:6379 is online, last heard of 60 s ago; 10\.0\.0\.3:6379 is wait_/);
  expectOne(problems(replication, { info: { role: "master" } }, "sentinel"), "warning", "has no replica");
  expect(problems(replication, { info: { role: "master" } })).toEqual([]);
});

test("a Cluster that does not cover all slots is critical", () => {
  expectOne(problems(cluster, { info: {}, clusterState: "fail" }, "cluster"), "critical", "cluster_state is fail");
  expect(problems(cluster, { info: {}, clusterState: "ok" }, "cluster")).toEqual([]);
});
