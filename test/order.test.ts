/** What one manager is asked takes effect in the order in which it was asked. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LockLostError, LockManager } from "../src/index.ts";
import { deferred, enqueue, hold, rejection, turn, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, queueing } from "./support/worlds.ts";

async function hearsOfThefts(locks: LockManager): Promise<boolean> {
  const name = unique();
  const robbed = enqueue(locks, name);
  const { signal } = await robbed.granted;
  await locks.forceRelease(name);
  await until(() => signal.aborted, "it knew that it was robbed", 15_000);
  await robbed.end();
  return (signal.reason as LockLostError).reason === "stolen";
}

/** Locks are asked for and looked at in one turn of the event loop: nothing has been sent before. */
describe.each(queueing)("$title", ({ scheme, isTopology, open }) => {
  describe.each([16, 1])("turn: %d", (local) => {
    let world: World;
    let locks: LockManager;
    beforeAll(async () => {
      world = await open();
      locks = await world.manager({ turn: local });
      // On a Cluster a manager's own channel opens later than its first locks: until then a holder only learns that its
      // lock is lost.
      if (isTopology) await until(async () => hearsOfThefts(locks), "it hears of thefts");
    });
    afterAll(() => world.close());

    test("query shows what was asked before it, held and waiting", async () => {
      const name = unique();
      const end = deferred();
      const first = locks.request(name, () => end.promise);
      const second = locks.request(name, { mode: "shared" }, () => {});
      const third = locks.request(name, () => {});
      const { held, pending } = await locks.query({ name });
      expect([held.map(({ mode }) => mode), pending.map(({ mode }) => mode)]).toEqual([
        ["exclusive"],
        ["shared", "exclusive"],
      ]);
      end.resolve();
      await Promise.all([first, second, third]);
    });

    test("steal takes the lock from the request before it, whose callback had begun", async () => {
      const name = unique();
      const order: string[] = [];
      const end = deferred();
      const robbed = rejection(
        locks.request(name, async ({ signal }) => {
          order.push("first");
          signal.addEventListener("abort", () => order.push("first is told"));
          await end.promise;
        }),
      );
      await locks.request(name, { steal: true }, () => void order.push("thief"));
      end.resolve();
      expect(await robbed).toMatchObject({ name: "AbortError" });
      expect(order).toEqual(["first", "first is told", "thief"]);
    });

    test("forceRelease takes the lock from the request before it", async () => {
      const name = unique();
      const robbed = enqueue(locks, name);
      const taken = await locks.forceRelease(name);
      expect(taken.map(({ name: lock }) => lock)).toEqual([name]);
      expect(await rejection(robbed.request)).toMatchObject({ name: "AbortError" });
    });

    test("ifAvailable finds the lock as the requests before it left it", async () => {
      const name = unique();
      const first = enqueue(locks, name);
      const shared = locks.request(name, { mode: "shared", ifAvailable: true }, (lock) => lock);
      expect(await shared).toBeNull();
      await (await first.granted, first.end());
    });

    // The servers of a Cluster, and those of redlock, answer when they can.
    test.skipIf(isTopology || scheme === "redlock")(
      "callbacks of different locks begin in the order of their requests",
      async () => {
        const order: number[] = [];
        const names = Array.from({ length: 20 }, (_, i) => unique(`lock ${i}`));
        await Promise.all(names.map((name, i) => locks.request(name, () => void order.push(i))));
        expect(order).toEqual(names.map((_, i) => i));
      },
    );

    test("shared and exclusive requests for one lock begin in the order of their requests", async () => {
      const name = unique();
      const order: number[] = [];
      const modes = ["shared", "shared", "exclusive", "shared", "exclusive", "exclusive", "shared", "shared"] as const;
      await Promise.all(modes.map((mode, i) => locks.request(name, { mode }, () => void order.push(i))));
      expect(order.map((i) => modes[i])).toEqual(modes);
      // On several servers, each draws its own ticket, and readers who are let in together may begin in either order.
      if (scheme !== "redlock" || local > 1) expect(order).toEqual(modes.map((_, i) => i));
    });

    test("a request that follows a release in the same turn comes behind those that wait", async () => {
      const name = unique();
      const holder = await hold(locks, name);
      const order: string[] = [];
      const waiting = locks.request(name, () => void order.push("waited"));
      await turn();
      const released = holder.end();
      const late = locks.request(name, () => void order.push("came late"));
      await Promise.all([released, waiting, late]);
      expect(order).toEqual(["waited", "came late"]);
    });
  });
});
