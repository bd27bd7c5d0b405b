import { describe, expect, test } from "vitest";
import { LockLostError } from "../../../src/index.ts";
import {
  deferred,
  enqueue,
  expectDOMException,
  hold,
  isFree,
  logged,
  type Managers,
  type Order,
  rejection,
  stateOf,
  turn,
  unique,
  waiting,
} from "../locks.ts";
import { until } from "../until.ts";

const steal = { steal: true } as const;
const shared = { mode: "shared" } as const;

/** Both ways round: within one process, where nothing has to be told, and between two. */
const THIEVES = [
  ["of the same manager", "locks"],
  ["of another manager", "other"],
] as const;

export function stealSuite(use: () => Managers, order: Order): void {
  describe("steal", () => {
    test("a free lock is granted as if it had been asked for plainly", async () => {
      const { locks, other } = use();
      const name = unique();
      const thief = await hold(locks, name, steal);
      expect([thief.lock.name, thief.lock.mode]).toEqual([name, "exclusive"]);
      expect(await isFree(other, name)).toBe(false);
      await thief.end();
      expect(await isFree(other, name)).toBe(true);
    });

    test.each(THIEVES)(
      "the holder's request rejects with AbortError while its callback still runs: thief %s",
      async (_, who) => {
        const { locks, [who]: robber } = use();
        const name = unique();
        const victim = await hold(locks, name);
        const thief = await hold(robber, name, steal);
        expectDOMException(await rejection(victim.request), "AbortError");
        expect((await stateOf(locks, name)).held).toHaveLength(1);
        expect(thief.lock.held).toBe(true);
        await Promise.all([thief.end(), victim.end()]);
      },
    );

    test("the stolen callback goes on to its end", async () => {
      const { locks, other } = use();
      const name = unique();
      const gate = deferred();
      const running = deferred();
      const ended = deferred<string>();
      const victim = locks.request(name, async () => {
        running.resolve();
        await gate.promise;
        ended.resolve("went on");
      });
      victim.catch(() => undefined);
      await running.promise;
      await other.request(name, steal, () => "stolen");
      expectDOMException(await rejection(victim), "AbortError");
      gate.resolve();
      expect(await ended.promise).toBe("went on");
    });

    test.each(THIEVES)(
      "the stolen lock says so: not held, nothing remains, its signal tells why: thief %s",
      async (_, who) => {
        const { locks, [who]: robber } = use();
        const name = unique();
        const victim = await hold(locks, name);
        const { signal } = victim.lock;
        expect(signal.aborted).toBe(false);
        await robber.request(name, steal, () => undefined);
        await until(() => signal.aborted, "the victim knew");
        expect(victim.lock.held).toBe(false);
        expect(victim.lock.remaining).toBe(0);
        expect(signal.reason).toBeInstanceOf(LockLostError);
        expect(signal.reason).toMatchObject({ code: "lost", reason: "stolen" });
        await victim.end();
      },
    );

    test("every shared holder is robbed", async () => {
      const { locks, other } = use();
      const name = unique();
      const victims = [
        await hold(locks, name, shared),
        await hold(other, name, shared),
        await hold(locks, name, shared),
      ];
      const thief = await hold(other, name, steal);
      expect((await stateOf(locks, name)).held).toMatchObject([{ mode: "exclusive" }]);
      for (const victim of victims) expectDOMException(await rejection(victim.request), "AbortError");
      await Promise.all([thief, ...victims].map((each) => each.end()));
    });

    test("a thief can be robbed", async () => {
      const { locks, other } = use();
      const name = unique();
      const victim = await hold(locks, name);
      const first = await hold(other, name, steal);
      const second = await hold(locks, name, steal);
      expectDOMException(await rejection(victim.request), "AbortError");
      expectDOMException(await rejection(first.request), "AbortError");
      expect(second.lock.held).toBe(true);
      await Promise.all([victim.end(), first.end()]);
      expect((await stateOf(other, name)).held).toHaveLength(1);
      await second.end();
    });

    if (order === "strict")
      test("the thief comes before all who wait, and they keep their order behind it", async () => {
        const { locks, other } = use();
        const name = unique();
        const log: string[] = [];
        const victim = await hold(locks, name);
        const waiters: Promise<void>[] = [];
        for (const [i, manager] of [locks, other, locks].entries()) {
          waiters.push(logged(manager, name, log, `waiter ${i}`));
          await waiting(locks, name, i + 1);
        }
        const thief = await hold(other, name, steal);
        log.push("thief");
        // Over several nodes, one may have lost the vote of a single node to the thief: it asks again.
        await waiting(locks, name, 3);
        await thief.end();
        await Promise.all(waiters);
        expect(log).toEqual(["thief", "waiter 0", "waiter 1", "waiter 2"]);
        await victim.end();
      });

    test("stealing leaves those who wait in peace: none of them rejects", async () => {
      const { locks, other } = use();
      const name = unique();
      const victim = await hold(locks, name);
      const waiters = [enqueue(locks, name, shared), enqueue(locks, name, shared)];
      await waiting(locks, name, 2);
      await other.request(name, steal, () => undefined);
      expect((await Promise.all(waiters.map((each) => each.granted))).map((lock) => lock.held)).toEqual([true, true]);
      await Promise.all([victim, ...waiters].map((each) => each.end()));
      await Promise.all(waiters.map((each) => each.request));
    });

    test("the end of the stolen callback does not free the thief's lock", async () => {
      const { locks, other } = use();
      const name = unique();
      const log: string[] = [];
      const victim = await hold(locks, name);
      const thief = await hold(other, name, steal);
      const next = logged(locks, name, log, "next");
      await waiting(locks, name, 1);
      await victim.end();
      await victim.lock.release();
      await turn();
      expect(await stateOf(locks, name)).toMatchObject({
        held: [{ mode: "exclusive" }],
        pending: [{ mode: "exclusive" }],
      });
      expect(thief.lock.held).toBe(true);
      expect(log).toEqual([]);
      await thief.end();
      await next;
    });

    test("the thief's result and the thief's error are those of its own callback", async () => {
      const { locks, other } = use();
      const name = unique();
      const victim = await hold(locks, name);
      expect(await other.request(name, steal, async () => "loot")).toBe("loot");
      const thrown = new Error("bad conscience");
      expect(await rejection(other.request(name, steal, () => Promise.reject(thrown)))).toBe(thrown);
      await victim.end();
    });

    test("what the stolen callback returns later is not what its request gave", async () => {
      const { locks, other } = use();
      const name = unique();
      const gate = deferred<string>();
      const running = deferred();
      const victim = locks.request(name, () => {
        running.resolve();
        return gate.promise;
      });
      victim.catch(() => undefined);
      await running.promise;
      await other.request(name, steal, () => undefined);
      const error = await rejection(victim);
      gate.resolve("too late");
      await turn();
      expect(await rejection(victim)).toBe(error);
    });

    test.each(THIEVES)("a rejection of the stolen callback is no unhandled rejection: thief %s", async (_, who) => {
      const { locks, [who]: robber } = use();
      const name = unique();
      const unhandled: unknown[] = [];
      const listener = (reason: unknown) => unhandled.push(reason);
      process.on("unhandledRejection", listener);
      try {
        const gate = deferred();
        const running = deferred();
        const victim = locks.request(name, () => {
          running.resolve();
          return gate.promise;
        });
        victim.catch(() => undefined); // it is rejected before we look
        await running.promise;
        await robber.request(name, steal, () => undefined);
        expectDOMException(await rejection(victim), "AbortError");
        gate.reject(new Error("failed after it was stolen"));
        for (let round = 0; round < 5; round++) await turn();
        expect(unhandled).toEqual([]);
      } finally {
        process.off("unhandledRejection", listener);
      }
    });

    test("only the lock of that name is stolen", async () => {
      const { locks, other } = use();
      const [name, bystander] = [unique(), unique()];
      const holder = await hold(locks, bystander);
      await other.request(name, steal, () => undefined);
      expect(holder.lock.held).toBe(true);
      await holder.end();
      await holder.request;
    });

    test("of thieves at the same time the last one holds, and the others reject with AbortError", async () => {
      const { locks } = use();
      const name = unique();
      const thieves = Array.from({ length: 4 }, () => enqueue(locks, name, steal));
      const last = thieves.pop();
      expect((await last?.granted)?.held).toBe(true);
      for (const thief of thieves) expectDOMException(await rejection(thief.request), "AbortError");
      expect((await stateOf(locks, name)).held).toHaveLength(1);
      await Promise.all(thieves.map((each) => each.end()));
      expect((await stateOf(locks, name)).held, "their ends free nothing").toHaveLength(1);
      await last?.end();
      await last?.request;
    });
  });
}
