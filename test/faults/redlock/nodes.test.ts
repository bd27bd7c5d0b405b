/** Some of the nodes fail: a minority, then a majority. */
import type { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { type LockLostError, LockManager, QuorumError, SchemeError } from "../../../src/index.ts";
import { rejection, unique } from "../../support/locks.ts";
import { openNodes } from "../../support/nodes.ts";
import { connections, listening, unhandledRejections } from "../../support/stage.ts";
import { until } from "../../support/until.ts";

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

  test.for(libraries)("may be frozen: nobody waits for it, and its late answers leave nothing (%s)", async (on, t) => {
    const nodes = await openNodes(t);
    const locks = await nodes.manager({ on });
    await (await locks.acquire(unique())).release();
    nodes.servers[1]!.freeze();
    const name = unique();
    const start = performance.now();
    for (let i = 0; i < 5; i++) await (await locks.acquire(name)).release();
    // The time limit of a node is 1.5 s here: that much each if it were waited for.
    expect(performance.now() - start).toBeLessThan(5 * 1_500);
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
    const lock = await locks.acquire(unique(), { ttl: 1_000 });
    const { signal } = lock;
    for (const server of nodes.servers) server.freeze();
    await until(() => signal.aborted, "the holder was told", 1_500);
    expect(lock.held).toBe(false);
    expect((signal.reason as LockLostError).reason).toBe("unreachable");
    for (const server of nodes.servers) server.thaw();
    await lock.release();
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
