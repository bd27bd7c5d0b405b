/** Requests inside requests of the same lock, on every scheme. */
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { LockError, LockLostError, LockTimeoutError } from "../src/index.ts";
import type { Lock, LockManager } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { deferred, expectDOMException, expectTypeError, isFree, rejection, turn, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

const reentrant = { reentrant: true } as const;

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;

  beforeAll(async () => {
    world = await open();
    a = await world.manager();
    b = await world.manager();
  });
  afterAll(() => world.close());

  test("a nested request runs at once with the same lease and fence, and only the outermost end releases", async () => {
    const name = unique();
    await a.request(name, reentrant, async (outer) => {
      await turn();
      const inner = await a.request(name, reentrant, async (lock) => {
        expect([lock.fence, lock.token, lock.held]).toEqual([outer.fence, outer.token, true]);
        return lock;
      });
      expect(inner.held).toBe(false);
      expect(outer.held).toBe(true);
      expect(await isFree(b, name)).toBe(false);
    });
    expect(await isFree(b, name)).toBe(true);
  });

  test("acquire and tryAcquire inside take part too, however deep", async () => {
    const name = unique();
    await a.request(name, reentrant, async (outer) => {
      await sleep(1);
      const one = await a.acquire(name, reentrant);
      const two = await Promise.resolve().then(() => a.tryAcquire(name, reentrant));
      expect([one.fence, two?.fence]).toEqual([outer.fence, outer.fence]);
      expect(await one.release()).toBe(true);
      expect(await one.release()).toBe(false);
      expect(await rejection(one.extend())).toMatchObject({ code: "released" });
      await two?.extend(60_000);
      expect(outer.remaining).toBeGreaterThan(50_000);
      await two?.release();
    });
    expect(await isFree(b, name)).toBe(true);
  });

  test.skipIf(scheme === "set")(
    "a part of a shared lock is downgraded already, and one of another cannot be",
    async () => {
      for (const mode of ["shared", "exclusive"] as const) {
        const name = unique();
        await a.request(name, { ...reentrant, mode }, async (lock) => {
          const outcome = await lock.downgrade().then(
            () => "done",
            ({ code }: LockError) => code,
          );
          expect([outcome, lock.mode, lock.held]).toEqual([mode === "shared" ? "done" : "unsupported", mode, true]);
        });
      }
    },
  );

  test("the lock stays held until the last part has ended, also when that outlasts the outermost callback", async () => {
    const name = unique();
    const ended = deferred();
    let inner!: Promise<void>;
    await a.request(name, reentrant, () => {
      inner = a.request(name, reentrant, () => ended.promise);
    });
    expect(await isFree(b, name)).toBe(false);
    ended.resolve();
    await inner;
    expect(await isFree(b, name)).toBe(true);
  });

  test("contexts that run side by side exclude each other", async () => {
    const name = unique();
    let inside = 0;
    const nested = () =>
      a.request(name, reentrant, async () => {
        expect(++inside).toBe(1);
        await turn();
        await a.request(name, reentrant, () => turn());
        inside--;
      });
    await Promise.all([nested(), nested(), nested()]);
  });

  test("a context that is over is none: what it left behind waits like everybody", async () => {
    const name = unique();
    const later = deferred();
    let late!: Promise<unknown>;
    await a.request(name, reentrant, () => {
      late = later.promise.then(() => rejection(a.acquire(name, { reentrant: true, waitTimeout: 20 })));
    });
    await using _ = await b.acquire(name);
    later.resolve();
    expect(await late).toBeInstanceOf(LockTimeoutError);
  });

  test("without the option nothing is shared: a nested request waits", async () => {
    const name = unique();
    await a.request(name, reentrant, async () => {
      expect(await a.tryAcquire(name)).toBeNull();
      expect(await rejection(a.acquire(name, { waitTimeout: 20 }))).toBeInstanceOf(LockTimeoutError);
      expect(await b.tryAcquire(name, reentrant)).toBeNull();
    });
    await a.request(name, async () => {
      expect(await a.tryAcquire(name, reentrant)).toBeNull();
    });
  });

  test("a nested request whose lease is over is refused, and so are those that ran on it", async () => {
    const name = unique();
    const lost = a.request(name, { ...reentrant, ttl: 60, renew: false }, async (lock) => {
      const nested = rejection(a.request(name, reentrant, (inner) => until(() => !inner.held, "it was lost")));
      await until(() => !lock.held, "it was lost");
      expect(await nested).toBeInstanceOf(LockLostError);
      const ran = vi.fn();
      expect(await rejection(a.request(name, reentrant, ran))).toBeInstanceOf(LockLostError);
      expect(ran).not.toHaveBeenCalled();
    });
    expect(await rejection(lost)).toBeInstanceOf(LockLostError);
  });

  test("when the lock is stolen, nested requests reject at once too", async () => {
    const name = unique();
    const never = deferred();
    const nested: Promise<unknown>[] = [];
    const outer = rejection(
      a.request(name, { ...reentrant, ttl: 1_500 }, async () => {
        nested.push(rejection(a.request(name, reentrant, () => never.promise)));
        await never.promise;
      }),
    );
    await until(() => nested.length === 1, "the callback ran");
    await using _ = await b.acquire(name, { steal: true });
    expectDOMException(await outer, "AbortError");
    expectDOMException(await nested[0], "AbortError");
    never.resolve();
  });

  test("an aborted signal is heeded before anything is shared", async () => {
    const name = unique();
    await a.request(name, reentrant, async () => {
      const signal = AbortSignal.abort("no more");
      expect(await rejection(a.request(name, { ...reentrant, signal }, () => {}))).toBe("no more");
    });
  });

  if (scheme !== "set")
    test("shared inside exclusive is fine; exclusive inside shared is refused and says why", async () => {
      const name = unique();
      await a.request(name, reentrant, (outer) =>
        a.request(name, { ...reentrant, mode: "shared" }, (lock) => expect(lock.fence).toBe(outer.fence)),
      );
      await a.request(name, { ...reentrant, mode: "shared" }, async () => {
        await a.request(name, { ...reentrant, mode: "shared" }, () => {});
        const error = await rejection(a.request(name, reentrant, () => {}));
        expect(error).toBeInstanceOf(LockError);
        expect(error).toMatchObject({ code: "unsupported" });
        expect((error as LockError).message).toContain("wait for each other for ever");
      });
    });
});

