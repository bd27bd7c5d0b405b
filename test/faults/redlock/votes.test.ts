/** Votes that are split, late, lost, given back or taken by force. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Lock, LockLostError } from "../../../src/index.ts";
import { release as drop } from "../../../src/schemes/redlock/scripts.generated.ts";
import { enqueue, hold, rejection, turn, unique } from "../../support/locks.ts";
import { type Nodes, openNodes } from "../../support/nodes.ts";
import { calls, listening } from "../../support/stage.ts";
import { until } from "../../support/until.ts";

describe.concurrent("split votes", () => {
  test("of an even number of nodes are settled, taken back, and somebody wins", async (t) => {
    const nodes = await openNodes(t, 4);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    // Two nodes each, as if they had come from different sides.
    await Promise.all(
      nodes.redis.map((redis, i) => redis.set(`lock:${name}`, i < 2 ? "foreign" : "other", "PX", 1_000)),
    );
    expect(await a.tryAcquire(name)).toBeNull();
    const [first, second] = [enqueue(a, name), enqueue(b, name)];
    const winner = await Promise.race([first.granted, second.granted]);
    expect(winner.held).toBe(true);
    await Promise.all([first.end(), second.end()]);
    await nodes.cleared();
  });

  test("of 32 waiters of 4 managers do not keep them from being served, one at a time", async (t) => {
    const nodes = await openNodes(t);
    const managers = await Promise.all([0, 1, 2, 3].map(() => nodes.manager()));
    const name = unique();
    let [holding, served, last] = [0, 0, 0];
    await Promise.all(
      Array.from({ length: 32 }, (_, i) =>
        managers[i % 4]!.request(name, async (lock) => {
          expect(++holding).toBe(1);
          expect(lock.fence).toBeGreaterThan(last);
          last = lock.fence;
          await turn();
          holding--;
          served++;
        }),
      ),
    );
    expect(served).toBe(32);
    await nodes.cleared();
  });

  test("are taken back between attempts, and never stand in the caller's own way", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const name = unique();
    const foreign = ["foreign", "other"].map((value, i) =>
      nodes.redis[i + 1]!.set(`lock:${name}`, value, "PX", 60_000),
    );
    await Promise.all(foreign);
    const waiter = enqueue(locks, name);
    const votes = (): Promise<number> => calls(nodes.redis[0]!, "del");
    await until(async () => (await votes()) >= 3, "what it won alone was given back, again and again");
    await until(async () => (await nodes.holders(name))[0] === null, "the lock stood free where nobody held");
    await Promise.all(nodes.redis.slice(1).map((redis) => redis.del(`lock:${name}`)));
    await waiter.granted;
    await waiter.end();
    await nodes.cleared();
  });
});

describe.concurrent("a vote that wins nothing", () => {
  test("is given back while others share the lock on a majority: their renewal spreads to that node", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const reader = await a.acquire(name, { mode: "shared" });
    const known = (): Promise<(string | null)[]> =>
      Promise.all(nodes.redis.map((redis) => redis.zscore(`lock:${name}`, reader.token)));
    // Whoever begins to listen extends.
    await Promise.all(nodes.redis.map((redis) => listening(redis, 1)));
    await reader.extend();
    await until(async () => (await known()).every((each) => each !== null), "all had granted it");
    // As if the third had been away.
    await nodes.redis[2]!.del(`lock:${name}`, `{lock:${name}}:holders`, `{lock:${name}}:fence`);
    const writer = enqueue(b, name);
    const isQueued = async (): Promise<boolean> => (await a.query({ name })).pending.length === 1;
    await until(isQueued, "a writer waited");
    const isKnown = async (): Promise<boolean> => {
      await reader.extend();
      return (await known())[2] !== null;
    };
    await until(isKnown, "the third knew the reader");
    await reader.release();
    expect((await writer.granted).fence).toBeGreaterThan(reader.fence);
    await writer.end();
    await nodes.cleared();
  });
});

describe.concurrent("a lost key", () => {
  test("is put back by a renewal where nobody was granted the lock since", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const name = unique();
    const lock = await locks.acquire(name);
    await nodes.redis[0]!.del(`lock:${name}`);
    await lock.extend(60_000);
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had it again");
    // A majority that lost it is no reason to give up, either, as long as nobody has had it.
    await Promise.all([nodes.redis[1]!.del(`lock:${name}`), nodes.redis[2]!.del(`lock:${name}`)]);
    await lock.extend(60_000);
    expect(lock.held).toBe(true);
    await lock.release();
    await nodes.cleared();
  });

  test("is not put back where another has held since: the old holder is told", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    // Who has waited listens, and extends whenever it is heard again: that would put the key back.
    const lock = (await a.tryAcquire(name)) as Lock;
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    await Promise.all(nodes.redis.map((redis) => redis.del(`lock:${name}`)));
    const next = await b.acquire(name);
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
    expect(await rejection(lock.extend())).toMatchObject({ code: "lost", reason: "expired" });
    await lock.release();
    await nodes.cleared();
  });

  test("does not stay where a vote lands after the release, because the node had to be sent the script", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    await (await locks.acquire(unique())).release();
    const slow = nodes.redis[2]!;
    await slow.script("FLUSH");
    await slow.script("LOAD", drop.source);
    const before = await calls(slow, "eval");
    nodes.servers[2]!.freeze();
    const lock = await locks.acquire(unique());
    // A node that is not needed is asked behind the others, and not at all for a lock that is free again by then.
    await sleep(20);
    await lock.release();
    nodes.servers[2]!.thaw();
    await until(async () => (await calls(slow, "eval")) > before, "the late vote had landed");
    await nodes.cleared();
  });

  test("leaves nobody to be told on a node that had voted for another", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    await (await locks.acquire(unique())).release();
    const third = nodes.redis[2]!;
    // Its name decides which nodes are asked first; the others are not to tell who has won without them.
    const told = (await until(async () => {
      const name = unique();
      await third.set(`lock:${name}`, "theirs", "PX", 60_000);
      const lock = await locks.acquire(name);
      if (await third.exists(`{lock:${name}}:waiters`)) return { lock, waiters: `{lock:${name}}:waiters` };
      await lock.release();
      return undefined;
    }, "it was to be told of a release on the third"))!;
    await told.lock.release();
    await until(async () => !(await third.exists(told.waiters)), "it was not any more", 3_000);
  });

  test("is not put back after the release by a renewal that comes late", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const lock = await locks.acquire(unique());
    nodes.servers[2]!.freeze();
    await lock.extend(60_000);
    await lock.release();
    nodes.servers[2]!.thaw();
    await nodes.cleared();
  });
});

describe.concurrent("a vote", () => {
  test("that a request is given for the second time lasts its whole ttl again", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager({ ttl: 10_000 });
    await (await locks.acquire(unique())).release();
    await nodes.cleared();
    await Promise.all([nodes.proxies[0]!.refuse(), nodes.proxies[1]!.refuse()]);
    const name = unique();
    const waiter = enqueue(locks, name);
    const left = (): Promise<number> => nodes.redis[2]!.pttl(`lock:${name}`);
    let least = Infinity;
    const isLonger = async (): Promise<boolean> => {
      const now = await left();
      if (now > 0) least = Math.min(least, now);
      return now > least + 20;
    };
    await until(isLonger, "its lease on the third was longer than before");
    await Promise.all([nodes.proxies[0]!.heal(), nodes.proxies[1]!.heal()]);
    await waiter.granted;
    await waiter.end();
    await nodes.cleared();
  });
});

describe.concurrent("steal and forceRelease", () => {
  test("take the lock on a majority, and the holder is told at once by the nodes", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const lock = await a.acquire(name);
    await lock.extend();
    await Promise.all(nodes.redis.map((redis) => listening(redis, 1)));
    await nodes.proxies[2]!.refuse();
    const thief = await b.acquire(name, { steal: true });
    // The next renewal is 10 s away.
    await until(() => !lock.held, "the holder was told", 3_000);
    expect((lock.signal.reason as LockLostError).reason).toBe("stolen");
    expect(await b.forceRelease(name)).toMatchObject([{ token: thief.token }]);
    expect(await thief.release()).toBe(false);
  });

  test("are known to a release, also while the connection to another node breaks", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    // Who has neither waited nor extended listens to no notices.
    const lock = (await a.tryAcquire(name)) as Lock;
    expect(await b.forceRelease(name)).toMatchObject([{ token: lock.token }]);
    nodes.proxies[0]!.delay(100);
    nodes.proxies[1]!.delay(100);
    await nodes.proxies[2]!.refuse();
    expect(await lock.release()).toBe(false);
    expect((lock.signal.reason as LockLostError).reason).toBe("expired");
  });

  test("are final: a holder that has not been told cannot extend, nor put its keys back", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const lock = await a.acquire(name);
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    // A node without the key could be told to put it back, too.
    await nodes.redis[2]!.del(`lock:${name}`);
    expect(await b.forceRelease(name)).toMatchObject([{ token: lock.token }]);
    expect(await rejection(lock.extend())).toMatchObject({ code: "lost" });
    await nodes.cleared();
    for (const redis of nodes.redis) {
      expect(Number(await redis.get(`{lock:${name}}:fence`))).toBeGreaterThan(lock.fence);
    }
    const next = await b.acquire(name);
    expect(next.fence).toBeGreaterThan(lock.fence);
    await next.release();
  });
});

describe.concurrent("a release", () => {
  const queueOf = (nodes: Nodes, name: string): Promise<number[]> =>
    Promise.all(nodes.redis.map((redis) => redis.zcard(`{lock:${name}}:queue`)));

  test("is pushed to the first in line, which asks on its own only every 5 s", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const holder = await hold(a, name);
    const waiter = enqueue(b, name);
    await Promise.all(nodes.redis.map((redis) => listening(redis, 2)));
    await until(async () => (await queueOf(nodes, name)).every((each) => each === 1), "it waited on all nodes");
    await holder.end();
    let isGranted = false;
    void waiter.granted.then(() => (isGranted = true));
    await until(() => isGranted, "it was granted", 2_000);
    await waiter.end();
    await nodes.cleared();
  });

  test("is pushed to nobody who gave up: nothing stays of a waiter in any node's queue", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const lock = await a.acquire(name);
    const refused = rejection(b.acquire(name, { waitTimeout: 500 }));
    await until(async () => (await queueOf(nodes, name)).every((each) => each === 1), "it waited on all nodes");
    await refused;
    await until(async () => (await queueOf(nodes, name)).every((each) => each === 0), "it was in no queue");
    await lock.release();
    await nodes.cleared();
  });

  test("is pushed once to all requests of a manager: they share one place in each queue", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const holder = await hold(a, name);
    const waiters = Array.from({ length: 20 }, () => enqueue(b, name));
    const waiting = async (): Promise<number> => (await a.query({ name })).pending.length;
    await until(async () => (await waiting()) === 20, "all 20 were known to wait");
    await until(async () => (await queueOf(nodes, name)).every((each) => each > 0), "it waited on all nodes");
    expect(await queueOf(nodes, name)).toEqual([1, 1, 1]);
    await holder.end();
    for (const waiter of waiters) await waiter.end();
    await nodes.cleared();
  });
});
