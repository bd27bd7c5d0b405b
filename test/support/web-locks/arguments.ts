import { describe, expect, test, vi } from "vitest";
import {
  expectDOMException,
  expectTypeError,
  hold,
  type Managers,
  rejection,
  requestWith,
  stateOf,
  turn,
  unique,
} from "../locks.ts";

const pass = () => "ran";

export function argumentsSuite(use: () => Managers): void {
  describe("arguments of request", () => {
    test.each<[string, unknown[]]>([
      ["nothing at all", []],
      ["a name alone", ["a"]],
      ["a name and null", ["a", null]],
      ["a name and undefined", ["a", undefined]],
      ["options but no callback", ["a", {}]],
      ["options and null as the callback", ["a", {}, null]],
      ["options and undefined as the callback", ["a", {}, undefined]],
      ["options and an object as the callback", ["a", {}, { call: pass }]],
      ["options and a string as the callback", ["a", {}, "pass"]],
      ["three arguments whose second is the callback", ["a", pass, undefined]],
    ])("a callback that is no function is refused with TypeError: %s", async (_, args) => {
      const { locks } = use();
      expectTypeError(await rejection(requestWith(locks, ...args)));
    });

    test.each([
      ["undefined", undefined],
      ["null", null],
      ["an empty object", {}],
      ["an object without prototype", Object.create(null)],
    ])("options may be %s", async (_, options) => {
      const { locks } = use();
      const mode = await requestWith(locks, unique(), options, (lock: { mode: string }) => lock.mode);
      expect(mode).toBe("exclusive");
    });

    test.each([
      ["a number", 1],
      ["a string", "shared"],
      ["a boolean", true],
      ["a symbol", Symbol("options")],
      ["a bigint", 1n],
    ])("options that are %s are refused with TypeError", async (_, options) => {
      const { locks } = use();
      expectTypeError(await rejection(requestWith(locks, unique(), options, pass)));
    });

    test("members of options that are undefined count as left out", async () => {
      const { locks } = use();
      const options = { mode: undefined, ifAvailable: undefined, steal: undefined, signal: undefined };
      expect(await requestWith(locks, unique(), options, (lock: { mode: string }) => lock.mode)).toBe("exclusive");
    });

    test("members of options that are inherited count", async () => {
      const { locks } = use();
      const options: unknown = Object.create({ mode: "shared" });
      expect(await requestWith(locks, unique(), options, (lock: { mode: string }) => lock.mode)).toBe("shared");
    });

    test("arguments after the callback are ignored", async () => {
      const { locks } = use();
      expect(await requestWith(locks, unique(), {}, pass, "more", null)).toBe("ran");
    });

    test("what a getter of options throws is what request rejects with", async () => {
      const { locks } = use();
      const thrown = new Error("the getter's own");
      const options = {
        get mode(): string {
          throw thrown;
        },
      };
      expect(await rejection(requestWith(locks, unique(), options, pass))).toBe(thrown);
    });

    test("options are read once, before request returns: changing them later changes nothing", async () => {
      const { locks, other } = use();
      const name = unique();
      const first = await hold(locks, name, { mode: "shared" });
      const options = { mode: "shared" };
      const second = requestWith(other, name, options, (lock: { mode: string }) => lock.mode);
      options.mode = "exclusive";
      expect(await second).toBe("shared");
      await first.end();
    });

    test.each([
      ["an unknown word", "upgradable"],
      ["another case", "Shared"],
      ["the empty string", ""],
      ["null", null],
      ["a number", 0],
      ["a boolean", true],
      ["an object", {}],
      ["a symbol", Symbol("shared")],
    ])("a mode that is %s is refused with TypeError", async (_, mode) => {
      const { locks } = use();
      expectTypeError(await rejection(requestWith(locks, unique(), { mode }, pass)));
    });

    test("a mode is converted to a string first, as every enumeration of Web IDL", async () => {
      const { locks } = use();
      const mode = { toString: () => "shared" };
      expect(await requestWith(locks, unique(), { mode }, (lock: { mode: string }) => lock.mode)).toBe("shared");
    });

    test.each([
      ["null", null],
      ["an AbortController", new AbortController()],
      ["a plain object", { aborted: false, reason: undefined }],
      ["an event target", new EventTarget()],
      ["true", true],
      ["a number", 0],
    ])("a signal that is %s is refused with TypeError", async (_, signal) => {
      const { locks } = use();
      expectTypeError(await rejection(requestWith(locks, unique(), { signal }, pass)));
    });

    test("ifAvailable and steal are converted to booleans", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      expect(await requestWith(other, name, { ifAvailable: "yes" }, (lock: unknown) => lock)).toBe(null);
      expect(await requestWith(other, name, { ifAvailable: 1, steal: 0 }, (lock: unknown) => lock)).toBe(null);
      expect(await requestWith(other, name, { ifAvailable: "", steal: {} }, pass)).toBe("ran");
      expectDOMException(await rejection(holder.request), "AbortError");
      await holder.end();
    });

    test.each<[string, Record<string, unknown>]>([
      ["steal with ifAvailable", { steal: true, ifAvailable: true }],
      ["steal with mode shared", { steal: true, mode: "shared" }],
      ["steal with a signal", { steal: true, signal: new AbortController().signal }],
      ["ifAvailable with a signal", { ifAvailable: true, signal: new AbortController().signal }],
      ["steal with an aborted signal", { steal: true, signal: AbortSignal.abort() }],
      ["ifAvailable with an aborted signal", { ifAvailable: true, signal: AbortSignal.abort() }],
      ["all of them", { steal: true, ifAvailable: true, mode: "shared", signal: new AbortController().signal }],
    ])("%s is refused with NotSupportedError", async (_, options) => {
      const { locks } = use();
      const callback = vi.fn();
      const name = unique();
      expectDOMException(await rejection(requestWith(locks, name, options, callback)), "NotSupportedError");
      await turn();
      expect(callback).not.toHaveBeenCalled();
      expect(await stateOf(locks, name)).toEqual({ held: [], pending: [] });
    });

    test.each<[string, Record<string, unknown>]>([
      ["steal and ifAvailable both false, with a signal", { steal: false, ifAvailable: false, signal: live() }],
      ["steal false with mode shared", { steal: false, mode: "shared" }],
      ["ifAvailable with mode shared", { ifAvailable: true, mode: "shared" }],
      ["steal with mode exclusive", { steal: true, mode: "exclusive" }],
    ])("%s is allowed", async (_, options) => {
      const { locks } = use();
      expect(await requestWith(locks, unique(), options, pass)).toBe("ran");
    });

    test.each<[string, unknown[]]>([
      ["mode", ["-a", { mode: "none" }, pass]],
      ["signal", ["-a", { signal: null }, pass]],
      ["callback", ["-a", { steal: true, ifAvailable: true }, null]],
    ])("arguments are converted before combinations are looked at: a wrong %s is a TypeError", async (_, args) => {
      const { locks } = use();
      expectTypeError(await rejection(requestWith(locks, ...args)));
    });

    test("request called on something that is no manager rejects with TypeError", async () => {
      const { locks } = use();
      for (const self of [undefined, {}]) {
        const promise: unknown = Reflect.apply(locks.request, self, [unique(), pass]);
        expect(promise).toBeInstanceOf(Promise);
        expectTypeError(await rejection(promise as Promise<unknown>));
      }
    });
  });
}

function live(): AbortSignal {
  return new AbortController().signal;
}
