/** A client in another language, written by docs/protocol.md, takes its turn among the clients in Node. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { published } from "../scripts/publish-lua.ts";
import type { LockManager } from "../src/index.ts";
import { stateOf } from "./support/locks.ts";
import { type Finishing, openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const python = ["python3", "/usr/bin/python3"].find((each) => {
  try {
    execFileSync(each, ["-c", "import redis"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});
const title = python ? "a client in Python" : "SKIPPED: no Python with redis-py found. Install Debian's python3-redis";

function run(t: Finishing, file: string, ...args: string[]): ChildProcess {
  const child = spawn(python as string, [`${root}${file}`, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin?.on("error", () => {}); // it may be dead on purpose
  t.onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
  return child;
}

/** A process that does what it is asked, one thing after the other. */
function startWorker(t: Finishing, url: string) {
  const child = run(t, "test/support/worker.py", url);
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    ask: async (command: string): Promise<string> => {
      child.stdin?.write(`${command}\n`);
      return String((await lines.next()).value);
    },
    kill: (): boolean => child.kill("SIGKILL"),
  };
}

/** As contend.py does: read, add one, write back. */
async function contend(locks: LockManager, client: Awaited<ReturnType<typeof openStage>>["redis"], times: number) {
  for (let i = 0; i < times; i++) {
    await locks.request("counter", async (lock) => {
      const count = Number((await client.get("count:counter")) ?? 0);
      await client.set("count:counter", count + 1);
      await client.rpush("fences:counter", `${lock.fence} node`);
    });
  }
}

function waiting(locks: LockManager, name: string, count: number): Promise<unknown> {
  return until(async () => (await stateOf(locks, name)).pending.length === count, `${count} waited`);
}

test("the scripts in lua/ are those that Node sends, below their headers", () => {
  const files = published();
  expect([...files.keys()]).toContain("acquire.lua");
  expect(readdirSync(`${root}lua`).sort()).toEqual([...files.keys()].sort());
  for (const [name, text] of files) expect(readFileSync(`${root}lua/${name}`, "utf8")).toBe(text);
});

describe.skipIf(!python)(title, () => {
  test("contends with Node for thousands of grants: no update is lost, each fence is larger than the one before", async (t) => {
    const { server, client, manager } = await openStage(t);
    const each = 300;
    const pythons = [0, 1].map(() => run(t, "examples/python/contend.py", server.url, "counter", String(each), "2"));
    const nodes = [];
    for (const turn of [1, 1, 16, 16]) nodes.push(contend(await manager({ turn }), client(), each));
    const exits = pythons.map(async (child) => ((await once(child, "exit")) as unknown[])[0]);
    await Promise.all(nodes);
    expect(await Promise.all(exits)).toEqual([0, 0]);

    const redis = client();
    const grants = (await redis.lrange("fences:counter", 0, -1)).map((grant) => grant.split(" "));
    expect(grants).toHaveLength(8 * each);
    expect(Number(await redis.get("count:counter"))).toBe(8 * each);
    const fences = grants.map(([fence]) => Number(fence));
    expect(fences.every((fence, i) => i === 0 || fence > (fences[i - 1] as number))).toBe(true);
    // They took turns: neither side had to wait until the other was done.
    const languages = grants.map(([, language]) => language);
    const [first, last] = [languages.indexOf("python"), languages.lastIndexOf("node")];
    const changes = languages.slice(first, last).filter((language, i, all) => i > 0 && language !== all[i - 1]);
    expect(changes.length).toBeGreaterThan(each / 4);
    expect(await redis.keys("*")).not.toContain("lock:counter");
  }, 60_000);

  test("waits in one queue with Node, in the order of the requests, and is woken by push alone", async (t) => {
    const { server, manager } = await openStage(t);
    const [first, second] = [await manager({ turn: 1 }), await manager({ turn: 1 })];
    const workers = [startWorker(t, server.url), startWorker(t, server.url)] as const;
    const held = await first.acquire("line", { ttl: 3_600_000 });
    const order: string[] = [];
    const waits: Promise<unknown>[] = [];
    for (const [i, worker] of workers.entries()) {
      const wait = worker.ask("acquire line 3600 60").then(async (answer) => {
        order.push(`python ${i}, ${answer.split(" ")[0]}`);
        expect(await worker.ask("release")).toBe("released");
      });
      waits.push(wait);
      await waiting(second, "line", 2 * i + 1);
      waits.push(second.request("line", { ttl: 3_600_000 }, () => void order.push(`node ${i}`)));
      await waiting(second, "line", 2 * i + 2);
    }
    await held.release();
    await Promise.all(waits);
    expect(order).toEqual(["python 0, held", "node 0", "python 1, held", "node 1"]);
  }, 60_000);

  test("renews: it still holds long after its ttl, and is free a ttl after its process was killed", async (t) => {
    const { server, redis, manager } = await openStage(t);
    const locks = await manager();
    const worker = startWorker(t, server.url);
    expect(await worker.ask("acquire renewed 0.5 5")).toMatch(/^held \d{16}$/);
    const expiries = new Set<number>();
    await until(async () => expiries.add(await redis.pexpiretime("lock:renewed")).size > 4, "it had renewed");
    expect(await locks.tryAcquire("renewed")).toBeNull();
    const next = locks.acquire("renewed");
    await waiting(locks, "renewed", 1);
    worker.kill();
    await (await next).release();
  }, 60_000);

  test("is notified when its lock is taken by force, and its late write is refused", async (t) => {
    const { server, manager } = await openStage(t);
    const locks = await manager();
    const [worker, other] = [startWorker(t, server.url), startWorker(t, server.url)];
    await worker.ask("acquire invoice 3600 5");
    expect(await worker.ask("write invoice:42 1")).toBe("written");
    expect(await other.ask("try invoice")).toBe("busy");
    await locks.forceRelease("invoice");
    expect(await worker.ask("lost")).toBe("lost");
    await other.ask("acquire invoice 30 5");
    expect(await other.ask("write invoice:42 2")).toBe("written");
    expect(await worker.ask("write invoice:42 1")).toBe("Stale");
    expect(await worker.ask("release")).toBe("gone");
    expect(await other.ask("release")).toBe("released");
  }, 60_000);

  test("gives up in time, and leaves nobody in the queue", async (t) => {
    const { server, manager } = await openStage(t);
    const locks = await manager();
    const worker = startWorker(t, server.url);
    await using lock = await locks.acquire("busy");
    expect(await worker.ask("acquire busy 30 0.05")).toBe("LockTimeout");
    expect((await stateOf(locks, "busy")).pending).toEqual([]);
    expect(lock.held).toBe(true);
  }, 60_000);
});
