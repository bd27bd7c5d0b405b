import { describe, expect, test } from "vitest";
import {
  deferred,
  enqueue,
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

const shared = { mode: "shared" } as const;

export function queueSuite(use: () => Managers, order: Order): void {
  describe("queue", () => {
    test("an exclusive lock has one holder at a time, over two managers", async () => {
      const { locks, other } = use();
      const name = unique();
      let [inside, most, runs] = [0, 0, 0];
      const work = async () => {
        most = Math.max(most, ++inside);
        await turn();
        await turn();
        inside--;
        runs++;
      };
      await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? locks : other).request(name, work)));
      expect({ most, runs }).toEqual({ most: 1, runs: 40 });
    });

    test("exclusive requests are granted in the order in which they were made", async () => {
      const { locks } = use();
      const name = unique();
      const log: string[] = [];
      const entries = Array.from({ length: 30 }, (_, i) => `request ${i}`);
      await Promise.all(entries.map((entry) => logged(locks, name, log, entry)));
      expect(log).toEqual(entries);
    });

    if (order === "strict")
      test("requests of two managers are granted in the order in which they came to wait", async () => {
        const { locks, other } = use();
        const name = unique();
        const holder = await hold(locks, name);
        const log: string[] = [];
        const requests: Promise<void>[] = [];
        for (const [i, manager] of [other, locks, locks, other, locks, other].entries()) {
          requests.push(logged(manager, name, log, `request ${i}`));
          await waiting(locks, name, i + 1);
        }
        await holder.end();
        await Promise.all(requests);
        expect(log).toEqual(["request 0", "request 1", "request 2", "request 3", "request 4", "request 5"]);
      });

    test("a request of the holder's own manager waits like any other", async () => {
      const { locks } = use();
      const name = unique();
      const log: string[] = [];
      let inner: Promise<void> | undefined;
      await locks.request(name, async () => {
        inner = logged(locks, name, log, "inner");
        await waiting(locks, name, 1);
        expect(await isFree(locks, name), "a lock is not reentrant").toBe(false);
        log.push("outer ends");
      });
      await inner;
      expect(log).toEqual(["outer ends", "inner"]);
    });

    test("a callback may request locks of other names", async () => {
      const { locks } = use();
      const [a, b] = [unique("a"), unique("b")];
      const both = await locks.request(a, () => locks.request(b, async () => (await locks.query()).held.length));
      expect(both).toBe(2);
    });

    test("any number of shared holders hold at the same time, over two managers", async () => {
      const { locks, other } = use();
      const name = unique();
      const everyone = deferred();
      let inside = 0;
      const meet = async () => {
        if (++inside === 12) everyone.resolve();
        await everyone.promise;
      };
      await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 2 ? locks : other).request(name, shared, meet)));
      expect(inside).toBe(12);
    });

    test("an exclusive request waits until the last shared holder has gone", async () => {
      const { locks, other } = use();
      const name = unique();
      const readers = [
        await hold(locks, name, shared),
        await hold(other, name, shared),
        await hold(locks, name, shared),
      ];
      const writer = enqueue(other, name);
      await waiting(locks, name, 1);
      for (const [i, reader] of readers.entries()) {
        expect(await stateOf(locks, name), `with ${i} readers gone`).toMatchObject({
          held: readers.slice(i).map(() => shared),
          pending: [{ mode: "exclusive" }],
        });
        await reader.end();
      }
      expect((await writer.granted).mode).toBe("exclusive");
      await writer.end();
    });

    test("shared requests wait while the lock is held exclusively, then hold together", async () => {
      const { locks, other } = use();
      const name = unique();
      const writer = await hold(locks, name);
      const readers = [enqueue(locks, name, shared), enqueue(other, name, shared), enqueue(locks, name, shared)];
      await waiting(locks, name, 3);
      expect((await stateOf(locks, name)).held).toMatchObject([{ mode: "exclusive" }]);
      await writer.end();
      await Promise.all(readers.map((each) => each.granted));
      expect((await stateOf(locks, name)).held).toMatchObject([shared, shared, shared]);
      await Promise.all(readers.map((each) => each.end()));
    });

    test("a shared request does not pass a waiting exclusive one, though the holders share", async () => {
      const { locks, other } = use();
      const name = unique();
      const log: string[] = [];
      const reader = await hold(locks, name, shared);
      const writer = enqueue(other, name);
      await waiting(locks, name, 1);
      const late = [logged(locks, name, log, "late", shared), logged(other, name, log, "late", shared)];
      await waiting(locks, name, 3);
      await reader.end();
      await writer.granted;
      await turn();
      expect(log).toEqual([]);
      // The one of the writer's manager takes a place of its own only now.
      await waiting(locks, name, 2);
      expect(await stateOf(locks, name)).toMatchObject({ held: [{ mode: "exclusive" }], pending: [shared, shared] });
      await writer.end();
      await Promise.all(late);
      expect(log).toEqual(["late", "late"]);
    });

    test("an exclusive request does not pass waiting shared ones", async () => {
      const { locks } = use();
      const name = unique();
      const log: string[] = [];
      const holder = await hold(locks, name);
      const all = [
        logged(locks, name, log, "reader", shared),
        logged(locks, name, log, "reader", shared),
        logged(locks, name, log, "writer"),
        logged(locks, name, log, "reader behind", shared),
        logged(locks, name, log, "reader behind", shared),
        logged(locks, name, log, "writer behind"),
      ];
      await waiting(locks, name, 6);
      await holder.end();
      await Promise.all(all);
      expect(log).toEqual(["reader", "reader", "writer", "reader behind", "reader behind", "writer behind"]);
    });

    test("only the shared requests before the next exclusive one are let in together", async () => {
      const { locks } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const [a, b] = [enqueue(locks, name, shared), enqueue(locks, name, shared)];
      const writer = enqueue(locks, name);
      const c = enqueue(locks, name, shared);
      await waiting(locks, name, 4);
      await holder.end();
      await Promise.all([a.granted, b.granted]);
      expect(await stateOf(locks, name)).toMatchObject({
        held: [shared, shared],
        pending: [{ mode: "exclusive" }, shared],
      });
      await Promise.all([a.end(), b.end()]);
      await writer.granted;
      expect(await stateOf(locks, name)).toMatchObject({ held: [{ mode: "exclusive" }], pending: [shared] });
      await writer.end();
      await c.granted;
      await c.end();
    });

    test("a withdrawn exclusive request frees the shared ones behind it", async () => {
      const { locks, other } = use();
      const name = unique();
      const reader = await hold(locks, name, shared);
      const controller = new AbortController();
      const writer = enqueue(other, name, { signal: controller.signal });
      await waiting(locks, name, 1);
      const behind = [enqueue(locks, name, shared), enqueue(other, name, shared)];
      await waiting(locks, name, 3);
      controller.abort();
      await Promise.all(behind.map((each) => each.granted));
      expect(await stateOf(locks, name)).toMatchObject({ held: [shared, shared, shared], pending: [] });
      expect(await rejection(writer.request)).toBe(controller.signal.reason);
      await Promise.all([reader, ...behind].map((each) => each.end()));
    });

    test("a withdrawn request leaves the others in their order", async () => {
      const { locks } = use();
      const name = unique();
      const log: string[] = [];
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const before = [logged(locks, name, log, "a"), logged(locks, name, log, "b")];
      const withdrawn = logged(locks, name, log, "withdrawn", { signal: controller.signal });
      const after = [logged(locks, name, log, "c"), logged(locks, name, log, "d")];
      await waiting(locks, name, 5);
      controller.abort();
      await rejection(withdrawn);
      await waiting(locks, name, 4);
      await holder.end();
      await Promise.all([...before, ...after]);
      expect(log).toEqual(["a", "b", "c", "d"]);
    });

    test("a callback that fails lets the next one in", async () => {
      const { locks, other } = use();
      const name = unique();
      const gate = deferred();
      const log: string[] = [];
      const failing = locks.request(name, () => gate.promise);
      const next = logged(locks, name, log, "next");
      await waiting(locks, name, 1);
      const last = logged(other, name, log, "last");
      await waiting(locks, name, 2);
      gate.reject(new Error("failed"));
      expect(await rejection(failing)).toEqual(new Error("failed"));
      await Promise.all([next, last]);
      // A turn that is over by then goes on behind the other manager.
      expect(order === "strict" ? log : log.toSorted().toReversed()).toEqual(["next", "last"]);
    });

    test("a request that does not wait takes no place in the queue", async () => {
      const { locks, other } = use();
      const name = unique();
      const log: string[] = [];
      const holder = await hold(locks, name);
      const waiter = logged(other, name, log, "waiter");
      await waiting(locks, name, 1);
      expect(await isFree(other, name)).toBe(false);
      expect((await stateOf(locks, name)).pending).toHaveLength(1);
      await holder.end();
      await waiter;
      expect(log).toEqual(["waiter"]);
    });

    test("fifty requests on fifty locks each have their own queue", async () => {
      const { locks, other } = use();
      const names = Array.from({ length: 50 }, () => unique());
      const logs = await Promise.all(
        names.map(async (name) => {
          const log: string[] = [];
          const entries = ["a", "b", "c"];
          await Promise.all([...entries.map((entry) => logged(locks, name, log, entry)), other.request(name, turn)]);
          return log.join();
        }),
      );
      expect(new Set(logs)).toEqual(new Set(["a,b,c"]));
    });
  });
}
