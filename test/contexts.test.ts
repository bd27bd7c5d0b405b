/** Async contexts (AsyncLocalStorage): what concerns a request runs in its context, and nothing else does. */
import { AsyncLocalStorage } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lock, LockManager } from "../src/index.ts";
import { collected } from "./support/collected.ts";
import { hold, unique, waiting } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

const store = new AsyncLocalStorage<string>();
const objects = new AsyncLocalStorage<object>();

/** Connections and timers begin with the first request of a manager, so the first is never the one that is looked at. */
describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let other: LockManager;
  let locks: LockManager;
  beforeAll(async () => {
    world = await open();
    other = await world.manager();
    locks = await world.manager();
    await store.run("the first request", async () => {
      const first = await locks.acquire(unique(), { ttl: 60_000 });
      void first.signal;
    });
  });
  afterAll(() => world.close());

  test("a callback, and what follows its request, run in the request's context", async () => {
    const name = unique();
    const holder = await hold(other, name);
    const seen: (string | undefined)[] = [];
    const request = store.run("mine", async () => {
      await locks.request(name, () => void seen.push(store.getStore()));
      seen.push(store.getStore());
    });
    await waiting(other, name, scheme === "set" ? 0 : 1);
    await holder.end();
    await request;
    expect(seen).toEqual(["mine", "mine"]);
  });

  test.skipIf(scheme === "set")(
    "onWait is called in its request's context, also when a push tells the news",
    async () => {
      const name = unique();
      const holder = await hold(other, name);
      const first = other.acquire(name);
      await waiting(other, name, 1);
      const seen: [position: number | undefined, context: string | undefined][] = [];
      const mine = store.run("mine", () =>
        locks.acquire(name, { onWait: ({ position }) => void seen.push([position, store.getStore()]) }),
      );
      await waiting(other, name, 2);
      await holder.end();
      await (await first).release();
      await (await mine).release();
      expect(seen.length).toBeGreaterThan(0);
      expect(new Set(seen.map(([, context]) => context))).toEqual(new Set(["mine"]));
    },
  );

  test("listeners of a signal that is aborted by a theft or by a timer run where the signal was asked for", async () => {
    const seen: Record<string, string | undefined> = {};
    const listen = (who: string, lock: Lock): void =>
      store.run(who, () => lock.signal.addEventListener("abort", () => void (seen[who] = store.getStore())));
    const [robbed, ended] = await Promise.all([
      locks.acquire(unique(), { ttl: 60_000 }),
      locks.acquire(unique(), { maxHold: 50 }),
    ]);
    listen("robbed", robbed);
    listen("ended", ended);
    await other.forceRelease(robbed.name);
    // Where a scheme reports no theft, the next renewal finds out.
    void robbed.extend().catch(() => {});
    await until(() => Object.keys(seen).length === 2, "both signals were aborted");
    expect(seen).toEqual({ robbed: "robbed", ended: "ended" });
  });

  test("what listens to diagnostics of a request is called in its context", async () => {
    const name = unique();
    const seen: (string | undefined)[] = [];
    const listener = (message: unknown): void => {
      if ((message as { name: string }).name === name) seen.push(store.getStore());
    };
    const channels = ["holdfast:granted", "holdfast:released"].map((each) => channel(each));
    for (const each of channels) each.subscribe(listener);
    try {
      await store.run("mine", () => locks.request(name, () => {}));
    } finally {
      for (const each of channels) each.unsubscribe(listener);
    }
    expect(seen).toEqual(["mine", "mine"]);
  });

  test("no connection or timer keeps the context of the first request of its manager", async () => {
    const manager = await world.manager();
    let context: object | undefined = { what: "a request" };
    const reference = new WeakRef(context);
    await objects.run(context, async () => {
      const lock = await manager.acquire(unique(), { ttl: 60_000 });
      await lock.extend();
      await lock.release();
    });
    context = undefined;
    await collected(reference, "the context");
    await (await manager.acquire(unique())).release();
  });

  test("a listener that a theft or a timer calls takes part in no reentrant lock of another flow", async () => {
    const manager = await world.manager();
    const account = unique("account");
    const [robbed, ended] = [unique("robbed"), unique("ended")];
    let inside = 0;
    let most = 0;
    const enter = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await until(() => isOver, "the first flow ends");
      inside--;
    };
    let isOver = false;
    // The first to use the manager: its connections and timers begin in this context.
    const flow = manager.request(account, { reentrant: true }, async () => {
      const inner = await manager.acquire(unique(), { ttl: 60_000 });
      await enter();
      await inner.release();
    });
    await until(() => inside === 1, "the first flow is inside");
    const cleanUps: Promise<void>[] = [];
    const cleanUp = (): void => void cleanUps.push(manager.request(account, { reentrant: true }, enter));
    (await manager.acquire(ended, { maxHold: 50 })).signal.addEventListener("abort", cleanUp);
    const stolen = await manager.acquire(robbed);
    stolen.signal.addEventListener("abort", cleanUp);
    await other.forceRelease(robbed);
    void stolen.extend().catch(() => {});
    await until(() => cleanUps.length === 2, "both were told");
    isOver = true;
    await Promise.all([flow, ...cleanUps]);
    expect(most).toBe(1);
  });
});
