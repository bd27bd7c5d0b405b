import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import { type Lock, LockError, LockLostError, type LockManager, LockTimeoutError } from "../../../src/index.ts";
import {
  deferred,
  enqueue,
  expectTypeError,
  hold,
  isFree,
  logged,
  type Managers,
  type Open,
  rejection,
  requestWith,
  stateOf,
  turn,
  unique,
  waiting,
} from "../locks.ts";

const shared = { mode: "shared" } as const;

export function additionsSuite(use: () => Managers, open: Open): void {
  describe("waitTimeout", () => {
    test("a request that is not granted in time rejects with LockTimeoutError and its callback never runs", async () => {
      const { locks, other } = use();
      const name = unique();
      const callback = vi.fn();
      const holder = await hold(locks, name);
      const start = performance.now();
      const error = await rejection(other.request(name, { waitTimeout: 60 }, callback));
      expect(performance.now() - start, "not before its time").toBeGreaterThanOrEqual(59);
      expect(error).toBeInstanceOf(LockTimeoutError);
      expect(error).toMatchObject({ name: "LockTimeoutError", code: "timeout" });
      await holder.end();
      await turn();
      expect(callback).not.toHaveBeenCalled();
    });

    test("a request that timed out has left the queue and lets those behind it through", async () => {
      const { locks, other } = use();
      const name = unique();
      const reader = await hold(locks, name, shared);
      const inLine = deferred();
      const writer = other.request(name, { waitTimeout: 300, onWait: () => inLine.resolve() }, () => "wrote");
      const timedOut = rejection(writer); // it may be over before it is known to wait
      await Promise.race([inLine.promise, timedOut]);
      const behind = enqueue(locks, name, shared);
      expect(await timedOut).toBeInstanceOf(LockTimeoutError);
      expect((await behind.granted).mode).toBe("shared");
      expect((await stateOf(locks, name)).pending).toEqual([]);
      await Promise.all([reader.end(), behind.end()]);
    });

    test("a request that is granted in time is not disturbed when the time is over", async () => {
      const { locks } = use();
      // On a busy machine even a free lock takes its time: until one is granted in time.
      for (let waitTimeout = 20; ; waitTimeout *= 2) {
        let isGranted = false;
        const request = locks.request(unique(), { waitTimeout }, async (lock) => {
          isGranted = true;
          await new Promise((resolve) => setTimeout(resolve, waitTimeout + 20));
          return lock.held;
        });
        const result = await request.catch((error: unknown) => error);
        if (isGranted) return expect(result).toBe(true);
        expect(result).toBeInstanceOf(LockTimeoutError);
      }
    });

    test("zero tries once: a free lock is granted, a taken one is refused", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name, { waitTimeout: 0 });
      expect(await rejection(other.request(name, { waitTimeout: 0 }, () => "ran"))).toBeInstanceOf(LockTimeoutError);
      expect((await stateOf(locks, name)).pending).toEqual([]);
      await holder.end();
    });

    test("an abort before the time is over wins, and leaves the queue", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const request = other.request(name, { waitTimeout: 60_000, signal: controller.signal }, () => "ran");
      await waiting(locks, name, 1);
      controller.abort("enough");
      expect(await rejection(request)).toBe("enough");
      await waiting(locks, name, 0);
      await holder.end();
    });

    test("a request that timed out no longer listens to its signal", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const { signal } = new AbortController();
      await rejection(other.request(name, { waitTimeout: 20, signal }, () => "ran"));
      expect(getEventListeners(signal, "abort")).toEqual([]);
      await holder.end();
    });
  });

  describe("acquire and tryAcquire", () => {
    test("acquire resolves with the lock, which is held until it is released", async () => {
      const { locks, other } = use();
      const name = unique();
      const lock = await locks.acquire(name);
      expect([lock.name, lock.mode, lock.held]).toEqual([name, "exclusive", true]);
      expect((await stateOf(other, name)).held).toHaveLength(1);
      expect(await isFree(other, name)).toBe(false);
      expect(await lock.release()).toBe(true);
      expect(await isFree(other, name)).toBe(true);
    });

    test("acquire waits in the same queue as request", async () => {
      const { locks, other } = use();
      const name = unique();
      const log: string[] = [];
      const first = await locks.acquire(name);
      const acquired = async () => {
        const lock = await locks.acquire(name);
        log.push("acquire");
        await lock.release();
      };
      const all = [logged(locks, name, log, "request"), acquired(), logged(locks, name, log, "request"), acquired()];
      await waiting(other, name, 4);
      await first.release();
      await Promise.all(all);
      expect(log).toEqual(["request", "acquire", "request", "acquire"]);
    });

    test("acquire takes the options of request", async () => {
      const { locks, other } = use();
      const name = unique();
      const a = await locks.acquire(name, shared);
      const b = await other.acquire(name, shared);
      expect([a.mode, b.mode]).toEqual(["shared", "shared"]);
      const controller = new AbortController();
      const waiter = locks.acquire(name, { signal: controller.signal });
      waiter.catch(() => undefined);
      await waiting(locks, name, 1);
      controller.abort("no more");
      expect(await rejection(waiter)).toBe("no more");
      expect(await rejection(locks.acquire(name, { waitTimeout: 20 }))).toBeInstanceOf(LockTimeoutError);
      await Promise.all([a.release(), b.release()]);
    });

    test("tryAcquire resolves with the lock if it is free, and with null if it is not", async () => {
      const { locks, other } = use();
      const name = unique();
      const lock = await locks.tryAcquire(name);
      expect(lock?.held).toBe(true);
      expect(await other.tryAcquire(name)).toBe(null);
      expect(await locks.tryAcquire(name, shared)).toBe(null);
      expect((await stateOf(locks, name)).pending).toEqual([]);
      await lock?.release();
      const next = await other.tryAcquire(name, shared);
      expect(next?.mode).toBe("shared");
      await next?.release();
    });

    test("acquire and tryAcquire reject, and never throw, what request refuses", async () => {
      const { locks } = use();
      for (const verb of [locks.acquire, locks.tryAcquire]) {
        const call = (...args: unknown[]) => Reflect.apply(verb as (...all: unknown[]) => unknown, locks, args);
        expectTypeError(await rejection(call() as Promise<unknown>));
        expectTypeError(await rejection(call(1) as Promise<unknown>));
        expectTypeError(await rejection(call("a", "shared") as Promise<unknown>));
        expectTypeError(await rejection(call("a", { mode: "none" }) as Promise<unknown>));
        expect(await rejection(call("-a") as Promise<unknown>)).toMatchObject({ name: "NotSupportedError" });
      }
    });

    test("await using releases the lock at the end of its block, also when the block throws", async () => {
      const { locks, other } = use();
      const name = unique();
      let seen: Lock | undefined;
      {
        await using lock = await locks.acquire(name);
        seen = lock;
        expect(await isFree(other, name)).toBe(false);
      }
      expect(seen.held).toBe(false);
      expect(await isFree(other, name)).toBe(true);

      const thrown = new Error("in the block");
      const block = async () => {
        await using lock = await locks.acquire(name);
        expect(lock.held).toBe(true);
        throw thrown;
      };
      expect(await rejection(block())).toBe(thrown);
      expect(await isFree(other, name)).toBe(true);
    });
  });

  describe("lock", () => {
    test("it is held until released, and never again", async () => {
      const { locks } = use();
      const lock = await locks.acquire(unique());
      expect(lock.held).toBe(true);
      expect(lock.remaining).toBeGreaterThan(0);
      expect(lock.remaining).toBeLessThanOrEqual(30_000);
      const released = lock.release();
      expect(lock.held, "at once, before the server has answered").toBe(false);
      expect(lock.remaining).toBe(0);
      expect(await released).toBe(true);
      expect(lock.held).toBe(false);
    });

    test("releasing is no loss: the lock's signal is not aborted", async () => {
      const { locks } = use();
      const lock = await locks.acquire(unique());
      const { signal } = lock;
      await lock.release();
      expect(signal.aborted).toBe(false);
      expect(await locks.request(unique(), (each) => each.signal)).toMatchObject({ aborted: false });
    });

    test("releasing again does nothing: it says false and does not free the next holder's lock", async () => {
      const { locks, other } = use();
      const name = unique();
      const first = await locks.acquire(name);
      expect(await first.release()).toBe(true);
      const second = await other.acquire(name);
      expect(await first.release()).toBe(false);
      await first[Symbol.asyncDispose]();
      expect(second.held).toBe(true);
      expect(await isFree(locks, name)).toBe(false);
      await second.release();
    });

    test("releasing twice at once frees the lock once and both calls resolve", async () => {
      const { locks, other } = use();
      const name = unique();
      const lock = await locks.acquire(name);
      await Promise.all([lock.release(), lock.release(), lock[Symbol.asyncDispose]()]);
      expect(await isFree(other, name)).toBe(true);
    });

    test("a callback may release early: the next one gets in and the request gives the callback's result", async () => {
      const { locks, other } = use();
      const name = unique();
      const result = await locks.request(name, async (lock) => {
        await lock.release();
        expect(lock.held).toBe(false);
        expect(await isFree(other, name)).toBe(true);
        return "the callback's";
      });
      expect(result).toBe("the callback's");
    });

    test("extend makes the lease longer and never shorter", async () => {
      const { locks } = use();
      const lock = await locks.acquire(unique(), { ttl: 5_000, renew: false });
      expect(lock.remaining).toBeLessThanOrEqual(5_000);
      await lock.extend(20_000);
      expect(lock.remaining).toBeGreaterThan(15_000);
      await lock.extend(1_000);
      expect(lock.remaining).toBeGreaterThan(15_000);
      await lock.release();
    });

    test("extending a lock that is no longer held rejects with LockLostError", async () => {
      const { locks, other } = use();
      const name = unique();
      const lock = await locks.acquire(name);
      await lock.release();
      expect(await rejection(lock.extend())).toBeInstanceOf(LockError);
      const stolen = await locks.acquire(name);
      await other.request(name, { steal: true }, () => undefined);
      const error = await rejection(stolen.extend());
      expect(error).toBeInstanceOf(LockLostError);
      expect(error).toMatchObject({ code: "lost", reason: "stolen" });
    });

    test("every token is another", async () => {
      const { locks, other } = use();
      const name = unique();
      const tokens: string[] = [];
      for (const manager of [locks, other, locks, other])
        tokens.push(await manager.request(name, (lock) => lock.token));
      expect(new Set(tokens).size).toBe(4);
    });
  });

  describe("fence", () => {
    test("it grows strictly with every grant, over two managers and all ways to take the lock", async () => {
      const { locks, other } = use();
      const name = unique();
      const fences: number[] = [];
      const note = (lock: Lock | null) => void fences.push(lock?.fence ?? Number.NaN);
      const take = async (lock: Lock | null) => {
        note(lock);
        await lock?.release();
      };
      for (const manager of [locks, other, other, locks]) {
        await manager.request(name, note);
        await manager.request(name, shared, note);
        await manager.request(name, { ifAvailable: true }, note);
        await take(await manager.acquire(name));
        await take(await manager.tryAcquire(name));
        await manager.request(name, { steal: true }, note);
      }
      expect(fences).toHaveLength(24);
      expect(fences.every(Number.isSafeInteger)).toBe(true);
      expect(fences).toEqual([...new Set(fences)].toSorted((a, b) => a - b));
    });

    test("it grows strictly along the queue", async () => {
      const { locks, other } = use();
      const name = unique();
      const fences: number[] = [];
      const note = async (lock: Lock) => {
        fences.push(lock.fence);
        await turn();
      };
      await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? locks : other).request(name, note)));
      expect(fences).toHaveLength(30);
      expect(fences).toEqual([...new Set(fences)].toSorted((a, b) => a - b));
    });

    test("shared holders at the same time each have their own", async () => {
      const { locks, other } = use();
      const name = unique();
      const holders = [
        await hold(locks, name, shared),
        await hold(other, name, shared),
        await hold(locks, name, shared),
      ];
      const fences = holders.map((each) => each.lock.fence);
      expect(fences).toEqual([...new Set(fences)].toSorted((a, b) => a - b));
      await Promise.all(holders.map((each) => each.end()));
    });

    test("a thief's fence is larger than its victim's, so that a guarded resource refuses the victim", async () => {
      const { locks, other } = use();
      const name = unique();
      const victim = await hold(locks, name);
      const thief = await hold(other, name, { steal: true });
      expect(thief.lock.fence).toBeGreaterThan(victim.lock.fence);
      await Promise.all([victim.end(), thief.end()]);
    });
  });

  describe("values that are refused before anything is sent", () => {
    const bad: [string, unknown][] = [
      ["zero", 0],
      ["negative", -1],
      ["one less than the least", 49],
      ["a fraction", 1.5],
      ["a larger fraction", 100.5],
      ["NaN", Number.NaN],
      ["Infinity", Number.POSITIVE_INFINITY],
      ["a string", "1000"],
      ["a bigint", 1000n],
      ["null", null],
      ["a date", new Date()],
      ["no safe integer", 2 ** 53],
    ];
    const cases = ["ttl", "maxHold", "waitTimeout"].flatMap((option) =>
      bad.map(([what, value]): [string, string, unknown] => [option, what, value]),
    );

    test.each(cases.filter(([option, , value]) => !(option === "waitTimeout" && (value === 0 || value === 49))))(
      "%s that is %s",
      async (option, _, value) => {
        const { locks, other } = use();
        const name = unique();
        const callback = vi.fn();
        for (const call of [
          requestWith(locks, name, { [option]: value }, callback),
          locks.acquire(name, { [option]: value }),
        ]) {
          const error = await rejection(call);
          if (typeof value === "number") expect(error).toBeInstanceOf(RangeError);
          else expectTypeError(error);
          expect((error as Error).message).toContain(`Expected ${option} to be`);
        }
        expect(await stateOf(other, name)).toEqual({ held: [], pending: [] });
        await turn();
        expect(callback).not.toHaveBeenCalled();
      },
    );

    test.each<[string, Record<string, unknown>]>([
      ["renew that is no boolean", { renew: "yes" }],
      ["label that is no string", { label: 1 }],
      ["waitTimeout with ifAvailable", { waitTimeout: 10, ifAvailable: true }],
      ["waitTimeout with steal", { waitTimeout: 10, steal: true }],
    ])("%s", async (_, options) => {
      const { locks } = use();
      const name = unique();
      const callback = vi.fn();
      expectTypeError(await rejection(requestWith(locks, name, options, callback)));
      await turn();
      expect(callback).not.toHaveBeenCalled();
      expect(await stateOf(locks, name)).toEqual({ held: [], pending: [] });
    });

    test("the shortest ttl, 50 ms, is taken, and so is a long one", async () => {
      const { locks } = use();
      expect(await locks.request(unique(), { ttl: 50 }, () => "ran")).toBe("ran");
      expect(await locks.request(unique(), { ttl: 86_400_000 }, () => "ran")).toBe("ran");
    });
  });

  describe("close", () => {
    const closed = { name: "LockError", code: "closed" };

    test("a closed manager refuses every verb with LockError, code closed", async () => {
      const { locks, close } = await open();
      await locks.close();
      const callback = vi.fn();
      for (const refused of [
        locks.request(unique(), callback),
        locks.request(unique(), { ifAvailable: true }, callback),
        locks.request(unique(), { steal: true }, callback),
        locks.acquire(unique()),
        locks.tryAcquire(unique()),
        locks.query(),
      ]) {
        const error = await rejection(refused);
        expect(error).toBeInstanceOf(LockError);
        expect(error).toMatchObject(closed);
      }
      expect(callback).not.toHaveBeenCalled();
      await close();
    });

    test("closing releases what is held", async () => {
      const { other } = use();
      const name = unique();
      const { locks, close } = await open();
      const lock = await locks.acquire(name);
      const reader = await hold(locks, `${name} too`, shared);
      await locks.close({ timeout: 0 });
      expect([lock.held, reader.lock.held]).toEqual([false, false]);
      expect(await isFree(other, name)).toBe(true);
      expect(await isFree(other, `${name} too`)).toBe(true);
      await reader.end();
      await close();
    });

    test("closing withdraws what waits: it rejects with code closed and leaves the queue", async () => {
      const { other } = use();
      const name = unique();
      const { locks, close } = await open();
      const holder = await hold(other, name);
      const callback = vi.fn();
      const waiters = [locks.request(name, callback), locks.acquire(name)];
      const refusals = Promise.all(waiters.map((each) => rejection(each)));
      await waiting(other, name, 2);
      await locks.close();
      for (const error of await refusals) expect(error).toMatchObject(closed);
      await waiting(other, name, 0);
      await holder.end();
      expect(callback).not.toHaveBeenCalled();
      await close();
    });

    test("closing twice, or both at once, does nothing more", async () => {
      const { locks, close } = await open();
      await Promise.all([locks.close(), locks.close()]);
      await locks.close();
      await close();
    });

    test("closing one manager leaves the locks of another alone", async () => {
      const { other } = use();
      const holder = await hold(other, unique());
      const { locks, close } = await open();
      await locks.request(unique(), () => undefined);
      await locks.close();
      expect(holder.lock.held).toBe(true);
      await close();
      await holder.end();
      await holder.request;
    });

    test("a manager that is closed meanwhile forces nobody's release any more", async () => {
      const { other } = use();
      const holder = await hold(other, unique());
      const { locks, close } = await open();
      const forced = rejection(locks.forceRelease(holder.lock.name));
      await locks.close();
      expect(await forced).toMatchObject({ name: "LockError", code: "closed" });
      await holder.lock.extend();
      await close();
      await holder.end();
    });

    test("await using closes the manager at the end of its block", async () => {
      const opened = await open();
      let seen: LockManager | undefined;
      {
        await using locks = opened.locks;
        seen = locks;
        expect(await locks.request(unique(), () => "ran")).toBe("ran");
      }
      expect(await rejection(seen.query())).toMatchObject(closed);
      await opened.close();
    });
  });
}
