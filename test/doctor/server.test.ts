/** Each thing that the doctor finds on one server, provoked on a real one. */
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type Server, findServerBinary, startServer } from "../../scripts/servers.ts";
import { startReplicated } from "../../scripts/topologies.ts";
import { examined, foundBy } from "../support/doctors.ts";
import { openStage, type Stage } from "../support/stage.ts";

let stage: Stage;
const finish: (() => void | Promise<void>)[] = [];

beforeAll(async () => {
  stage = await openStage({ onTestFinished: (each) => void finish.unshift(each) }, { args: ["--appendonly", "yes"] });
});
afterEach(async () => {
  await stage.redis.config("SET", "maxmemory-policy", "noeviction", "maxmemory", "0", "appendfsync", "everysec");
  await stage.redis.config("SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60");
  await stage.redis.flushall();
});
afterAll(async () => {
  for (const each of finish) await each();
});

async function problems(check: string, redis: Redis = stage.redis, terms = {}): Promise<object[]> {
  const report = await examined([[redis, stage.server.url]], terms);
  return foundBy(report, check).map(({ severity, problem, evidence, remedy }) => ({
    severity,
    problem,
    evidence,
    remedy,
  }));
}

test("a server that is as it should be has no findings but what its version lacks, and keeps no key", async () => {
  const report = await examined([[stage.redis, stage.server.url]]);
  expect(report.findings.filter(({ check }) => check !== "version")).toEqual([]);
  expect(report.passed).toContain("rights");
  expect(report.passed).toContain("eviction");
  expect(await stage.redis.keys("*")).toEqual([]);
});

describe("eviction", () => {
  test.each(["allkeys-lru", "volatile-lru", "volatile-ttl"])(
    "%s with a limit is a warning, and critical as soon as keys are evicted",
    async (policy) => {
      const { redis } = stage;
      await redis.config("SET", "maxmemory-policy", policy, "maxmemory", "100mb");
      expect(await problems("eviction")).toMatchObject([
        {
          severity: "warning",
          evidence: expect.stringContaining(policy),
          remedy: expect.stringContaining("noeviction"),
        },
      ]);
      await redis.config("SET", "maxmemory", "1900kb");
      await Promise.all(Array.from({ length: 300 }, (_, i) => redis.set(`k${i}`, "x".repeat(4_000), "PX", 60_000)));
      expect(await problems("eviction")).toMatchObject([{ severity: "critical" }]);
      await redis.config("RESETSTAT");
    },
  );

  test("without a limit nothing is evicted: a note", async () => {
    await stage.redis.config("SET", "maxmemory-policy", "volatile-lru");
    expect(await problems("eviction")).toMatchObject([{ severity: "note" }]);
  });
});

test("memory near its limit is a warning", async () => {
  const { redis } = stage;
  await redis.setrange("big", 10_000_000, "x"); // sends little, so no buffer counts as used memory for a moment
  const used = Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1]);
  await redis.config("SET", "maxmemory", String(Math.round(used * 1.1)));
  expect(await problems("memory")).toMatchObject([
    { severity: "warning", evidence: expect.stringContaining("maxmemory") },
  ]);
});

test("a log that is not synced is a warning", async () => {
  await stage.redis.config("SET", "appendfsync", "no");
  expect(await problems("persistence")).toMatchObject([
    { severity: "warning", evidence: expect.stringContaining("appendfsync is no") },
  ]);
});

test("no persistence at all is a warning, and a note to Redlock, which leaves restarted servers out", async (t) => {
  const { redis } = await openStage(t);
  const found = [{ severity: "warning", evidence: expect.stringContaining("no snapshots either") }];
  expect(await problems("persistence", redis)).toMatchObject(found);
  expect(await problems("persistence", redis, { topology: "redlock", scheme: "redlock" })).toMatchObject([
    { severity: "note" },
  ]);
});

