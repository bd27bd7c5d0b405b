/** Locks over several servers, some of which fail. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import {
  type Lock,
  type LockLostError,
  LockManager,
  QuorumError,
  type RedisClient,
  SchemeError,
} from "../../src/index.ts";
import { release as drop } from "../../src/schemes/redlock/scripts.generated.ts";
import { enqueue, hold, rejection, turn, unique } from "../support/locks.ts";
import { type Nodes, openNodes } from "../support/nodes.ts";
import { calls, connectClient, connections, listening, unhandledRejections } from "../support/stage.ts";
import { until } from "../support/until.ts";

const libraries = ["ioredis 6", "node-redis 6", "glide"] as const;

describe.concurrent("a minority of the nodes", () => {
  test.for(libraries)("may be down: locks are taken, renewed and released (%s)", async (on, t) => {
    const rejections = unhandledRejections(t);
    const nodes = await openNodes(t, 5);
    const locks = await nodes.manager({ on });
    const name = unique();
    const before = await locks.acquire(name);
    await Promise.all([nodes.proxies[0]!.refuse(), nodes.proxies[3]!.refuse()]);
    await before.extend(60_000);
    expect(await before.release()).toBe(true);
    const after = await locks.acquire(name);
    expect(after.fence).toBeGreaterThan(before.fence);
    expect((await nodes.holders(name)).filter((each) => each === after.token).length).toBeGreaterThanOrEqual(3);
    expect(await locks.tryAcquire(name)).toBeNull();
    expect((await locks.query({ name })).held).toMatchObject([{ token: after.token, fence: after.fence }]);
    expect(await after.release()).toBe(true);
    await Promise.all([nodes.proxies[0]!.heal(), nodes.proxies[3]!.heal()]);
    await nodes.cleared(10_000);
    expect(rejections).toEqual([]);
  });

  test.for(libraries)("may be down when the nodes are used for the first time (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    await nodes.proxies[1]!.refuse();
    const locks = await nodes.manager({ on });
    const lock = await locks.acquire(unique());
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  test.for(libraries)("may be frozen: locks go on, and its late answers leave nothing (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager({ on });
    await (await locks.acquire(unique())).release();
    nodes.servers[1]!.freeze();
    const name = unique();
    for (let i = 0; i < 5; i++) await (await locks.acquire(name)).release();
    nodes.servers[1]!.thaw();
    await nodes.cleared();
  });

  test("may be frozen: what all locks are is told without it", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const lock = await locks.acquire(unique());
    nodes.servers[1]!.freeze();
    // As long as a command may take.
    const silence = new LockManager(nodes.redis[1]);
    t.onTestFinished(() => void silence.close());
    const limit = silence.query().then(
      () => null,
      () => null,
    );
    expect(await Promise.race([locks.query(), limit])).toMatchObject({ held: [{ token: lock.token }] });
    nodes.servers[1]!.thaw();
    await limit;
    await lock.release();
  });

  test("that is slow takes part late, and is released like the others", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    await (await locks.acquire(unique())).release();
    nodes.proxies[2]!.delay(150);
    const name = unique();
    const lock = await locks.acquire(name);
    await until(async () => (await nodes.holders(name))[2] === lock.token, "the slow node had granted, too");
    await lock.release();
    await nodes.cleared();
  });
});

describe.concurrent("a node that did not hear of a release", () => {
  test("is told again when it is back", async (t) => {
    const nodes = await openNodes(t);
    // Such a client fails what it cannot send.
    const { locks, clients } = await nodes.open({ settings: { enableOfflineQueue: false } });
    const name = unique();
    const lock = await locks.acquire(name);
    await until(async () => (await nodes.holders(name))[2] === lock.token, "it had granted the lock");
    await nodes.proxies[2]!.refuse();
    await until(() => (clients[2] as Redis).status !== "ready", "the client knew that it was cut off");
    expect(await lock.release()).toBe(true);
    await nodes.proxies[2]!.heal();
    await nodes.cleared();
  });

  test.for(libraries)("is waited for by close(), so that the client may go (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    const { locks, end } = await nodes.open({ on });
    const name = unique();
    const lock = await locks.acquire(name);
    await until(async () => (await nodes.holders(name))[2] === lock.token, "it had granted the lock");
    await nodes.proxies[2]!.refuse();
    const closed = locks.close();
    await until(async () => (await nodes.holders(name))[0] === null, "the others were told");
    await nodes.proxies[2]!.heal();
    await closed;
    end();
    await nodes.cleared();
  });
});

describe.concurrent("a majority of the nodes", () => {
  test.for(libraries)("down is told apart from a lock that is held, with each node's vote (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager({ on });
    await (await locks.acquire(unique())).release();
    // Of what a majority has answered, the others may not have heard.
    await nodes.cleared();
    await Promise.all([nodes.proxies[0]!.refuse(), nodes.proxies[1]!.refuse()]);
    const error = (await rejection(locks.tryAcquire(unique(), { ttl: 600 }))) as QuorumError;
    expect(error).toBeInstanceOf(QuorumError);
    expect(error).toBeInstanceOf(SchemeError);
    expect(error).toMatchObject({ code: "no-quorum", transient: true });
    expect(error.votes.map(({ node }) => node)).toEqual(["node 1 of 3", "node 2 of 3", "node 3 of 3"]);
    expect(error.votes.filter(({ vote }) => vote === "failed").length).toBeGreaterThanOrEqual(2);
    expect(error.causes.length).toBeGreaterThanOrEqual(2);
    expect(error.message).toContain("expected 2");
    // What the third granted alone is taken back.
    await nodes.cleared();
    await Promise.all([nodes.proxies[0]!.heal(), nodes.proxies[1]!.heal()]);
    await (await locks.acquire(unique())).release();
  });

  test("frozen costs a holder its lease at its own deadline, while renewals hang", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const lock = await locks.acquire(unique(), { ttl: 4_000 });
    const { signal } = lock;
    for (const server of nodes.servers) server.freeze();
    await until(() => signal.aborted, "the holder was told", 8_000);
    expect(lock.held).toBe(false);
    expect((signal.reason as LockLostError).reason).toBe("unreachable");
    for (const server of nodes.servers) server.thaw();
    await lock.release();
    await nodes.cleared();
  });

  test("that did not answer for a while is asked once more before anything about a held lock fails", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const names = Array.from({ length: 5 }, unique) as [string, string, string, string, string];
    const [, seen, , stolen, freed] = names;
    const held = await Promise.all(names.map((name) => locks.acquire(name)));
    const detached = await held[2]!.detach();
    for (const server of nodes.servers.slice(1)) server.freeze();
    expect(await rejection(held[0]!.extend())).toMatchObject({ code: "no-quorum" });
    for (const server of nodes.servers.slice(1)) server.thaw();
    const [, state, heir, thief, victims] = await Promise.all([
      held[0]!.extend(),
      locks.query({ name: seen }),
      locks.attach(detached),
      locks.acquire(stolen, { steal: true }),
      locks.forceRelease(freed),
    ]);
    expect(state).toMatchObject({ held: [{ token: held[1]!.token }] });
    expect(victims).toMatchObject([{ token: held[4]!.token }]);
    await Promise.all([heir, thief, ...held].map((lock) => lock.release()));
    await nodes.cleared();
  });

  test("too slow for the ttl fails as such, and leaves nothing", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager({ ttl: 200 });
    await (await locks.acquire(unique())).release();
    for (const proxy of nodes.proxies) proxy.delay(250);
    const error = (await rejection(locks.tryAcquire(unique()))) as QuorumError;
    expect(error.code).toBe("no-quorum");
    expect(error.message).toMatch(/No answer within 50 ms|It has not answered for|Its vote came too late/);
    expect(error.message).toContain("longer ttl or nodeTimeout");
    await nodes.cleared();
  });

  test("that refused everything of late is asked once more before a request fails", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    await (await locks.acquire(unique())).release();
    await nodes.cleared();
    const [first, second] = nodes.redis as [Redis, Redis];
    for (const redis of [first, second]) await redis.call("ACL", "SETUSER", "default", "-hmget");
    for (const proxy of nodes.proxies.slice(0, 2)) {
      await proxy.refuse();
      await proxy.heal();
    }
    // By then each of them is asked only once a second how it is.
    const refusals = async (redis: Redis): Promise<number> =>
      Number(/cmdstat_hmget:.*rejected_calls=(\d+)/.exec(await redis.info("commandstats"))?.[1] ?? 0);
    const areLeft = async (): Promise<boolean> => (await refusals(first)) >= 6 && (await refusals(second)) >= 6;
    await until(areLeft, "both had been left alone for long", 15_000);
    expect(await rejection(locks.tryAcquire(unique()))).toBeInstanceOf(QuorumError);
    for (const redis of [first, second]) await redis.call("ACL", "SETUSER", "default", "+hmget");
    const lock = await locks.tryAcquire(unique());
    expect(lock?.held).toBe(true);
    await lock?.release();
  });

  test("that the user may not use is refused at once, for that reason", async (t) => {
    const nodes = await openNodes(t);
    await Promise.all(nodes.redis.map((redis) => redis.call("ACL", "SETUSER", "default", "-evalsha", "-eval")));
    const error = (await rejection((await nodes.manager()).acquire(unique()))) as QuorumError;
    expect(error).toMatchObject({ code: "no-scripting", transient: false });
  });
});

describe.concurrent("a key that is no lock", () => {
  test("is left alone: on a majority it is an error, on a minority it is a vote less", async (t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager();
    const name = unique();
    const key = `lock:${name}`;
    await nodes.redis[0]!.lpush(key, "mine");
    const lock = await locks.acquire(name);
    expect(await lock.release()).toBe(true);
    await nodes.redis[1]!.lpush(key, "mine");
    for (const steal of [false, true]) {
      const error = (await rejection(locks.acquire(name, { steal }))) as QuorumError;
      expect(error).toMatchObject({ code: "wrong-type", transient: false });
      expect(error.votes[0]).toMatchObject({ vote: "failed", cause: { code: "wrong-type" } });
    }
    for (const redis of nodes.redis.slice(0, 2)) expect(await redis.lrange(key, 0, -1)).toEqual(["mine"]);
  });
});

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
    const nodes = await (await openNodes(t)).inUse();
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
    const nodes = await (await openNodes(t)).inUse();
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
    await until(async () => !(await third.exists(told.waiters)), "it was not any more", 10_000);
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

describe.concurrent("a restarted node", () => {
  // GLIDE connects again without a word: there only the answers tell.
  test.for(["ioredis 6", "glide"] as const)(
    "that forgets counts only when the largest ttl is over; the lock is not granted twice (%s)",
    async (on, t) => {
      const nodes = await (await openNodes(t)).inUse();
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
    const nodes = await (await openNodes(t)).inUse();
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
    const managers = await Promise.all([1, 2, 3].map(() => nodes.manager({ ttl: 1_500, nodeTimeout: 375 })));
    const [holder, ...others] = managers as [LockManager, ...LockManager[]];
    const name = unique();
    // Long enough for both to be in the queue on a slow machine: else they are served when it ends.
    const lock = await holder.acquire(name);
    const waiting = others.map(async (locks) => (await locks.acquire(name)).release());
    const queue = `{lock:${name}}:queue`;
    const lengths = (): Promise<number[]> => Promise.all(nodes.redis.map((redis) => redis.zcard(queue)));
    await until(async () => (await lengths()).join() === "2,2,2", "both waited on all nodes", 20_000);
    await nodes.redis[1]!.call("SAVE");
    await lock.release();
    await Promise.all(waiting);
    await nodes.servers[1]!.restart();
    // As long as it is left out, no request reaches it.
    const asksThere = async (): Promise<boolean> => {
      await holder.request(name, { steal: true }, () => {});
      return (await lengths()).join() === "0,0,0";
    };
    await until(asksThere, "those of old had left its queue", 30_000);
    await nodes.cleared();
  });

  test("does not count for a manager that begins later, as long as a lease lasts that it may have forgotten", async (t) => {
    const nodes = await (await openNodes(t)).inUse();
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

  test("count a restarted node again that answers slowly", { timeout: 60_000 }, async (t) => {
    const nodes = await openNodes(t);
    await useOnce(nodes);
    // It takes many round trips to count it again, in which the others grant and release a lock.
    nodes.proxies[1]!.delay(40);
    await nodes.servers[1]!.restart();
    await countsAgain(nodes, 1);
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
    const nodes = await (await openNodes(t)).inUse();
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
    const nodes = await (await openNodes(t, 3, { args: ["--appendonly", "yes", "--appendfsync", "always"] })).inUse();
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
    const later = await nodes.manager({ ttl: 2_000, nodeTimeout: 500 });
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
    await until(() => !lock.held, "the holder was told", 8_000);
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
    const nodes = await (await openNodes(t)).inUse();
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

  test("lets the first in line in", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const holder = await hold(a, name);
    const waiter = enqueue(b, name);
    await Promise.all(nodes.redis.map((redis) => listening(redis, 2)));
    await until(async () => (await queueOf(nodes, name)).every((each) => each === 1), "it waited on all nodes");
    await holder.end();
    await waiter.granted;
    await waiter.end();
    await nodes.cleared();
  });

  test("is pushed to nobody who gave up: nothing stays of a waiter in any node's queue", async (t) => {
    const nodes = await openNodes(t);
    const [a, b] = [await nodes.manager(), await nodes.manager()];
    const name = unique();
    const lock = await a.acquire(name);
    const abort = new AbortController();
    const refused = rejection(b.acquire(name, { signal: abort.signal }));
    await until(async () => (await queueOf(nodes, name)).every((each) => each === 1), "it waited on all nodes");
    abort.abort("enough");
    expect(await refused).toBe("enough");
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

describe.concurrent("bad input", () => {
  const refused = (clients: unknown, options?: object): unknown => {
    try {
      return Reflect.construct(LockManager, [clients, options]);
    } catch (error) {
      return error;
    }
  };

  test("is refused when the manager is made, and nothing is left on any client", async (t) => {
    const nodes = await openNodes(t, 1);
    const { url } = nodes.servers[0]!;
    const io = await connectClient("ioredis 6", url);
    const node = await connectClient("node-redis 6", url);
    t.onTestFinished(() => [io, node].forEach(({ end }) => end()));
    const heard = (client: RedisClient): number =>
      (client as unknown as { listenerCount(e: string): number }).listenerCount("error");
    const before = [heard(io.client), heard(node.client)];
    const says: [unknown, object | undefined, string][] = [
      [[], undefined, "an array of 0"],
      [[io.client, io.client], undefined, "the same client as node 1 and node 2"],
      [[io.client, node.client], undefined, "ioredis as node 1 and node-redis as node 2"],
      [[io.client, {}], undefined, "Expected a Redis client"],
      [[io.client], { scheme: "lua" }, 'for the scheme "lua"'],
      [io.client, { scheme: "redlock" }, "Expected an array of Redis clients"],
      [io.client, { nodeTimeout: 5 }, "nodeTimeout only with an array"],
      [undefined, { delayRestarted: true }, "delayRestarted only with an array"],
      [[io.client], { nodeTimeout: 0 }, "Expected nodeTimeout to be a whole number of at least 1"],
      [[io.client], { delayRestarted: "no" }, "Expected delayRestarted to be true or false"],
    ];
    for (const [clients, options, text] of says) {
      const error = refused(clients, options) as Error;
      expect(error, text).toBeInstanceOf(text.includes("at least 1") ? RangeError : TypeError);
      expect(error.message).toContain(text);
    }
    expect([heard(io.client), heard(node.client)]).toEqual(before);
  });

  test.for(libraries)(
    "is found at the first use: one server twice, or a replica; nothing is left (%s)",
    async (on, t) => {
      const nodes = await openNodes(t);
      const [first, second, third] = nodes.servers.map(({ url }) => url) as [string, string, string];
      const manager = async (...urls: string[]): Promise<LockManager> => {
        const connected = await Promise.all(urls.map((url) => connectClient(on, url)));
        t.onTestFinished(() => connected.forEach(({ end }) => end()));
        // All must have been met when the first lock is asked for.
        await Promise.all(connected.map(({ client }) => (client as Redis).ping()));
        return new LockManager(connected.map(({ client }) => client));
      };
      const twice = await rejection((await manager(first, second, first)).acquire(unique()));
      expect(twice).toMatchObject({ code: "same-server", transient: false });
      expect((twice as Error).message).toContain("node 1 of 3 and node 3 of 3");
      const one = await (await manager(first)).acquire(unique());
      expect(one.held).toBe(true);
      await one.release();
      // GLIDE must be connected before: of a replica it says only that it is no primary.
      const all = on === "glide" && (await manager(first, second, third));
      await nodes.redis[2]!.replicaof("127.0.0.1", String(nodes.servers[0]!.port));
      const replica = await rejection((all || (await manager(first, second, third))).acquire(unique()));
      expect(replica).toMatchObject({ code: "read-only", transient: false });
      expect((replica as Error).message).toContain("node 3 of 3 is a replica");
      await nodes.cleared();
    },
  );
});

describe.concurrent("with other libraries", () => {
  test("it excludes, and is excluded by, whoever does SET key token NX PX on the same nodes", async (t) => {
    const nodes = await (await openNodes(t)).inUse();
    const locks = await nodes.manager();
    const name = unique();
    const set = (): Promise<unknown[]> =>
      Promise.all(nodes.redis.map((redis) => redis.set(`lock:${name}`, "theirs", "PX", 60_000, "NX")));
    const lock = await locks.acquire(name);
    await until(async () => (await nodes.holders(name)).every((each) => each === lock.token), "all had granted it");
    expect(await set()).toEqual([null, null, null]);
    await lock.release();
    await nodes.cleared();
    expect(await set()).toEqual(["OK", "OK", "OK"]);
    expect(await locks.tryAcquire(name)).toBeNull();
    expect((await locks.query({ name })).held).toMatchObject([{ token: undefined, clientId: "" }]);
    const waiter = enqueue(locks, name);
    await Promise.all(nodes.redis.map((redis) => redis.del(`lock:${name}`)));
    await waiter.granted;
    await waiter.end();
  });
});

describe.concurrent("close()", () => {
  test.for(libraries)("takes its connections along and what is held, on every node (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    const rejections = unhandledRejections(t);
    const locks = await nodes.manager({ on });
    const other = await nodes.manager();
    const count = async (): Promise<number[]> =>
      (await Promise.all(nodes.redis.map(connections))).map((all) => all.length);
    await locks.query();
    await other.query();
    const before = await count();
    await locks.acquire(unique());
    const name = unique();
    const holder = await other.acquire(name);
    const waiter = rejection(locks.acquire(name));
    await Promise.all(nodes.redis.map((redis) => listening(redis, 2)));
    await locks.close();
    expect(await waiter).toMatchObject({ code: "closed" });
    await Promise.all(nodes.redis.map((redis) => listening(redis, 1)));
    await holder.release();
    await nodes.cleared();
    await other.close();
    // The managers' clients are still there.
    await until(async () => String(await count()) === String(before), "its connections were gone");
    expect(rejections).toEqual([]);
  });
});
