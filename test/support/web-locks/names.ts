import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  byUnits,
  expectDOMException,
  expectTypeError,
  hold,
  isFree,
  type Managers,
  rejection,
  requestWith,
  stateOf,
  unique,
} from "../locks.ts";

const id = unique();

/** Names that look alike, or that stumble where a name is put into a key, a channel, JSON or UTF-8. */
const NAMES: readonly [string, string][] = [
  ["the empty name", ""],
  ["a blank", " "],
  ["NUL", "\0"],
  ["NUL twice", "\0\0"],
  ["a name ending in NUL", "a\0"],
  ["the same name without it", "a"],
  ["a high surrogate alone", "\uD800"],
  ["another high surrogate alone", "\uD801"],
  ["a low surrogate alone", "\uDC00"],
  ["both, in the wrong order", "\uDC00\uD800"],
  ["both, in the right order", "\uD800\uDC00"],
  ["a lone surrogate at the end", "a\uD800"],
  ["the replacement character", "\uFFFD"],
  ["three replacement characters", "\uFFFD\uFFFD\uFFFD"],
  ["the bytes of a lone surrogate, as Latin-1", "\u00ED\u00A0\u0080"],
  ["a lone surrogate as an escape", "\\uD800"],
  ["a lone surrogate as an escape, in small letters", "\\ud800"],
  ["a lone surrogate as a percent escape", "%ED%A0%80"],
  ["a noncharacter", "\uFFFF"],
  ["a private-use character", "\uE000"],
  ["the byte order mark", "\uFEFF"],
  ["é as one character", "\u00E9"],
  ["é as two characters", "e\u0301"],
  ["the Kelvin sign", "\u212A"],
  ["the letter K", "K"],
  ["the letter k", "k"],
  ["braces", "{a}"],
  ["braces, then a suffix of the library's", "{a}:queue"],
  ["a suffix without the braces", "a:queue"],
  ["another suffix of the library's", "{a}:fence"],
  ["the waiters' suffix", "{a}:waiters"],
  ["the holders' suffix", "{a}:holders"],
  ["a word that the library puts behind names", "queue"],
  ["another such word", ":fence"],
  ["a lone surrogate behind a noncharacter, spelt out", "\uFFFFd800"],
  ["the library's word for a channel", "push:"],
  ["two pairs of braces", "{{a}}"],
  ["empty braces", "{}"],
  ["empty braces, then the name", "{}a"],
  ["an open brace", "{a"],
  ["a closing brace", "a}"],
  ["a hash tag in the middle", "x{a}y"],
  ["a star", "*"],
  ["a question mark", "?"],
  ["a class", "[a]"],
  ["a backslash", "\\"],
  ["a newline", "\n"],
  ["a carriage return and a newline", "\r\n"],
  ["a name of a property of every object", "__proto__"],
  ["another", "constructor"],
  ["a number", "0"],
  ["a hash sign", "#"],
  ["a colon", ":"],
  ["a hyphen that is not the first", "a-"],
  ["a minus sign that is no hyphen", "\u2212a"],
];

export function namesSuite(use: () => Managers): void {
  describe("names", () => {
    test.each(NAMES)("a lock may be called: %s", async (_, name) => {
      const { locks, other } = use();
      const holder = await hold(locks, name);
      expect(holder.lock.name).toBe(name);
      expect((await locks.query()).held.map((each) => each.name)).toEqual([name]);
      expect((await other.query()).held.map((each) => each.name)).toEqual([name]);
      expect(await isFree(other, name), "the lock excludes others").toBe(false);
      await holder.end();
      expect(await isFree(other, name), "the lock is free afterwards").toBe(true);
    });

    test("all these names are names of different locks: all can be held at once", async () => {
      const { locks, other } = use();
      const names = NAMES.map(([, name]) => name);
      const holders = [];
      for (const name of names) {
        expect(await isFree(other, name), JSON.stringify(name)).toBe(true);
        holders.push(await hold(locks, name));
      }
      const held = (await other.query()).held.map((each) => each.name);
      expect(held.toSorted(byUnits)).toEqual(names.toSorted(byUnits));
      await Promise.all(holders.map((each) => each.end()));
    });

    test("any strings of UTF-16 code units that differ are names of different locks", async () => {
      const { locks, other } = use();
      const unit = fc.oneof(
        fc.integer({ min: 0, max: 0xffff }),
        fc.constantFrom(0, 0x5c, 0x7b, 0x7d, 0x3a, 0x23, 0xfffd, 0xe000),
        fc.integer({ min: 0xd7fe, max: 0xe001 }),
      );
      const name = fc
        .array(unit, { maxLength: 6 })
        .map((units) => String.fromCharCode(...units))
        .filter((text) => !text.startsWith("-"));
      const property = fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 12 }), async (names) => {
        const holders = await Promise.all(names.map((each) => hold(locks, each)));
        const held = (await other.query()).held.map((each) => each.name);
        expect(held.toSorted(byUnits)).toEqual(names.toSorted(byUnits));
        await Promise.all(holders.map((each) => each.end()));
      });
      await fc.assert(property, { numRuns: 50 });
    }, 30_000);

    test.each(["-", "--", "-lock", "-\0", "-\uD800"])(
      "a name that starts with a hyphen is refused: %j",
      async (name) => {
        const { locks } = use();
        let ran = false;
        const error = await rejection(locks.request(name, () => (ran = true)));
        expectDOMException(error, "NotSupportedError");
        const again = await rejection(locks.request(name, { ifAvailable: true }, () => (ran = true)));
        expectDOMException(again, "NotSupportedError");
        expect(ran).toBe(false);
        expect(await stateOf(locks, name)).toEqual({ held: [], pending: [] });
      },
    );

    test.each<[string, unknown]>([
      ["undefined", undefined],
      ["null", null],
      ["a number", 42],
      ["a boolean", true],
      ["an object", { toString: () => id }],
      ["a String object", Object("name")],
      ["an array in an array", [[id]]],
      ["a symbol", Symbol("name")],
      ["a function", () => id],
      ["a bigint", 42n],
    ])("a name that is no string is refused with TypeError rather than converted: %s", async (_, name) => {
      const { locks } = use();
      let ran = false;
      expectTypeError(await rejection(requestWith(locks, name, () => (ran = true))));
      expect(ran).toBe(false);
    });

    test("locks of different names do not wait for one another", async () => {
      const { locks, other } = use();
      const [a, b] = [unique("a"), unique("b")];
      const first = await hold(locks, a);
      const second = await hold(other, b);
      const third = await hold(locks, unique("c"));
      await first.end();
      expect(await isFree(other, a)).toBe(true);
      expect(await isFree(locks, b)).toBe(false);
      await Promise.all([second.end(), third.end()]);
    });

    test("a name of 1,024 bytes is taken and one of 1,025 is refused with RangeError", async () => {
      const { locks } = use();
      const longest = id + "x".repeat(1_024 - id.length);
      expect(await locks.request(longest, (lock) => lock.name)).toBe(longest);
      expect(await rejection(locks.request(`${longest}x`, () => undefined))).toBeInstanceOf(RangeError);
      expect(await rejection(locks.request("é".repeat(513), () => undefined))).toBeInstanceOf(RangeError);
    });
  });
}
