import { describe, expect, test } from "vitest";
import {
  deferred,
  hold,
  isFree,
  type Managers,
  rejection,
  requestWith,
  stateOf,
  turn,
  unique,
  waiting,
} from "../locks.ts";

export function resultSuite(use: () => Managers): void {
  describe("callback and result of request", () => {
    test.each([
      ["free lock", {}],
      ["free lock, not waiting", { ifAvailable: true }],
      ["free lock, stealing", { steal: true }],
    ])("the callback does not run before request has returned: %s", async (_, options) => {
      const { locks } = use();
      let returned = false;
      const request = locks.request(unique(), options, () => returned);
      returned = true;
      expect(await request, "whether request had returned").toBe(true);
    });

    test("the callback that is told null does not run before request has returned", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(other, name);
      let returned = false;
      const request = locks.request(name, { ifAvailable: true }, (lock) => [lock, returned]);
      returned = true;
      expect(await request).toEqual([null, true]);
      await holder.end();
    });

    test("the callback is called once, with the lock as its only argument and without this", async () => {
      const { locks } = use();
      const name = unique();
      const calls: { self: unknown; args: unknown[] }[] = [];
      const lock = await requestWith(locks, name, function (this: unknown, ...args: unknown[]) {
        calls.push({ self: this, args });
        return args[0];
      });
      await turn();
      expect(calls).toEqual([{ self: undefined, args: [lock] }]);
    });

    test.each(["exclusive", "shared"] as const)("the lock says its name and its mode: %s", async (mode) => {
      const { locks } = use();
      const name = unique();
      const said = await locks.request(name, { mode }, (lock) => ({ name: lock.name, mode: lock.mode }));
      expect(said).toEqual({ name, mode });
    });

    test("the name and the mode of a lock cannot be written", async () => {
      const { locks } = use();
      const name = unique();
      await locks.request(name, (lock) => {
        expect(() => Object.assign(lock, { name: "another" })).toThrow(TypeError);
        expect(() => Object.assign(lock, { mode: "shared" })).toThrow(TypeError);
        expect([lock.name, lock.mode]).toEqual([name, "exclusive"]);
      });
    });

    test("each grant has a lock object of its own", async () => {
      const { locks } = use();
      const name = unique();
      const [a, b] = [await locks.request(name, (lock) => lock), await locks.request(name, (lock) => lock)];
      expect(a).not.toBe(b);
    });

    test.each([
      ["undefined", undefined],
      ["null", null],
      ["a number", 42],
      ["a string", "done"],
      ["an error that is returned, not thrown", new Error("a value")],
    ])("request resolves with what the callback returns: %s", async (_, value) => {
      const { locks } = use();
      expect(await locks.request(unique(), () => value)).toBe(value);
      expect(await locks.request(unique(), async () => value)).toBe(value);
    });

    test("request resolves with what a thenable of any make resolves with", async () => {
      const { locks } = use();
      const thenable = { then: (resolve: (value: string) => void) => setImmediate(resolve, "of the thenable") };
      expect(await locks.request(unique(), () => thenable)).toBe("of the thenable");
    });

    test("request rejects with what a thenable of any make rejects with", async () => {
      const { locks } = use();
      const name = unique();
      const thenable = { then: (_: unknown, reject: (reason: string) => void) => setImmediate(reject, "refused") };
      expect(await rejection(locks.request(name, () => thenable))).toBe("refused");
      expect(await isFree(locks, name)).toBe(true);
    });

    test("a thenable whose then throws rejects the request and frees the lock", async () => {
      const { locks } = use();
      const name = unique();
      const thrown = new Error("then() failed");
      const thenable = {
        get then(): never {
          throw thrown;
        },
      };
      expect(await rejection(locks.request(name, () => thenable))).toBe(thrown);
      expect(await isFree(locks, name)).toBe(true);
    });

    test.each([
      ["an error", new Error("the user's own")],
      ["a string", "no error at all"],
      ["undefined", undefined],
      ["null", null],
    ])("request rejects with the very thing the callback throws: %s", async (_, thrown) => {
      const { locks } = use();
      const name = unique();
      const throwing = (): never => {
        throw thrown;
      };
      expect(await rejection(locks.request(name, throwing))).toBe(thrown);
      expect(await isFree(locks, name), "free after a throw").toBe(true);
      expect(await rejection(locks.request(name, async () => throwing()))).toBe(thrown);
      expect(await isFree(locks, name), "free after a rejection").toBe(true);
    });

    test("request is settled only after the callback's promise is", async () => {
      const { locks } = use();
      const holder = await hold(locks, unique());
      let settled = false;
      const watch = holder.request.then(() => (settled = true));
      await locks.query();
      await turn();
      expect(settled).toBe(false);
      await holder.end();
      await watch;
      expect(settled).toBe(true);
    });

    test("the lock is held until the callback's promise settles, not only while the callback runs", async () => {
      const { locks, other } = use();
      const name = unique();
      const gate = deferred();
      const running = deferred();
      const request = locks.request(name, () => {
        running.resolve();
        return gate.promise;
      });
      await running.promise;
      const after = other.request(name, () => "next");
      await waiting(other, name, 1);
      expect((await stateOf(other, name)).held).toHaveLength(1);
      gate.resolve();
      expect(await after).toBe("next");
      await request;
    });

    test("when request is fulfilled the lock is no longer held", async () => {
      const { locks, other } = use();
      const name = unique();
      for (let round = 0; round < 5; round++) {
        await locks.request(name, async () => turn());
        expect(await stateOf(other, name)).toEqual({ held: [], pending: [] });
        expect(await isFree(other, name)).toBe(true);
      }
    });

    test("when request is rejected by its callback the lock is no longer held", async () => {
      const { locks, other } = use();
      const name = unique();
      await rejection(locks.request(name, () => Promise.reject(new Error("failed"))));
      expect(await stateOf(other, name)).toEqual({ held: [], pending: [] });
      expect(await isFree(other, name)).toBe(true);
    });
  });

  describe("ifAvailable", () => {
    test("a free lock is granted", async () => {
      const { locks } = use();
      const name = unique();
      const got = await locks.request(name, { ifAvailable: true }, (lock) => [lock?.name, lock?.mode]);
      expect(got).toEqual([name, "exclusive"]);
    });

    test.each(["exclusive", "shared"] as const)("a lock held exclusively is answered with null: %s", async (mode) => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      for (const manager of [locks, other]) {
        expect(await manager.request(name, { ifAvailable: true, mode }, (lock) => lock)).toBe(null);
      }
      await holder.end();
    });

    test("a lock held shared is granted shared and answered with null exclusively", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name, { mode: "shared" });
      expect(await other.request(name, { ifAvailable: true, mode: "shared" }, (lock) => lock?.mode)).toBe("shared");
      expect(await other.request(name, { ifAvailable: true }, (lock) => lock)).toBe(null);
      await holder.end();
    });

    test("a shared request is answered with null when an exclusive one waits, though all holders share", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name, { mode: "shared" });
      const writer = locks.request(name, () => "wrote");
      await waiting(other, name, 1);
      expect(await other.request(name, { ifAvailable: true, mode: "shared" }, (lock) => lock)).toBe(null);
      await holder.end();
      expect(await writer).toBe("wrote");
    });

    test("a lock is held while its callback runs, though it was asked for with ifAvailable", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name, { ifAvailable: true });
      expect(await isFree(other, name)).toBe(false);
      await holder.end();
      expect(await isFree(other, name)).toBe(true);
    });

    test("what the callback makes of null is what request resolves or rejects with", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const options = { ifAvailable: true } as const;
      expect(await other.request(name, options, (lock) => ["got", lock])).toEqual(["got", null]);
      expect(await other.request(name, options, async (lock) => ["got", lock])).toEqual(["got", null]);
      const thrown = new Error("I wanted it");
      const throwing = (): never => {
        throw thrown;
      };
      expect(await rejection(other.request(name, options, throwing))).toBe(thrown);
      expect(await rejection(other.request(name, options, async () => throwing()))).toBe(thrown);
      await holder.end();
    });

    test("a callback that was told null neither waits nor holds, and its end frees nobody's lock", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const gate = deferred();
      const told = deferred<unknown>();
      const refused = other.request(name, { ifAvailable: true }, (lock) => {
        told.resolve(lock);
        return gate.promise;
      });
      expect(await told.promise).toBe(null);
      const tokens = async () => (await stateOf(other, name)).held.map((each) => each.token);
      expect(await tokens()).toEqual([holder.lock.token]);
      expect((await stateOf(other, name)).pending).toEqual([]);
      gate.resolve();
      await refused;
      expect(await tokens()).toEqual([holder.lock.token]);
      expect(await isFree(other, name)).toBe(false);
      await holder.end();
    });
  });
}
