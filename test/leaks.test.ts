/** What has ended is forgotten, and many that wait together share one listener. */
import { getEventListeners } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LockManager } from "../src/index.ts";
import { collected } from "./support/collected.ts";
import { hold, rejection, stateOf, unique, waiting } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let locks: LockManager;
  let other: LockManager;
  beforeAll(async () => {
    world = await open();
    [locks, other] = [await world.manager(), await world.manager()];
  });
  afterAll(() => world.close());

  let warnings: Error[];
  const warn = (warning: Error): void => void warnings.push(warning);
  beforeEach(() => {
    warnings = [];
    process.on("warning", warn);
  });
  afterEach(() => {
    process.off("warning", warn);
    expect(warnings).toEqual([]);
  });

  test("a request that was refused because the lock is busy is forgotten", async () => {
    const name = unique();
    const holder = await hold(other, name);
    let about: { onWait(): void } | undefined = { onWait: () => {} };
    const reference = new WeakRef(about.onWait);
    expect(await rejection(locks.request(name, { waitTimeout: 0, onWait: about.onWait }, () => {}))).toMatchObject({
      code: "timeout",
    });
    about = undefined;
    await collected(reference, "the request");
    await holder.end();
  });

  test("a request that gave up waiting is forgotten", async () => {
    const name = unique();
    const holder = await hold(other, name);
    const reference = await (async () => {
      const controller = new AbortController();
      const waiter = rejection(locks.acquire(name, { signal: controller.signal }));
      if (scheme !== "set") await waiting(other, name, 1);
      controller.abort("no longer needed");
      await waiter;
      return new WeakRef(controller.signal);
    })();
    await collected(reference, "the signal");
    await holder.end();
  });

  test.skipIf(scheme === "set")("a lock that was detached is forgotten", async () => {
    let controller: AbortController | undefined = new AbortController();
    const reference = new WeakRef(controller.signal);
    const detached = await (await locks.acquire(unique(), { signal: controller.signal })).detach();
    controller = undefined;
    await collected(reference, "the signal");
    await (await other.attach(detached)).release();
  });

  test("a hundred requests with one signal have one listener together, and none when they are over", async () => {
    const name = unique();
    const holder = await hold(other, name);
    const { signal, abort } = (() => {
      const controller = new AbortController();
      return { signal: controller.signal, abort: () => controller.abort() };
    })();
    const waiters = Array.from({ length: 100 }, () => rejection(locks.acquire(name, { signal })));
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    abort();
    await Promise.all(waiters);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    await holder.end();
  });

  test("twenty candidates with one signal warn nobody, and leave nothing when it is aborted", async () => {
    const controller = new AbortController();
    const names = Array.from({ length: 20 }, () => unique());
    const led: string[] = [];
    const campaigns = names.map(async (name) => {
      for await (const term of locks.elect(name, { signal: controller.signal })) {
        led.push(term.name);
        await new Promise((resolve) => term.signal.addEventListener("abort", resolve));
      }
    });
    await until(() => led.length === names.length, "all lead");
    controller.abort();
    await Promise.all(campaigns);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    for (const name of names) expect((await stateOf(other, name)).held).toEqual([]);
  });

  test("a candidate that leaves its loop while it waits ends at once, and nothing is left in line", async () => {
    const name = unique();
    const holder = await hold(other, name);
    const terms = locks.elect(name);
    const next = terms.next();
    if (scheme !== "set") await waiting(other, name, 1);
    expect(await terms.return()).toEqual({ done: true, value: undefined });
    expect(await next).toEqual({ done: true, value: undefined });
    await until(async () => (await stateOf(other, name)).pending.length === 0, "nobody waits");
    await holder.end();
  });
});
