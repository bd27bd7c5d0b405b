/** What goes wrong while somebody waits. */
import { granted, inMs, type Scenario, sleep, timed } from "./scenario.ts";

const LONG = 20_000;

export const waiting: readonly Scenario[] = [
  {
    id: "dead-waiter",
    title: "A waiter's process is killed while it waits",
    reported: "redisson 1104, 2278, 2883, 3730, 4661",
    expected: "the next waiter holds the lock within 2 s of its release",
    async run(stage) {
      const { url } = await stage.server();
      const [a, b] = [await stage.open(url), await stage.open(url)];
      const held = await a.acquire("x", { ttl: LONG });
      const dead = await stage.waiter(url, "x", LONG);
      await sleep(300);
      await dead.kill();
      const next = b.acquire("x", { ttl: LONG, patience: LONG });
      await sleep(500);
      await held.release();
      const time = await granted(next, 10_000);
      return { survives: time !== undefined && time < 2_000, saw: `next holder ${inMs(time, 10_000)}` };
    },
  },
  {
    id: "gives-up",
    title: "A waiter gives up when its time is over",
    reported: "redlock 86; node-redisson (a timed-out waiter unsubscribes all)",
    expected: "it leaves nothing, and others get the lock within 2 s of its release",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const [a, b, c] = [await stage.open(server.url), await stage.open(server.url), await stage.open(server.url)];
      const held = await a.acquire("given-up", { ttl: LONG });
      const before = (await admin.keys("*given-up*")).sort();
      const gaveUp = b.acquire("given-up", { ttl: LONG, patience: 600 });
      const other = c.acquire("given-up", { ttl: LONG, patience: LONG });
      if ((await timed(gaveUp, 10_000)) === undefined) return { survives: false, saw: "did not give up within 10 s" };
      await held.release();
      const time = await granted(other, 10_000);
      if (time === undefined || time > 2_000) return { survives: false, saw: `the other ${inMs(time, 10_000)}` };
      await (await other).release();
      const left = (await admin.keys("*given-up*")).filter((key) => !before.includes(key));
      return { survives: left.length === 0, saw: `the other ${inMs(time, 10_000)}; keys left: ${left.length}` };
    },
  },
  {
    id: "abort",
    title: "A waiter is aborted by its AbortSignal",
    reported: "redlock 86; simple-redis-mutex (leaves the lock held)",
    expected: "it rejects within 100 ms, and the lock is free once its holder has released it",
    needs: "abort",
    async run(stage) {
      const server = await stage.server();
      const [a, b, c] = [await stage.open(server.url), await stage.open(server.url), await stage.open(server.url)];
      const held = await a.acquire("x", { ttl: LONG });
      const stop = new AbortController();
      const aborted = b.acquire("x", { ttl: LONG, signal: stop.signal });
      await sleep(300);
      stop.abort();
      const rejected = await timed(aborted, 5_000);
      await held.release();
      const free = await granted(c.acquire("x", { ttl: LONG, patience: LONG }), 5_000);
      const survives = rejected !== undefined && rejected < 100 && free !== undefined && free < 500;
      return { survives, saw: `rejected ${inMs(rejected, 5_000)}; free ${inMs(free, 5_000)}` };
    },
  },
  {
    id: "push-lost",
    title: "Connections for pub/sub are lost while somebody waits",
    reported: "redisson 2883; node-redisson (waits for a message that never comes)",
    expected: "the waiter holds the lock within 2 s of its release",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const [a, b] = [await stage.open(server.url), await stage.open(server.url)];
      const held = await a.acquire("x", { ttl: LONG });
      const waiter = b.acquire("x", { ttl: LONG, patience: LONG });
      await sleep(300);
      await admin.call("CLIENT", "KILL", "TYPE", "pubsub");
      await held.release();
      const time = await granted(waiter, 10_000);
      return { survives: time !== undefined && time < 2_000, saw: `waiter ${inMs(time, 10_000)}` };
    },
  },
  {
    id: "crowd",
    title: "24 clients contend for one lock",
    reported: "redlock 218; node-redisson 1",
    expected: "all get nearly equal shares: Jain's index is at least 0.9",
    async run(stage) {
      const { url } = await stage.server();
      const sessions = await Promise.all(Array.from({ length: 24 }, () => stage.open(url)));
      const end = performance.now() + 8_000;
      const grants = await Promise.all(
        sessions.map(async (session) => {
          let count = 0;
          while (performance.now() < end) {
            const lock = await session.acquire("x", { ttl: 5_000, patience: LONG });
            if (performance.now() < end) count++;
            await sleep(5);
            await lock.release();
          }
          return count;
        }),
      );
      const sum = grants.reduce((all, each) => all + each, 0);
      const index = sum ** 2 / (grants.length * grants.reduce((all, each) => all + each ** 2, 0));
      const saw = `Jain's index ${index.toFixed(2)}; from ${Math.min(...grants)} to ${Math.max(...grants)} grants each, ${sum} in all`;
      return { survives: index >= 0.9, saw };
    },
  },
  {
    id: "tie",
    title: "Of two servers one is taken by another client: no majority is possible",
    reported: "redlock 168; redlock 5 never settles with an even number of servers",
    expected: "acquiring gives up in time and leaves nothing",
    needs: "quorum",
    async run(stage) {
      const servers = [await stage.server(), await stage.server()];
      const key = stage.contender.key("x");
      await stage.admin(servers[0]!).set(key, "somebody else");
      const session = await stage.open(...servers.map(({ url }) => url));
      const attempt = session.acquire("x", { ttl: LONG, patience: 1_000 });
      const time = await timed(attempt, 15_000);
      if (time === undefined) return { survives: false, saw: "it has neither resolved nor rejected within 15 s" };
      const won = await attempt.then(
        () => true,
        () => false,
      );
      await sleep(200);
      const left = await stage.admin(servers[1]!).exists(key);
      return {
        survives: !won && left === 0,
        saw: won ? "it was granted" : `rejected ${inMs(time, 15_000)}; left ${left}`,
      };
    },
  },
  {
    id: "own-votes",
    title: "Of three servers one is free, one taken for 1 s and one for a minute: a waiter needs the first two",
    reported: "redlock 168, 369: blocked by its own earlier vote",
    expected: "it holds the lock within 3 s of its release, although its ttl is longer",
    needs: "quorum",
    async run(stage) {
      const servers = [await stage.server(), await stage.server(), await stage.server()];
      const admins = servers.map((server) => stage.admin(server));
      const key = stage.contender.key("x");
      await admins[1]!.set(key, "somebody else", "PX", 1_000);
      await admins[2]!.set(key, "somebody else", "PX", 60_000);
      const session = await stage.open(...servers.map(({ url }) => url));
      const attempt = session.acquire("x", { ttl: LONG, patience: 5_000 });
      const time = await timed(attempt, 15_000);
      const won = await Promise.race([attempt.then(() => true).catch(() => false), sleep(0).then(() => false)]);
      const survives = won && time !== undefined && time < 4_000;
      return { survives, saw: won ? `held ${inMs(time, 15_000)}` : `rejected ${inMs(time, 15_000)}` };
    },
  },
];