describe("rights", () => {
  async function account(...rules: string[]): Promise<Redis> {
    await stage.redis.call("ACL", "SETUSER", "app", "reset", "on", ">secret", ...rules);
    return stage.client(stage.server.url, { username: "app", password: "secret", enableReadyCheck: false });
  }

  /** Does as the remedy says, until the doctor is content. */
  async function granted(redis: Redis, terms: object): Promise<string[]> {
    const lines: string[] = [];
    for (let i = 0; i < 6; i++) {
      const report = await examined([[redis, "redis://app:secret@127.0.0.1:1"]], terms);
      const line = /ACL SETUSER .*/.exec(foundBy(report, "rights")[0]?.remedy ?? "")?.[0];
      if (line === undefined) return lines;
      lines.push(line);
      await stage.redis.call(...(line.split(" ") as [string, ...string[]]));
    }
    throw new Error(`Never content: ${lines.join("; ")}`);
  }

  test.each(["lua", "set", "redlock"] as const)(
    "%s: what an account lacks is named, and the ACL lines grant enough to lock with",
    async (scheme) => {
      const redis = await account("+get", "~other:*", "resetchannels");
      const [first, ...more] = await granted(redis, { scheme });
      expect(first).toMatch(/^ACL SETUSER app (\+set|~lock:\*)/);
      expect([first, ...more].join(" ")).toContain("~lock:* ~{lock:*");
      if (scheme !== "set") expect([first, ...more].join(" ")).toContain("&lock:*");
      const missing = await problems("rights", redis, { scheme });
      expect(missing).toEqual([]);
    },
  );

  test("what cannot be seen is said: CONFIG and SCAN refused, with the rules that allow them", async () => {
    const redis = await account("+@all", "-config", "-scan", "~*", "&*");
    expect(await problems("visibility", redis)).toMatchObject([
      {
        severity: "note",
        evidence: expect.stringContaining("CONFIG GET"),
        remedy: expect.stringContaining("+config|get +scan"),
      },
    ]);
  });

  test("the policy is read from INFO if CONFIG is refused", async () => {
    await stage.redis.config("SET", "maxmemory-policy", "volatile-lru", "maxmemory", "100mb");
    const redis = await account("+@all", "-config", "~*", "&*");
    expect(await problems("eviction", redis)).toMatchObject([{ evidence: expect.stringContaining("volatile-lru") }]);
  });
});

test("commands that the server does not have are critical, and what does without them is named", async (t) => {
  const { redis } = await openStage(t, { args: ["--rename-command", "EVALSHA", ""] });
  expect(await problems("rights", redis)).toMatchObject([
    {
      severity: "critical",
      evidence: expect.stringContaining("EVALSHA"),
      remedy: expect.stringContaining("--scheme set"),
    },
  ]);
});

test("string keys without a ttl under the prefix hold locks forever; other keys do not", async () => {
  const { redis } = stage;
  await redis.mset("lock:a", "1", "other:b", "1");
  await redis.set("lock:c", "1", "PX", 60_000);
  await redis.sadd("lock:set", "x");
  const [found, ...more] = await problems("foreign");
  expect(more).toEqual([]);
  expect(found).toMatchObject({ severity: "warning", evidence: expect.stringMatching(/: "a"$/) });
});

test("a subscriber's output limit that is tight is a warning", async () => {
  await stage.redis.config("SET", "client-output-buffer-limit", "pubsub 64kb 16kb 10");
  expect(await problems("pushes")).toMatchObject([{ severity: "warning", evidence: expect.stringContaining("64 kB") }]);
});

test("answers and pushes that take long by the ttl are found, and the way that they take", async () => {
  const proxy = await stage.proxy();
  const redis = stage.client(proxy.url);
  await redis.ping();
  proxy.delay(20);
  const report = await examined([[redis, proxy.url]], { ttl: 100 });
  expect(foundBy(report, "latency")).toMatchObject([{ severity: "critical" }]);
  expect(foundBy(report, "pushes")).toMatchObject([{ severity: "warning" }]);
  expect(foundBy(report, "connections")).toMatchObject([
    { severity: "note", evidence: expect.stringContaining(String(stage.server.port)) },
  ]);
});

test("a server that takes hardly more clients is a warning", async (t) => {
  const full = await openStage(t, { args: ["--maxclients", "10"] });
  const clients = [full.redis, ...Array.from({ length: 8 }, () => full.client())];
  await Promise.all(clients.map((redis) => redis.ping()));
  const report = await examined([[full.redis, full.server.url]]);
  expect(foundBy(report, "connections")).toMatchObject([
    { severity: "warning", evidence: expect.stringMatching(/^\d+ of 10 /) },
  ]);
});