test("a program that never asks for it has no async context", async () => {
  const run = vi.spyOn(AsyncLocalStorage.prototype, "run");
  const getStore = vi.spyOn(AsyncLocalStorage.prototype, "getStore");
  const locks = new TestLocks().manager({ detectDeadlocks: false });
  await locks.request("a", () => locks.request("b", () => {}));
  expect(run).not.toHaveBeenCalled();
  expect(getStore).not.toHaveBeenCalled();
  vi.restoreAllMocks();
});

test("all managers use one AsyncLocalStorage, because Node never forgets one that was used", async () => {
  const run = vi.spyOn(AsyncLocalStorage.prototype, "run");
  const world = new TestLocks();
  for (let i = 0; i < 3; i++) {
    const locks = world.manager();
    await locks.request("a", reentrant, () => locks.request("a", reentrant, () => {}));
    await locks.close();
  }
  expect(new Set(run.mock.contexts).size).toBe(1);
  vi.restoreAllMocks();
});

test("managers do not share contexts, even on the same locks", async () => {
  const world = new TestLocks();
  const [a, b] = [world.manager(), world.manager()];
  await a.request("x", reentrant, async () => {
    expect(await b.tryAcquire("x", reentrant)).toBeNull();
  });
});

test("refused: a flag that is none, and reentrant with steal", async () => {
  const locks = new TestLocks().manager();
  const error = await rejection(locks.request("a", { reentrant: 1 as unknown as boolean }, (lock: Lock) => lock));
  expectTypeError(error);
  expect((error as Error).message).toBe("Expected reentrant to be true or false; got 1.");
  expectTypeError(await rejection(locks.request("a", { reentrant: true, steal: true }, () => {})));
});
