/** During a rolling deployment: the drop-in and the true libraries exclude one another, whoever comes first. */
import { Redlock as Sesame } from "@sesamecare-oss/redlock";
import type { Redis } from "ioredis";
import { describe, expect, test } from "vitest";
import Redlock, { Lock } from "../../src/redlock.ts";
import { Lock5, Redlock4, Redlock5 } from "./published.ts";
import { until } from "../support/until.ts";
import { type Machines, openMachines } from "./stage.ts";

/** As much as all of them can do. */
interface Anyone {
  lock(resources: string[], duration: number): Promise<{ unlock(): Promise<unknown>; value: string }>;
}

type Open = (clients: Redis[]) => Anyone;

const once = { retryCount: 0 };

function modern(redlock: {
  acquire(resources: string[], duration: number): Promise<{ value: string; release(): Promise<unknown> }>;
}): Anyone {
  return {
    lock: async (resources, duration) => {
      const lock = await redlock.acquire(resources, duration);
      return { unlock: () => lock.release(), value: lock.value };
    },
  };
}

const ours: Open = (clients) => modern(new Redlock(clients, once));
const theirs: [name: string, open: Open][] = [
  ["redlock 5", (clients) => modern(new Redlock5(clients, once))],
  ["@sesamecare-oss/redlock", (clients) => modern(new Sesame(clients as never, once))],
  [
    "redlock 4",
    (clients) => {
      // It takes 0 for no answer.
      const redlock = new Redlock4(clients, { retryCount: 0 });
      return { lock: (resources, duration) => Promise.resolve(redlock.lock(resources, duration)) };
    },
  ],
];

/** An operation is over when a majority has done it; the others do it soon. */
async function onAll(machines: Machines, isSo: (client: Redis) => Promise<boolean>): Promise<void> {
  for (const client of machines.clients()) await until(() => isSo(client), "it was so on all servers");
}

describe.each(theirs)("beside %s", (_, open) => {
  test.for([1, 3])("each is refused what the other holds, on %i servers", async (count, t) => {
    const machines = await openMachines(t, count);
    const pairs = [
      [ours, open],
      [open, ours],
    ] as const;
    for (const [first, second] of pairs) {
      const one = first(machines.clients());
      const other = second(machines.clients());
      const held = await one.lock(["a", "b"], 10_000);
      // Its owner knows of a majority; where the other came first, the last server would refuse it.
      await onAll(machines, async (client) => (await client.exists("a")) === 1);
      await expect(other.lock(["b", "c"], 10_000)).rejects.toThrow();
      // What was refused took nothing, on no server.
      await onAll(machines, async (client) => (await client.keys("*")).sort().join() === "a,b");
      await held.unlock();
      const next = await other.lock(["b", "c"], 10_000);
      await expect(one.lock(["b"], 10_000)).rejects.toThrow();
      await next.unlock();
      await onAll(machines, async (client) => (await client.keys("*")).length === 0);
    }
  });

  test("never two hold at once while both contend", async (t) => {
    const machines = await openMachines(t, 1);
    let inside = 0;
    let most = 0;
    const work = async (who: Anyone, rounds: number): Promise<void> => {
      for (let done = 0; done < rounds;) {
        const lock = await who.lock(["counter"], 5_000).catch(() => undefined);
        if (!lock) continue;
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
        await lock.unlock();
        done++;
      }
    };
    const everybody = [ours, open, ours, open].map((each) => work(each(machines.clients()), 20));
    await Promise.all(everybody);
    expect(most).toBe(1);
  });
});

test("a lock that redlock 5 took is extended and released by the drop-in, and the other way round", async (t) => {
  const machines = await openMachines(t, 3);
  const [mine, other] = [new Redlock(machines.clients(), once), new Redlock5(machines.clients(), once)];

  const theirLock = await other.acquire(["a", "b"], 10_000);
  // Its owner knows of a majority; the last server may get it later than what others send.
  await onAll(machines, async (client) => (await client.exists("a")) === 1);
  const taken = new Lock(mine, theirLock.resources, theirLock.value, [], theirLock.expiration);
  const longer = await taken.extend(60_000);
  await onAll(machines, async (client) => (await client.pttl("a")) > 50_000);
  await longer.release();
  await onAll(machines, async (client) => (await client.keys("*")).length === 0);

  const ourLock = await mine.acquire(["a", "b"], 10_000);
  await onAll(machines, async (client) => (await client.exists("a")) === 1);
  const given = new Lock5(other, ourLock.resources, ourLock.value, [], ourLock.expiration);
  await (await given.extend(60_000)).release();
  await onAll(machines, async (client) => (await client.keys("*")).length === 0);
});

test("on a client in another database, sesamecare's locks are in database 0, and db: 0 finds them there", async (t) => {
  const machines = await openMachines(t, 1);
  const sesame = new Sesame(machines.clients({ db: 2 }) as never, once);
  const held = await sesame.acquire(["a"], 10_000);
  await expect(new Redlock(machines.clients({ db: 2 }), { ...once, db: 0 }).acquire(["a"], 10_000)).rejects.toThrow();
  await held.release();
  const mine = await new Redlock(machines.clients({ db: 2 }), { ...once, db: 0 }).acquire(["a"], 10_000);
  await expect(sesame.acquire(["a"], 10_000)).rejects.toThrow();
  await mine.release();
  expect(await machines.clients()[0]?.keys("*")).toEqual([]);
});

test("a client's key prefix applies to the keys, as with redlock 5", async (t) => {
  const machines = await openMachines(t, 1);
  const held = await new Redlock5(machines.clients({ keyPrefix: "app:" }), once).acquire(["a"], 10_000);
  await expect(new Redlock(machines.clients({ keyPrefix: "app:" }), once).acquire(["a"], 10_000)).rejects.toThrow();
  await held.release();
});
