/** Keys of different names never meet, are read back into names, and stay together in a Cluster. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  clientKey,
  counterKey,
  Homes,
  lockKey,
  lockKeys,
  nameOfKey,
  scanPattern,
  valueKey,
} from "../src/schemes/keys.ts";
import { checkManagerOptions } from "../src/options/manager.ts";
import { Glob } from "../src/schemes/glob.ts";

const clientId = "AbCdEfGhIjKlMnOpQrStU-";

/** Names are any strings; these are the pieces that names made to collide are made of. */
const pieces = fc.array(
  fc.constantFrom(
    "{",
    "}",
    "{}",
    ":holders",
    ":fence",
    ":queue",
    ":waiters",
    ":set",
    ":shared-value",
    "\uffff",
    "\uffff007d",
    "007d",
    "\ud800",
    "\udc00",
    "\0",
    "\n",
    "lock:",
    "client:",
    clientId,
    "a",
    "é",
    "😀",
    "*",
    " ",
  ),
  { maxLength: 6 },
);
const name = fc.oneof(
  pieces.map((all) => all.join("")),
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)) }),
);
const prefix = fc
  .constantFrom("lock:", "", "{app}:", "{app}", "a{b}", "{a", "[a]*?\\", "\uffff", "client:", "x")
  .filter((each) => {
    try {
      return checkManagerOptions({ prefix: each }).prefix === each;
    } catch {
      return false;
    }
  });

/** Names made from a name so that their keys might meet. */
function lookalikes(each: string, one: string): string[] {
  const values = [valueKey(each, one), valueKey("", one)];
  const keys = [...lockKeys(each, one), ...lockKeys("", one), ...values, clientKey(each, clientId)];
  const made = keys.flatMap((key) => [key, key.startsWith(each) ? key.slice(each.length) : key]);
  return [...made, `{${one}}`, `${one}:queue`, `${one}:set`, `${one}}`, one.slice(1), one.slice(0, -1), `\uffff${one}`];
}

/** As the Redis Cluster specification words it: CRC16 (XMODEM) of the hash tag, or of the key where it has none. */
function slotOf(key: string): number {
  const bytes = Buffer.from(key);
  const open = bytes.indexOf("{");
  const close = open < 0 ? -1 : bytes.indexOf("}", open + 1);
  return crc16(close > open + 1 ? bytes.subarray(open + 1, close) : bytes) % 16_384;
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

test("the slots of this test are those that Redis Cluster gives", () => {
  expect(crc16(Buffer.from("123456789"))).toBe(0x31c3);
  expect(slotOf("{user1000}.following")).toBe(slotOf("user1000"));
  expect(slotOf("foo{}{bar}")).not.toBe(slotOf("bar"));
  expect(slotOf("foo{{bar}}zap")).toBe(slotOf("{bar"));
});

describe("whatever the names", () => {
  test("no key of one lock is a key of another, or of a manager's label", () => {
    fc.assert(
      fc.property(prefix, name, name, (each, one, other) => {
        const names = [...new Set([one, other, ...lookalikes(each, one)])];
        for (const isCluster of [true, false]) {
          const homes = new Homes(each, isCluster);
          const counters = [...new Set(names.map((which) => homes.of(which)))].flatMap((home) => [
            home.counter,
            home.setCounter,
          ]);
          const values = names.map((which) => valueKey(each, which));
          const keys = [
            ...names.flatMap((which) => lockKeys(each, which)),
            ...values,
            ...counters,
            clientKey(each, clientId),
          ];
          expect(new Set(keys).size).toBe(keys.length);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("every key survives the way to the server: it is UTF-8, so no two become the same bytes", () => {
    fc.assert(
      fc.property(prefix, name, (each, one) => {
        for (const key of [...lockKeys(each, one), valueKey(each, one)]) expect(Buffer.from(key).toString()).toBe(key);
      }),
    );
  });

  test("no key is empty", () => {
    expect(lockKeys("", "").every((key) => key.length > 0)).toBe(true);
  });

  test("the name is read back from the lock's own key and from its queue", () => {
    fc.assert(
      fc.property(prefix, name, (each, one) => {
        const [key, , queue] = lockKeys(each, one);
        expect(nameOfKey(each, key)).toBe(one);
        expect(nameOfKey(each, queue)).toBe(one);
      }),
      { numRuns: 5_000 },
    );
  });

  test("keys that tell of no holder and no waiter are read as no lock", () => {
    fc.assert(
      fc.property(prefix, name, (each, one) => {
        const [, holders, , waiters] = lockKeys(each, one);
        const { setCounter } = new Homes(each, true).of(one);
        const others = [counterKey(each), setCounter, clientKey(each, clientId), valueKey(each, one)];
        for (const key of [holders, waiters, ...others]) expect(nameOfKey(each, key)).toBeUndefined();
      }),
    );
  });

  test("all keys of a lock share a slot of a Cluster", () => {
    fc.assert(
      fc.property(prefix, name, (each, one) => {
        const slots = new Set([...lockKeys(each, one), valueKey(each, one)].map(slotOf));
        expect(slots.size).toBe(1);
      }),
      { numRuns: 5_000 },
    );
  });

  test("a walk through the key space finds the lock and its queue", () => {
    fc.assert(
      fc.property(prefix, name, (each, one) => {
        const [key, , queue] = lockKeys(each, one);
        const pattern = new Glob(scanPattern(each));
        expect(pattern.matches(key) && pattern.matches(queue)).toBe(true);
      }),
    );
  });
});

describe("what people see", () => {
  test("an ordinary name's key is prefix and name as they stand", () => {
    const ordinary = fc
      .string({ unit: fc.constantFrom(..."abcXYZ019:-_./ äß漢*?[]".split("")) })
      .filter((each) => !/:(holders|fence|queue|waiters)$/.test(each));
    fc.assert(
      fc.property(ordinary, (one) => {
        expect(lockKey("lock:", one)).toBe(`lock:${one}`);
        expect(nameOfKey("lock:", `lock:${one}`)).toBe(one);
      }),
    );
  });

  test("the siblings of an ordinary key carry it in braces", () => {
    expect(lockKeys("lock:", "invoice:42")).toEqual([
      "lock:invoice:42",
      "{lock:invoice:42}:holders",
      "{lock:invoice:42}:queue",
      "{lock:invoice:42}:waiters",
    ]);
  });

  test.each([
    ["lock:", "{user:7}:cart"],
    ["{app}:", "cart"],
  ])("a hash tag of the user's own decides the slot (%s%s)", (each, one) => {
    const tag = /\{(.+)\}/.exec(each + one)?.[1] as string;
    for (const key of lockKeys(each, one)) expect(slotOf(key)).toBe(slotOf(tag));
    expect(lockKey(each, one)).toBe(each + one);
  });

  test("a key of another prefix is no lock of ours", () => {
    expect(nameOfKey("lock:", "lease:a")).toBeUndefined();
    expect(nameOfKey("lock:", "{lease:a}:queue")).toBeUndefined();
    // How the empty name is written, if there is no prefix.
    const [empty] = lockKeys("", "");
    expect([nameOfKey("", empty), nameOfKey("lock:", empty)]).toEqual(["", undefined]);
  });
});
