/** Keys and clients that are not holdfast's, and input that makes no fleet. */
import type { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { LockManager, type QuorumError, type RedisClient } from "../../../src/index.ts";
import { enqueue, rejection, unique } from "../../support/locks.ts";
import { openNodes } from "../../support/nodes.ts";
import { connectClient } from "../../support/stage.ts";
import { until } from "../../support/until.ts";

const libraries = ["ioredis 6", "node-redis 6", "glide"] as const;

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
    const nodes = await openNodes(t);
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