test("a server whose clock differs from this machine's is a warning", async (t) => {
  const server = await startAhead(t, 3_600_000);
  const redis = stage.client(server.url);
  const report = await examined([[redis, server.url]]);
  expect(foundBy(report, "clock")).toMatchObject([{ severity: "warning", problem: expect.stringContaining("ahead") }]);
});

test("servers whose clocks differ from each other, of Redlock, are a warning", async (t) => {
  const server = await startAhead(t, -60_000);
  const clients = [stage.redis, stage.client(server.url)] as const;
  const report = await examined(
    [
      [clients[0], stage.server.url],
      [clients[1], server.url],
    ],
    { topology: "redlock", scheme: "redlock" },
  );
  expect(foundBy(report, "clock")).toContainEqual(expect.objectContaining({ problem: "The servers' clocks differ" }));
});

test("one server under two addresses is critical to Redlock", async () => {
  const other = stage.client(stage.server.url.replace("127.0.0.1", "localhost"));
  const report = await examined(
    [
      [stage.redis, stage.server.url],
      [other, "redis://localhost:1"],
    ],
    { topology: "redlock", scheme: "redlock" },
  );
  expect(foundBy(report, "identity")).toContainEqual(
    expect.objectContaining({ severity: "critical", evidence: expect.stringContaining("localhost") }),
  );
});

test("an address that leads to two servers by turns is critical", async (t) => {
  const [a, b] = [await openStage(t), await openStage(t)];
  const first = a.client();
  // What a balancer does: further connections lead elsewhere.
  const client = Object.assign(Object.create(first) as Redis, {
    duplicate: () => b.redis.duplicate({ lazyConnect: true }),
  });
  const report = await examined([[client, a.server.url]]);
  expect(foundBy(report, "connections")).toContainEqual(
    expect.objectContaining({ severity: "critical", problem: "The address leads to more than one server" }),
  );
});

test("a replica is critical; a primary that writes alone is a warning, and one that may not is critical", async (t) => {
  const replicated = await startReplicated(1);
  t.onTestFinished(() => replicated.stop());
  const [master, replica] = [replicated.master, ...replicated.replicas].map(({ url }) => stage.client(url)) as [
    Redis,
    Redis,
  ];
  expect(await problems("replication", replica)).toMatchObject([
    { severity: "critical", problem: expect.stringContaining("replica") },
  ]);
  expect(await problems("replication", master)).toMatchObject([
    { severity: "warning", evidence: expect.stringContaining("min-replicas-to-write is 0") },
  ]);
  expect(await problems("replication", master, { topology: "redlock", scheme: "redlock" })).toMatchObject([
    { severity: "warning", problem: expect.stringContaining("Redlock cannot count on") },
  ]);
  await master.config("SET", "min-replicas-to-write", "2");
  expect(await problems("replication", master)).toMatchObject([{ severity: "critical" }]);
});

test("a server that stops answering is one finding, within a bounded time", async (t) => {
  const frozen = await openStage(t);
  await frozen.redis.ping();
  frozen.server.freeze();
  const report = await examined([[frozen.redis, frozen.server.url]]);
  expect(report.findings).toMatchObject([{ check: "reach", severity: "critical" }]);
  expect(report.passed).toEqual([]);
});

/** A server whose clock is frozen, so far ahead of ours. */
async function startAhead(t: { onTestFinished(f: () => Promise<void>): void }, offset: number): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-clock-"));
  const [source, shim] = [new URL("../../simulator/server/shim.c", import.meta.url).pathname, join(dir, "shim.so")];
  await promisify(execFile)("gcc", ["-O2", "-fPIC", "-shared", "-o", shim, source, "-ldl"]);
  const micros = Buffer.alloc(8);
  micros.writeBigInt64LE(BigInt(Date.now() + offset) * 1_000n);
  await writeFile(join(dir, "clock"), micros);
  const binary = join(dir, "redis-server");
  const real = await findServerBinary();
  await writeFile(binary, `#!/bin/sh\nHOLDFAST_CLOCK=${dir}/clock LD_PRELOAD=${shim} exec ${real} "$@"\n`);
  await chmod(binary, 0o755);
  const server = await startServer({ binary });
  t.onTestFinished(async () => {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  });
  return server;
}
