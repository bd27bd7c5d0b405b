/** Local turns on a real server, with the scheme `lua`. */
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { IoredisDriver } from "../../src/drivers/ioredis/client.ts";
import type { Lock, LockManager } from "../../src/index.ts";
import { LuaScheme } from "../../src/schemes/lua.ts";
import { hold, logged, rejection, unique } from "../support/locks.ts";
import { calls, cleared, openStage } from "../support/stage.ts";
import { ask as askFor, release } from "../support/calls.ts";
import { until } from "../support/until.ts";

/** All these wait, as anybody sees. */
async function pending(locks: LockManager, name: string, count: number): Promise<void> {
  const counted = async (): Promise<boolean> => (await locks.query({ name })).pending.length === count;
  await until(counted, `${count} waited`);
}

test("each process is served in its own order, fences grow, others see how many wait, and nothing is left", async (t) => {
  const stage = await openStage(t);
  const [a, b, c] = [await stage.manager({ turn: 3 }), await stage.manager({ turn: 3 }), await stage.manager()];
  const name = unique();
  const first = await hold(c, name);
  const fences = [first.lock.fence];
  const order: string[] = [];
  const ask = (locks: LockManager, who: string): Promise<unknown> =>
    locks.request(name, (lock) => {
      order.push(who);
      fences.push(lock.fence);
    });
  const all = ["a1", "a2", "a3", "a4"].map((who) => ask(a, who));
  await pending(b, name, 4);
  all.push(...["b1", "b2"].map((who) => ask(b, who)));
  await pending(c, name, 6);
  await first.end();
  await Promise.all(all);
  // How long a turn lasts depends on how fast this machine is; see order.test.ts for a clock that is driven by hand.
  const of = (process: string): string[] => order.filter((who) => who.startsWith(process));
  expect([order[0], of("a"), of("b")]).toEqual(["a1", ["a1", "a2", "a3", "a4"], ["b1", "b2"]]);
  expect(fences).toEqual([...new Set(fences)].sort((x, y) => x - y));
  await cleared(stage.redis);
});

test("shared requests of one process hold together and keep others out until the last is done", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager(), await stage.manager()];
  const name = unique();
  const first = await hold(b, name);
  const readers = Array.from({ length: 3 }, () => a.acquire(name, { mode: "shared" }));
  await pending(b, name, 3);
  await first.end();
  const [one, two, three] = await Promise.all(readers);
  await one?.release();
  await two?.release();
  expect([three?.held, await b.tryAcquire(name)]).toEqual([true, null]);
  await three?.release();
  await (await b.acquire(name)).release();
  await cleared(stage.redis);
});

test("a shared lock that others of the process hold under the same grant is not detached, and stays held", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager({ turn: 100 }), await stage.manager()];
  const name = unique();
  const first = await hold(b, name);
  const readers = [a.acquire(name, { mode: "shared" })];
  // The second joins the first, which has its place by then.
  await pending(b, name, 1);
  readers.push(a.acquire(name, { mode: "shared" }));
  await pending(b, name, 2);
  await first.end();
  const [one, two] = (await Promise.all(readers)) as [Lock, Lock];
  expect(await rejection(one.detach())).toMatchObject({ code: "unsupported" });
  expect([one.held, two.held]).toEqual([true, true]);
  await two.release();
  const detached = await one.detach();
  await (await b.attach(detached)).release();
});

test("steal from elsewhere tells the present holder of a turn, and those behind are served after the thief", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager(), await stage.manager()];
  const name = unique();
  const first = await hold(b, name);
  const waiters = Array.from({ length: 3 }, () => a.acquire(name));
  await pending(b, name, 3);
  await first.end();
  await (await waiters[0])?.release();
  const second = await waiters[1];
  const thief = await b.acquire(name, { steal: true });
  await until(() => second?.signal.aborted, "the holder was told");
  await second?.release();
  expect(thief.held).toBe(true);
  await thief.release();
  const third = await waiters[2];
  expect(third?.fence).toBeGreaterThan(thief.fence);
  await third?.release();
  await cleared(stage.redis);
});

test("a thousand waiters of one process ask the server no more than a few times while they wait", async (t) => {
  const stage = await openStage(t);
  const [a, b] = [await stage.manager({ turn: 100 }), await stage.manager()];
  const name = unique();
  const first = await hold(b, name);
  const log: string[] = [];
  const names = Array.from({ length: 1_000 }, (_, i) => String(i));
  const before = await calls(stage.redis, "zrank");
  const all = names.map((each) => logged(a, name, log, each));
  await pending(b, name, 1_000);
  expect((await calls(stage.redis, "zrank")) - before, "questions, each of which looks for its rank").toBeLessThan(6);
  await first.end();
  await Promise.all(all);
  expect(log).toEqual(names);
  await cleared(stage.redis);
});

test("a grant that was not heard of is found again with the one fence that was drawn for it", async (t) => {
  const stage = await openStage(t);
  const settings = { prefix: "lock:", clientId: "c".repeat(22), label: "" };
  const scheme = new LuaScheme(new IoredisDriver(stage.redis), systemClock, settings);
  t.onTestFinished(() => scheme.close());
  const token = `${settings.clientId}:0`;
  const request = { lock: unique(), token, mode: "exclusive", ttl: 5_000, label: "" } as const;
  const first = await askFor(scheme, { ...request, opens: true }, true);
  // As after a lost reply: asked again by one that never stood in line.
  const again = await askFor(scheme, { ...request, fences: 16 }, true);
  expect(again).toEqual({ kind: "granted", fence: (first as { fence: number }).fence, fences: 1 });
  await release(scheme, request);
});

test("a pushed grant has its whole ttl on the server before its holder goes on, also if nobody renews it", async (t) => {
  const stage = await openStage(t);
  const name = unique();
  const holder = await hold(await stage.manager(), name);
  const client = stage.client();
  const locks = await stage.manager({ client });
  // Longer than a pushed grant lasts by itself, and not so long that what is left would have to be asked for in any case.
  const waiter = locks.acquire(name, { ttl: 1_400, renew: false });
  await pending(locks, name, 1);
  await holder.end();
  const lock = await waiter;
  // On the same connection, so behind all that was sent for the grant.
  expect(await client.pttl(`lock:${name}`)).toBeGreaterThan(1_000);
  await lock.release();
});

test("a push names the waiter's latest question before the grant, by the time when it was asked", async (t) => {
  const stage = await openStage(t);
  const settings = { prefix: "lock:", clientId: "p".repeat(22), label: "" };
  const scheme = new LuaScheme(new IoredisDriver(stage.redis), systemClock, settings);
  t.onTestFinished(() => scheme.close());
  const pushed: (number | undefined)[] = [];
  let up = false;
  scheme.listen({
    granted: (_lock, _token, _fence, _fences, since) => pushed.push(since),
    next: () => {},
    lost: () => {},
    missed: () => (up = true),
  });
  await stage.redis.set("lock:x", "somebody else's", "PX", 60_000);
  const token = `${settings.clientId}:0`;
  const request = { lock: "x", token, mode: "exclusive", ttl: 5_000, label: "" } as const;
  await askFor(scheme, { ...request, askedAt: 1_000 }, true);
  await until(() => up, "the subscription was up");
  await askFor(scheme, { ...request, askedAt: 2_000.5 }, true);
  const other = { ...request, token: `${settings.clientId}:1` };
  await stage.redis.del("lock:x");
  await release(scheme, other);
  await until(() => pushed.length === 1, "the push had come");
  expect(pushed).toEqual([2_000.5]);
});
