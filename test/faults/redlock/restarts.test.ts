/** Nodes that come back without what they knew, or with less. */
import { describe, expect, test } from "vitest";
import type { Lock, LockManager } from "../../../src/index.ts";
import { rejection, unique } from "../../support/locks.ts";
import { type Nodes, openNodes } from "../../support/nodes.ts";
import { until } from "../../support/until.ts";

const libraries = ["ioredis 6", "node-redis 6", "glide"] as const;

describe.concurrent("a restarted node", () => {
  // GLIDE connects again without a word: there only the answers tell.
  test.for(["ioredis 6", "glide"] as const)(
    "that forgets counts only when the largest ttl is over; the lock is not granted twice (%s)",
    async (on, t) => {
      const nodes = await openNodes(t);
      const [a, b] = [await nodes.manager({ on, ttl: 5_000 }), await nodes.manager({ on, ttl: 5_000 })];
      await Promise.all([a, b].map(async (locks) => (await locks.acquire(unique())).release()));
      const name = unique();
      // A renewal would find that one node is left, and end it.
      const lock = (await a.tryAcquire(name, { renew: false })) as Lock;
      await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
      // As if the third had never been reached.
      await nodes.redis[2]!.del(`lock:${name}`);
      await nodes.servers[1]!.restart();
      // The second has forgotten, and the third has never known: without the delay they were a majority.
      const refused = (await rejection(b.acquire(name, { waitTimeout: 800 }))) as Error;
      expect(lock.held).toBe(true);
      // What it was granted by single nodes is on its way back when it gives up.
      const onlyOurs = async (): Promise<boolean> =>
        (await nodes.holders(name)).every((each) => each === null || each === lock.token);
      await until(onlyOurs, "nothing of the other was left");
      expect(refused.message).toMatch(/granted within|No majority/);
      await lock.release();
      const next = await b.acquire(name);
      expect(next.fence).toBeGreaterThan(lock.fence);
      await next.release();
      // In the end it takes part again.
      await until(
        async () => {
          await using again = await b.acquire(name);
          return (await nodes.holders(name))[1] === again.token;
        },
        "the restarted node voted",
        12_000,
      );
    },
  );

  test.for(libraries)(
    "counts at once if told so, or if it writes every change to its disk first (%s)",
    async (on, t) => {
      const durable = await openNodes(t, 3, { args: ["--appendonly", "yes", "--appendfsync", "always"] });
      const careless = await openNodes(t);
      for (const [nodes, delayRestarted] of [
        [durable, true],
        [careless, false],
      ] as const) {
        const locks = await nodes.manager({ on, delayRestarted });
        const lock = await locks.acquire(unique());
        await nodes.proxies[0]!.refuse();
        await nodes.servers[1]!.restart();
        const name = unique();
        // Its client may need a while to connect again. The lease of 30 s is not waited for.
        const other = (await until(() => locks.acquire(name).catch(() => undefined), "it counted", 12_000)) as Lock;
        expect((await nodes.holders(name)).slice(1)).toEqual([other.token, other.token]);
        await lock.release();
      }
    },
  );

  test("does not count with a vote that was out when it was restarted", async (t) => {
    const nodes = await openNodes(t);
    const patient = { ttl: 20_000, nodeTimeout: 5_000 };
    const [a, b] = [await nodes.manager(patient), await nodes.manager(patient)];
    await Promise.all([a, b].map(async (locks) => (await locks.acquire(unique())).release()));
    const name = unique();
    const lock = await a.acquire(name);
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    await nodes.redis[2]!.del(`lock:${name}`);
    nodes.servers[1]!.freeze();
    const attempt = b.tryAcquire(name);
    await until(async () => (await nodes.redis[2]!.get(`lock:${name}`)) !== null, "the third had granted it to b");
    await nodes.servers[1]!.restart();
    expect(await attempt).toBeNull();
    expect(lock.held).toBe(true);
  });

  test("that comes back with waiters of old lets them go when somebody asks there next", async (t) => {
    const nodes = await openNodes(t);
    const managers = await Promise.all([1, 2, 3].map(() => nodes.manager({ ttl: 2_000 })));
    const [holder, ...others] = managers as [LockManager, ...LockManager[]];
    const name = unique();
    const lock = await holder.acquire(name);
    const waiting = others.map(async (locks) => (await locks.acquire(name)).release());
    const queue = `{lock:${name}}:queue`;
    const lengths = (): Promise<number[]> => Promise.all(nodes.redis.map((redis) => redis.zcard(queue)));
    await until(async () => (await lengths()).join() === "2,2,2", "both waited on all nodes", 20_000);
    await nodes.redis[1]!.call("SAVE");
    await lock.release();
    await Promise.all(waiting);
    await nodes.servers[1]!.restart();
    await holder.request(name, { steal: true }, () => {});
    await nodes.cleared(20_000);
  });

  test("does not count for a manager that begins later, as long as a lease lasts that it may have forgotten", async (t) => {
    const nodes = await openNodes(t);
    const name = unique();
    const holder = await nodes.manager();
    const lock = (await holder.tryAcquire(name, { ttl: 3_000, renew: false })) as Lock;
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    await nodes.servers[0]!.restart();
    // As if the third had never been reached: with the first, it were a majority.
    await nodes.redis[2]!.del(`lock:${name}`);
    const later = await nodes.manager();
    const next = await later.acquire(name);
    expect(lock.held).toBe(false);
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
    await nodes.cleared();
  });
});

