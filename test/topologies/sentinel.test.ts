/** Locks on a server that is replaced: what waiters, holders and guarded resources see of a failover. */
import { once } from "node:events";
import { connect } from "node:net";
import { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { RedisFence, StaleFenceError } from "../../src/fence.ts";
import { type Lock, type LockManager, LockLostError } from "../../src/index.ts";
import { type Held, type Queued, enqueue, hold, rejection, unique, waiting } from "../support/locks.ts";
import { startProxy } from "../support/proxy.ts";
import {
  FAILOVER,
  type SentinelLibrary,
  type SentinelStage,
  libraries,
  listeners,
  openSentinels,
} from "../support/sentinels.ts";
import type { Finishing } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** One of each family: ioredis 5 and 6 find their master in the same way. */
const families = ["ioredis 6", "node-redis 6"] as const;

/** Ways in which the master is replaced. */
const failovers = {
  "SENTINEL FAILOVER": ({ sentinels }: SentinelStage) => sentinels.failover(),
  "kill -9 of the master": async ({ sentinels }: SentinelStage) => {
    const before = await sentinels.master();
    await before.crash();
    return sentinels.promoted(before);
  },
  "a freeze of the master": async ({ sentinels }: SentinelStage) => {
    const before = await sentinels.master();
    before.freeze();
    return sentinels.promoted(before);
  },
};

const replacements = families.flatMap((on) =>
  (Object.keys(failovers) as (keyof typeof failovers)[]).map((way) => [way, on] as const),
);

const isLate = { timeout: 60_000 };

/** Of locks that outlive a failover: longer than one takes on a busy machine. */
const long = { ttl: 60_000 };

/** The lock's queue on a server: tokens in their order. */
function queue(redis: Redis, name: string): Promise<string[]> {
  return redis.zrange(`{lock:${name}}:queue`, "0", "-1");
}

/**
 * The commands that a server carries out from now on. Without a client, because ioredis takes the first of them for the
 * reply to another command if it comes together with that to MONITOR.
 */
async function monitored(t: Finishing, port: number): Promise<readonly string[]> {
  const socket = connect(port, "127.0.0.1").setEncoding("utf8");
  t.onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  const lines: string[] = [];
  let rest = "";
  socket.on("data", (text: string) => {
    lines.push(...(rest + text).split("\r\n"));
    rest = lines.pop() ?? "";
  });
  socket.write("MONITOR\r\n");
  await until(() => lines[0] === "+OK", "commands were told");
  return lines;
}

/** So many processes, each of which asks for a place in line of its own. */
function managers(stage: SentinelStage, count: number, on: SentinelLibrary): Promise<LockManager[]> {
  return Promise.all(Array.from({ length: count }, () => stage.manager({ on, turn: 1 })));
}

/** Waiters of as many managers, in this order. */
async function enqueueAll(all: readonly LockManager[], name: string): Promise<Queued[]> {
  const queued: Queued[] = [];
  for (const [i, locks] of all.entries()) {
    queued.push(enqueue(locks, name));
    await waiting(locks, name, i + 1);
  }
  return queued;
}

/** The lock, or why it was not granted. */
async function served({ granted, request }: Queued): Promise<Lock> {
  const lock = await Promise.race([granted, request.then(() => undefined)]);
  if (!lock) throw new Error("The request ended without a lock.");
  return lock;
}

/** Fails when one of these is served. */
function outOfTurn(queued: readonly Queued[]): Promise<never> {
  const fail = ({ token }: Lock): never => {
    throw new Error(`${token} was served out of its turn.`);
  };
  const failing = Promise.race(queued.map(({ granted }) => granted.then(fail)));
  failing.catch(() => {}); // the next one's turn comes later
  return failing;
}

async function expectServed(queued: readonly Queued[], tokens: readonly string[], above: number): Promise<void> {
  let fence = above;
  for (const [i, waiter] of queued.entries()) {
    const lock = await Promise.race([served(waiter), outOfTurn(queued.slice(i + 1))]);
    expect(lock.token, `waiter ${i} is served in its turn`).toBe(tokens[i]);
    expect(lock.fence).toBeGreaterThan(fence);
    fence = lock.fence;
    await waiter.end();
  }
}

/** What a holder was told, once it was. */
async function lossOf({ lock }: Held): Promise<LockLostError> {
  await until(() => lock.signal.aborted, "the holder was told", FAILOVER);
  expect(lock.held).toBe(false);
  expect(lock.signal.reason).toBeInstanceOf(LockLostError);
  return lock.signal.reason as LockLostError;
}

describe.concurrent("on a client that asks Sentinels", isLate, () => {
  test.for(libraries)("locks are taken, waited for, handed over and released (%s)", async (on, t) => {
    const stage = await openSentinels(t, { replicas: 1, sentinels: 1 });
    const [one, other] = [await stage.manager({ on }), await stage.manager({ on })];
    const name = unique();
    const first = await one.acquire(name);
    const waiter = enqueue(other, name);
    await waiting(one, name, 1);
    expect(await one.tryAcquire(name)).toBe(null);
    expect(await first.release()).toBe(true);
    const second = await waiter.granted;
    expect(second.fence).toBeGreaterThan(first.fence);
    const detached = await (await one.acquire(unique())).detach();
    const attached = await other.attach(detached);
    expect(attached.fence).toBeGreaterThan(detached.fence);
    await attached.release();
    await waiter.end();
    await stage.cleared();
  });

  test.for(replacements)(
    "after %s a holder whose lock survived keeps it, and waiters are served in the order of before (%s)",
    async ([way, on], t) => {
      const stage = await openSentinels(t);
      const [first, ...others] = await managers(stage, 4, on);
      const name = unique();
      const holder = await hold(first!, name, long);
      await holder.lock.extend();
      const queued = await enqueueAll(others, name);
      const before = await stage.look();
      await listeners(before, 4);
      const tokens = await queue(before, name);
      expect(await before.wait(2, 5_000)).toBe(2);
      const redis = await stage.look(await failovers[way](stage));
      await listeners(redis, 4);
      await until(async () => (await queue(redis, name)).length === 3, "all waited at the new master", FAILOVER);
      await holder.lock.extend();
      expect(await redis.get(`lock:${name}`)).toContain(`${holder.lock.token}#${holder.lock.fence}`);
      await holder.end();
      await expectServed(queued, tokens, holder.lock.fence);
      await stage.cleared();
    },
  );

  test.for(families)("waiters that the promoted replica knows nothing of get back their places (%s)", async (on, t) => {
    const stage = await openSentinels(t, { replicas: 1 });
    const [first, ...others] = await managers(stage, 4, on);
    const name = unique();
    const holder = await hold(first!, name, long);
    const before = await stage.look();
    expect(await before.wait(1, 5_000)).toBe(1);
    const { thaw } = await stage.cutOff();
    const queued = await enqueueAll(others, name);
    const tokens = await queue(before, name);
    const master = await stage.sentinels.master();
    await master.crash();
    thaw();
    const redis = await stage.look(await stage.sentinels.promoted(master));
    await until(async () => (await queue(redis, name)).length === 3, "all waited at the new master", FAILOVER);
    expect(await queue(redis, name)).toEqual(tokens);
    await holder.end();
    await expectServed(queued, tokens, holder.lock.fence);
    await stage.cleared();
  });

  test.for(families)("a waiter that is still on its way to the new master is not passed over (%s)", async (on, t) => {
    const stage = await openSentinels(t);
    const proxies = await Promise.all(stage.sentinels.members.map(({ port }) => startProxy(port)));
    t.onTestFinished(() => Promise.all(proxies.map((proxy) => proxy.close())).then(() => undefined));
    const detours = Object.fromEntries(
      stage.sentinels.members.map(({ port }, i) => [
        `127.0.0.1:${port}`,
        { host: "127.0.0.1", port: proxies[i]!.port },
      ]),
    );
    const name = unique();
    const holder = await hold(await stage.manager({ on, turn: 1 }), name, long);
    // The first in line gets back later than the one behind it.
    const settings = { natMap: detours, nodeAddressMap: detours };
    const [away, back] = [await stage.manager({ on, turn: 1, settings }), await stage.manager({ on, turn: 1 })];
    const queued = await enqueueAll([away, back], name);
    const before = await stage.look();
    await listeners(before, 3);
    // Their later questions tell where they listen.
    await until(async () => {
      const records = Object.values(await before.hgetall(`{lock:${name}}:waiters`));
      return records.every((record) => /^\S+ \d+ \d+ [0-9a-f]{8} /.test(record));
    }, "the records told where they listen");
    const tokens = await queue(before, name);
    expect(await before.wait(2, 5_000)).toBe(2);
    await Promise.all(proxies.map((proxy) => proxy.refuse()));
    const master = await stage.sentinels.failover();
    await listeners(await stage.look(master), 2);
    const commands = await monitored(t, master.port);
    await holder.end();
    const isGrant = (command: string): boolean =>
      command.toLowerCase().includes(`"set" "lock:${name}"`) && !command.includes(holder.lock.token);
    const grant = await until(() => commands.find(isGrant), "it was handed on");
    expect(grant, "the first in line was granted the lock").toContain(tokens[0]);
    await Promise.all(proxies.map((proxy) => proxy.heal()));
    // On a slow machine its grant may lapse before it is back, and the other is served first.
    await Promise.all(
      queued.map(async (waiter) => {
        expect((await served(waiter)).fence).toBeGreaterThan(holder.lock.fence);
        await waiter.end();
      }),
    );
    await stage.cleared();
  });

  test.for(families)(
    "a holder whose lock the promoted replica missed is notified, and fences grow (%s)",
    async (on, t) => {
      const stage = await openSentinels(t, { replicas: 1 });
      const name = unique();
      const locks = await stage.manager({ on });
      const { thaw } = await stage.cutOff();
      const before = await stage.look();
      const holder = await hold(locks, name, { ttl: 15_000 });
      expect(await before.exists("lock::fence")).toBe(1);
      const master = await stage.sentinels.master();
      await master.crash();
      thaw();
      const redis = await stage.look(await stage.sentinels.promoted(master));
      expect(await redis.exists("lock::fence"), "the counter was lost").toBe(0);
      // Before its time is over: by its renewal.
      expect((await lossOf(holder)).reason).toBe("expired");
      const next = await (await stage.manager({ on })).acquire(name);
      expect(next.fence).toBeGreaterThan(holder.lock.fence);
      await holder.end();
      expect(next.held).toBe(true);
      expect(await next.release()).toBe(true);
      await stage.cleared();
    },
  );

  test("what a master grants that was replaced while it was frozen is lost, and guards refuse its late write", async (t) => {
    const stage = await openSentinels(t, { replicas: 1 });
    const name = unique();
    const resource = await startServer();
    t.onTestFinished(() => resource.stop());
    const data = await stage.look(resource);
    const guard = new RedisFence(data);
    const accepted: number[] = [];
    const write = async ({ lock }: Held): Promise<void> => {
      await guard.write(lock, "SET", "guarded", lock.token);
      accepted.push(lock.fence);
    };
    const deceivedClient = stage.client({ settings: { failoverDetector: false } });
    await deceivedClient.ping();
    const deceived = stage.managerOn(deceivedClient);
    const zombie = await stage.sentinels.master();
    zombie.freeze();
    const promoted = await stage.sentinels.promoted(zombie);
    const rightful = await hold(await stage.manager(), name);
    await write(rightful);
    const granting = hold(deceived, name, { ttl: 3_000 });
    zombie.thaw();
    const wrong = await granting;
    expect(wrong.lock.fence).toBeGreaterThan(rightful.lock.fence);
    await write(wrong);
    // Two held at once; the resource lets the writes of one of them through.
    expect(await rejection(write(rightful))).toBeInstanceOf(StaleFenceError);
    expect((await lossOf(wrong)).code).toBe("lost");
    expect(rightful.lock.held).toBe(true);
    await rightful.end();
    await wrong.end();
    const next = await hold(deceived, name);
    await write(next);
    expect(await rejection(write(wrong))).toBeInstanceOf(StaleFenceError);
    expect(await data.get("guarded")).toBe(next.lock.token);
    expect(accepted).toEqual([rightful, wrong, next].map(({ lock }) => lock.fence).sort((a, b) => a - b));
    await next.end();
    expect(await stage.sentinels.master()).toBe(promoted);
    await stage.cleared();
  });

  test.for(["ioredis 6", "ioredis 5"] as const)(
    "a manager goes on when ioredis gives up over the news of a failover (%s)",
    async (on, t) => {
      const stage = await openSentinels(t);
      const [asked, ...heard] = stage.sentinels.addresses;
      const proxy = await startProxy(asked!.port);
      t.onTestFinished(() => proxy.close());
      const astray = { sentinels: [{ host: "127.0.0.1", port: proxy.port }, ...heard], retryStrategy: () => 50 };
      const client = stage.client({ on, settings: astray });
      let ends = 0;
      client.on("end", () => ends++);
      const locks = stage.managerOn(client);
      const name = unique();
      const holder = await hold(await stage.manager(), name, long);
      const waiter = enqueue(locks, name);
      await listeners(await stage.look(), 2);
      const news = new Redis(heard[0]!);
      news.on("error", () => {});
      t.onTestFinished(() => news.disconnect());
      let switched = false;
      news.on("message", () => (switched = true));
      await news.subscribe("+switch-master");
      // It asks the first of its Sentinels, gets no answer, and hears from the others meanwhile.
      proxy.blackHole();
      const master = await stage.sentinels.master();
      await master.crash();
      await stage.sentinels.promoted(master);
      await until(() => switched, "the failover had been told", FAILOVER);
      const queuedInClient = locks.acquire(unique());
      await proxy.heal();
      await until(() => ends > 0, "ioredis had given up", FAILOVER);
      await (await queuedInClient).release();
      await listeners(await stage.look(), 2);
      await holder.end();
      await served(waiter);
      await waiter.end();
      await stage.cleared();
    },
  );
});
