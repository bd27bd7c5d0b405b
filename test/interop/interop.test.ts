/** What docs/moving/shared-keys.md says: other libraries and a LockManager take turns on one key. */
import { execFile, execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { openMachines } from "../drop-ins/stage.ts";
import type { Finishing } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { type Lock, peers } from "./peers.ts";

const ROUNDS = 15;
const NAME = "shared";

/** Reads a counter, adds one and writes it back. Two that are inside at once lose an update. */
async function count(redis: Redis, lock: Lock, who: string): Promise<void> {
  for (let i = 0; i < ROUNDS; i++) {
    const release = await lock(NAME);
    const before = Number(await redis.get("count"));
    await new Promise((resolve) => setImmediate(resolve));
    await redis.set("count", before + 1);
    await redis.rpush("grants", who);
    await release();
    // Who polls has a chance, too.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function ours(t: Finishing, clients: readonly Redis[], prefix: string, scheme: "lua" | "set" | "redlock"): Lock {
  const locks = new LockManager(scheme === "redlock" ? clients : clients[0], { prefix, scheme });
  t.onTestFinished(() => locks.close());
  return async (name) => {
    const lock = await locks.acquire(name, { ttl: 10_000 });
    return () => lock.release();
  };
}

async function expectNoLostUpdate(redis: Redis, workers: number): Promise<void> {
  expect(Number(await redis.get("count"))).toBe(workers * ROUNDS);
  const grants = await redis.lrange("grants", 0, -1);
  expect(grants.filter((who) => who === "peer")).toHaveLength((workers / 2) * ROUNDS);
}

describe.each(peers)("$title", ({ prefix, isQuorum, open }) => {
  test.for(["lua", "set"] as const)("loses no update beside the scheme %s", async (scheme, t) => {
    const machines = await openMachines(t, 1);
    const [redis] = machines.clients() as [Redis];
    const theirs = await Promise.all([1, 2].map(() => open(machines.clients())));
    const mine = [1, 2].map(() => ours(t, machines.clients(), prefix, scheme));
    await Promise.all([
      ...theirs.map((lock) => count(redis, lock, "peer")),
      ...mine.map((lock) => count(redis, lock, "holdfast")),
    ]);
    await expectNoLostUpdate(redis, 4);
  });

  test("each is refused what the other holds, and gets it afterwards", async (t) => {
    const machines = await openMachines(t, 1);
    const theirs = await open(machines.clients());
    const locks = new LockManager(machines.clients()[0], { prefix });
    t.onTestFinished(() => locks.close());
    const first = await theirs(NAME);
    expect(await locks.tryAcquire(NAME)).toBeNull();
    const waiter = locks.acquire(NAME);
    await first();
    const lock = await waiter;
    let isIn = false;
    const next = theirs(NAME).then((release) => {
      isIn = true;
      return release;
    });
    await until(async () => (await locks.query({ name: NAME })).held.length === 1, "it was held");
    expect(isIn).toBe(false);
    await lock.release();
    await (
      await next
    )();
  });

  test.skipIf(!isQuorum)("loses no update over three servers, beside the scheme redlock", async (t) => {
    const machines = await openMachines(t, 3);
    const [redis] = machines.clients() as [Redis];
    const theirs = await open(machines.clients());
    const mine = ours(t, machines.clients(), prefix, "redlock");
    await Promise.all([count(redis, theirs, "peer"), count(redis, mine, "holdfast")]);
    await expectNoLostUpdate(redis, 2);
  });
});

const python = ["python3", "/usr/bin/python3"].find((each) => {
  try {
    execFileSync(each, ["-c", "import redis"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});
const title = python ? "redis-py's Lock" : "SKIPPED: no Python with redis-py found. Install Debian's python3-redis";

describe.skipIf(!python)(title, () => {
  test.for(["lua", "set"] as const)("loses no update beside the scheme %s", async (scheme, t) => {
    const machines = await openMachines(t, 1);
    const [redis] = machines.clients() as [Redis];
    const script = fileURLToPath(new URL("contend.py", import.meta.url));
    const url = machines.servers[0]!.url;
    const theirs = [1, 2].map(() => promisify(execFile)(python!, [script, url, NAME, String(ROUNDS)]));
    const mine = [1, 2].map(() => ours(t, machines.clients(), "", scheme));
    await Promise.all([...theirs, ...mine.map((lock) => count(redis, lock, "holdfast"))]);
    await expectNoLostUpdate(redis, 4);
  });
});