describe.concurrent("managers that are gone before they have waited", () => {
  /** As `holdfast exec` does with a short command. */
  async function useOnce(nodes: Nodes): Promise<void> {
    const { locks, end } = await nodes.open({ ttl: 1_000 });
    const lock = await locks.tryAcquire(unique()).catch(() => null);
    await lock?.release();
    await locks.close();
    end();
  }

  async function countsAgain(nodes: Nodes, at: number): Promise<void> {
    const isMarked = async (): Promise<boolean> => {
      await useOnce(nodes);
      const info = await nodes.redis[at]!.info("server");
      return /^run_id:(\w+)/m.exec(info)?.[1] === (await nodes.redis[at]!.hget("lock::node", "run"));
    };
    await until(isMarked, `node ${at + 1} counted again`, 20_000);
  }

  test("count a restarted node again together, one node after the other", { timeout: 60_000 }, async (t) => {
    const nodes = await openNodes(t);
    await useOnce(nodes);
    for (const [at, server] of nodes.servers.slice(0, 2).entries()) {
      await server.restart();
      await countsAgain(nodes, at);
    }
    await nodes.cleared();
  });

  test("count a majority again that was restarted, when their ttl is over", { timeout: 60_000 }, async (t) => {
    const nodes = await openNodes(t);
    await useOnce(nodes);
    await Promise.all([nodes.servers[0]!.restart(), nodes.servers[2]!.restart()]);
    await countsAgain(nodes, 0);
    await countsAgain(nodes, 2);
    await nodes.cleared();
  });

  test("do not count a node at once that forgets twice without a restart", { timeout: 60_000 }, async (t) => {
    const nodes = await openNodes(t);
    await useOnce(nodes);
    await nodes.redis[0]!.flushall();
    await countsAgain(nodes, 0);
    const holder = await nodes.manager();
    const name = unique();
    // Who only tries listens to nothing, and extends nothing.
    const lock = (await holder.tryAcquire(name, { ttl: 3_000, renew: false })) as Lock;
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    // As if the third had never been reached: with the first, it were a majority.
    await nodes.redis[2]!.del(`lock:${name}`);
    await nodes.redis[0]!.flushall();
    let wasHeld: boolean | undefined;
    const isTaken = async (): Promise<boolean> => {
      const { locks, end } = await nodes.open({ ttl: 1_000 });
      const next = await locks.tryAcquire(name).catch(() => null);
      if (next) wasHeld ??= lock.held;
      await next?.release();
      await locks.close();
      end();
      return next !== null;
    };
    await until(isTaken, "another had it", 20_000);
    expect(wasHeld).toBe(false);
    await nodes.cleared();
  });
});

describe.concurrent("a node that forgot without a restart", () => {
  test("does not count at once, though it writes every change to its disk: it lost that", async (t) => {
    const nodes = await openNodes(t, 3, { args: ["--appendonly", "yes", "--appendfsync", "always"] });
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    await (await b.acquire(unique())).release();
    const name = unique();
    const lock = (await a.tryAcquire(name, { ttl: 2_500, renew: false })) as Lock;
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    // As if the third had never been reached: with the second, it were a majority.
    await nodes.redis[2]!.del(`lock:${name}`);
    await nodes.redis[1]!.flushall();
    const next = await b.acquire(name);
    expect(lock.held).toBe(false);
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
    await nodes.cleared();
  });
});

describe.concurrent("a majority that forgot", () => {
  test("counts again for a manager that begins later, when its own ttl is over", async (t) => {
    const nodes = await openNodes(t);
    const { locks, end } = await nodes.open();
    await (await locks.acquire(unique())).release();
    await locks.close();
    end();
    await Promise.all([nodes.servers[0]!.restart(), nodes.servers[1]!.restart()]);
    const later = await nodes.manager({ ttl: 1_000 });
    const lock = await later.acquire(unique());
    expect(lock.held).toBe(true);
    await lock.release();
    await nodes.cleared();
  });
});

describe.concurrent("the first requests of a manager, with turn: 1, on new nodes", () => {
  test.for([
    ["shared", "exclusive"],
    ["exclusive", "shared"],
    ["shared", "exclusive", "shared"],
    ["shared", "shared", "exclusive", "shared", "exclusive", "exclusive"],
  ] as const)("begin in the order in which they were made: %s, %s, …", async (modes, t) => {
    const locks = await (await openNodes(t)).manager({ turn: 1 });
    const name = unique();
    const order: number[] = [];
    await Promise.all(modes.map((mode, i) => locks.request(name, { mode }, () => void order.push(i))));
    expect(order).toEqual(modes.map((_, i) => i));
  });
});
