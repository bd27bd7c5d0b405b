import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import {
  enqueue,
  expectDOMException,
  hold,
  isFree,
  logged,
  type Managers,
  rejection,
  stateOf,
  turn,
  unique,
  waiting,
} from "../locks.ts";
import { until } from "../until.ts";

const REASONS: readonly [string, unknown][] = [
  ["an error", new Error("changed my mind")],
  ["a string", "changed my mind"],
  ["null", null],
  ["zero", 0],
  ["an object", { why: "changed my mind" }],
];

export function signalSuite(use: () => Managers): void {
  describe("signal", () => {
    test("an aborted signal rejects the request with AbortError, and its callback never runs", async () => {
      const { locks } = use();
      const name = unique();
      const callback = vi.fn();
      const signal = AbortSignal.abort();
      const error = await rejection(locks.request(name, { signal }, callback));
      expectDOMException(error, "AbortError");
      expect(error).toBe(signal.reason);
      await turn();
      expect(callback).not.toHaveBeenCalled();
      expect(await stateOf(locks, name)).toEqual({ held: [], pending: [] });
    });

    test.each(REASONS)("an aborted signal rejects the request with its very reason: %s", async (_, reason) => {
      const { locks } = use();
      const signal = AbortSignal.abort(reason);
      expect(await rejection(locks.request(unique(), { signal }, () => "ran"))).toBe(reason);
    });

    test("a name that is refused comes before a signal that is aborted", async () => {
      const { locks } = use();
      const error = await rejection(locks.request("-", { signal: AbortSignal.abort() }, () => "ran"));
      expectDOMException(error, "NotSupportedError");
    });

    test.each(REASONS)("aborting while it waits rejects the request with the very reason: %s", async (_, reason) => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const request = other.request(name, { signal: controller.signal }, () => "ran");
      await waiting(locks, name, 1);
      controller.abort(reason);
      expect(await rejection(request)).toBe(reason);
      await waiting(locks, name, 0);
      await holder.end();
    });

    test("aborting without a reason rejects the request with AbortError", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const request = other.request(name, { signal: controller.signal }, () => "ran");
      await waiting(locks, name, 1);
      controller.abort();
      expectDOMException(await rejection(request), "AbortError");
      await holder.end();
    });

    test("a signal of AbortSignal.timeout rejects the waiting request with its TimeoutError", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const signal = AbortSignal.timeout(20);
      expectDOMException(await rejection(other.request(name, { signal }, () => "ran")), "TimeoutError");
      await holder.end();
    });

    test("a signal of AbortSignal.any counts like any other", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const signal = AbortSignal.any([new AbortController().signal, controller.signal]);
      const request = other.request(name, { signal }, () => "ran");
      await waiting(locks, name, 1);
      controller.abort("either");
      expect(await rejection(request)).toBe("either");
      await holder.end();
    });

    test("the rejection does not wait for anybody: it is there in the turn of the abort", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const request = other.request(name, { signal: controller.signal }, () => "ran");
      await waiting(locks, name, 1);
      let rejected = false;
      request.catch(() => (rejected = true));
      controller.abort();
      await new Promise((resolve) => process.nextTick(resolve));
      for (let microtask = 0; microtask < 20; microtask++) await undefined;
      expect(rejected).toBe(true);
      await waiting(locks, name, 0);
      await holder.end();
    });

    test("an aborted request has left the queue: it is not pending, and its callback never runs", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const callback = vi.fn();
      const request = other.request(name, { signal: controller.signal }, callback);
      await waiting(locks, name, 1);
      controller.abort();
      await rejection(request);
      await waiting(locks, name, 0);
      await holder.end();
      expect(await isFree(locks, name)).toBe(true);
      await turn();
      expect(callback).not.toHaveBeenCalled();
    });

    test("aborting right after request, before the grant, rejects it and its callback never runs", async () => {
      const { locks, other } = use();
      const name = unique();
      const controller = new AbortController();
      const callback = vi.fn();
      const request = locks.request(name, { signal: controller.signal }, callback);
      controller.abort("at once");
      expect(await rejection(request)).toBe("at once");
      await until(() => isFree(other, name), "the lock was free");
      expect(callback).not.toHaveBeenCalled();
      expect(await stateOf(locks, name)).toEqual({ held: [], pending: [] });
    });

    test("aborting while a grant is on its way lets the callback run, or rejects: never both, never neither", async () => {
      const { locks, other } = use();
      const name = unique();
      for (let round = 0; round < 20; round++) {
        const holder = await hold(locks, name);
        const controller = new AbortController();
        let ran = 0;
        const request = other.request(name, { signal: controller.signal }, () => `ran ${++ran}`);
        await waiting(locks, name, 1);
        const ended = holder.end();
        for (let step = 0; step < round; step++) await (step % 4 === 3 ? turn() : undefined);
        controller.abort("aborted");
        const outcome = await request.catch((error: unknown) => error);
        await ended;
        await until(() => isFree(locks, name), "the lock was free");
        expect(outcome).toBe(ran === 0 ? "aborted" : "ran 1");
      }
    });

    test("aborting while the callback runs changes nothing: the lock stays, and the result is the callback's", async () => {
      const { locks, other } = use();
      const name = unique();
      const controller = new AbortController();
      const result = await locks.request(name, { signal: controller.signal }, async (lock) => {
        controller.abort();
        await turn();
        expect(lock.held).toBe(true);
        expect(lock.signal.aborted, "the lock's own signal tells of losses only").toBe(false);
        expect((await stateOf(other, name)).held).toHaveLength(1);
        expect(await isFree(other, name)).toBe(false);
        return "the callback's";
      });
      expect(result).toBe("the callback's");
    });

    test("aborting after the request has ended changes nothing", async () => {
      const { locks, other } = use();
      const name = unique();
      const controller = new AbortController();
      expect(await locks.request(name, { signal: controller.signal }, () => "ran")).toBe("ran");
      const holder = await hold(other, name);
      controller.abort();
      await turn();
      expect((await stateOf(locks, name)).held).toHaveLength(1);
      expect(holder.lock.held).toBe(true);
      await holder.end();
    });

    test("one signal withdraws every request that was given it, and no other", async () => {
      const { locks } = use();
      const name = unique();
      const log: string[] = [];
      const holder = await hold(locks, name);
      const controller = new AbortController();
      const { signal } = controller;
      const withdrawn = [logged(locks, name, log, "with", { signal }), logged(locks, name, log, "with", { signal })];
      const stays = logged(locks, name, log, "without");
      await waiting(locks, name, 3);
      controller.abort("all of you");
      expect(await Promise.all(withdrawn.map(rejection))).toEqual(["all of you", "all of you"]);
      await waiting(locks, name, 1);
      await holder.end();
      await stays;
      expect(log).toEqual(["without"]);
    });

    test("nothing listens to the signal any more once the request is granted, aborted or refused", async () => {
      const { locks, other } = use();
      const name = unique();
      const controller = new AbortController();
      const { signal } = controller;
      const listeners = () => getEventListeners(signal, "abort").length;

      await locks.request(name, { signal }, () => expect(listeners(), "while the callback runs").toBe(0));
      expect(listeners(), "after the callback").toBe(0);
      await rejection(locks.request("-", { signal }, () => "ran"));
      expect(listeners(), "after a refusal").toBe(0);

      const holder = await hold(locks, name);
      const waiter = enqueue(other, name, { signal });
      await waiting(locks, name, 1);
      expect(listeners(), "while it waits").not.toBe(0);
      controller.abort();
      await rejection(waiter.request);
      expect(listeners(), "after the abort").toBe(0);
      await holder.end();
    });
  });
}
