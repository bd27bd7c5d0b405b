/** What a shared computation promises, wherever values are kept. */
import { AsyncLocalStorage } from "node:async_hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isLockLost, LockError, LockLostError, SchemeError } from "../src/index.ts";
import type { Lock, LockManager, ShareOptions } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import { deferred, hold, rejection, stateOf, unique, waiting } from "./support/locks.ts";
import type { Deferred } from "./support/locks.ts";
import { participant, PROCESSES } from "./support/processes.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";
import { type World, countless, sharing } from "./support/worlds.ts";

/** A computation that ends when told, and says how often it began. */
function computation<T>(): { compute: (lock: Lock) => Promise<T>; locks: Lock[]; end: Deferred<T> } {
  const end = deferred<T>();
  const locks: Lock[] = [];
  return { compute: (lock) => (locks.push(lock), end.promise), locks, end };
}

const never = (): never => {
  throw new Error("This was not to be computed.");
};

describe.each(sharing)("$title", ({ open }) => {
  let world: World;
  let a: LockManager;
  let b: LockManager;
  let c: LockManager;

  beforeAll(async () => {
    world = await open();
    [a, b, c] = [await world.manager({ label: "a" }), await world.manager(), await world.manager()];
  });
  afterAll(() => world.close());

  test("of all callers while nobody has the value, one computes, and all get it", async () => {
    const name = unique();
    const { compute, locks, end } = computation<{ of: string }>();
    const ask = (manager: LockManager): Promise<{ of: string }> => manager.share(name, { ttl: 60_000 }, compute);
    const asked = [ask(a), ask(a), ask(a)];
    await until(() => locks.length === 1, "one computes");
    asked.push(...[b, b, b, c, c, c].map(ask));
    await waiting(a, name, 2);
    end.resolve({ of: "all" });
    const values = await Promise.all(asked);
    expect(values).toEqual(Array.from({ length: 9 }, () => ({ of: "all" })));
    // Nobody can spoil it for the others.
    expect(new Set(values).size).toBe(9);
    expect(locks).toHaveLength(1);
    expect(locks[0]).toMatchObject({ name, mode: "exclusive", fence: expect.any(Number) });
    await until(async () => (await stateOf(a, name)).held.length === 0, "it was released");
  });

  test("within its ttl every caller gets the value without a computation", async () => {
    const name = unique();
    expect(await a.share(name, { ttl: 60_000 }, () => [1, "two", null])).toEqual([1, "two", null]);
    expect(await b.share(name, { ttl: 60_000 }, never)).toEqual([1, "two", null]);
  });

  test("when its ttl is over the value is computed anew", async () => {
    const name = unique();
    await a.share(name, { ttl: 50 }, () => 1);
    let count = 1;
    await until(async () => (await b.share(name, { ttl: 60_000 }, () => ++count)) === 2, "it was computed anew");
  });

  test("with ttl 0 only callers get it that asked before the value was made", async () => {
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const asked = [a.share(name, { ttl: 0 }, compute)];
    await until(() => locks.length === 1, "one computes");
    asked.push(b.share(name, { ttl: 0 }, never), c.share(name, { ttl: 0 }, never), a.share(name, { ttl: 0 }, never));
    await waiting(a, name, 2);
    end.resolve("first");
    expect(await Promise.all(asked)).toEqual(["first", "first", "first", "first"]);
    expect(await b.share(name, { ttl: 0 }, () => "second")).toBe("second");
    expect(await b.share(name, { ttl: 0 }, () => undefined)).toBeUndefined();
  });

  test("all waiting callers get a failure, and no later ones", async () => {
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const first = rejection(a.share(name, { ttl: 60_000 }, compute));
    await until(() => locks.length === 1, "one computes");
    const others = [a, b, c].map((manager) => rejection(manager.share(name, { ttl: 60_000 }, never)));
    await waiting(a, name, 2);
    const failure = new Error("the database is down");
    end.reject(failure);
    expect(await first).toBe(failure);
    for (const error of await Promise.all(others)) {
      const message = `The value of "${name}" could not be computed by a: the database is down (holdfast/docs/troubleshooting.md#compute-failed)`;
      expect(error).toMatchObject({ name: "LockError", code: "compute-failed", message });
    }
    expect(await b.share(name, { ttl: 60_000 }, () => "later")).toBe("later");
  });

  test("with retry the next waiting caller computes, in this process or another", async () => {
    const name = unique();
    const options = { ttl: 60_000, retry: true };
    const { compute, locks, end } = computation<string>();
    const first = rejection(a.share(name, options, compute));
    await until(() => locks.length === 1, "one computes");
    let count = 0;
    const next = (): string => {
      if (++count < 3) throw new Error(`failure ${count}`);
      return "at last";
    };
    const others = [a, b, c, a, b, c].map((manager) => manager.share(name, options, next));
    const outcomes = Promise.allSettled(others);
    await waiting(a, name, 2);
    end.reject(new Error("failure 0"));
    expect(await first).toMatchObject({ message: "failure 0" });
    const all = await outcomes;
    expect(all.filter(({ status }) => status === "rejected")).toHaveLength(2);
    expect(all.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []))).toEqual(Array(4).fill("at last"));
    expect(count).toBe(3);
  });

  test("a codec decides how the value travels; what it throws is a failure", async () => {
    const name = unique();
    const dates: ShareOptions<Date> = {
      ttl: 60_000,
      codec: { encode: (date) => date.toISOString(), decode: (text) => new Date(text) },
    };
    const made = new Date("2026-01-02T03:04:05.678Z");
    expect(await a.share(name, dates, () => made)).toEqual(made);
    expect(await b.share(name, dates, never)).toEqual(made);
    const broken = { ttl: 60_000, codec: { encode: String, decode: () => never() } };
    expect(await rejection(b.share(name, broken, never))).toMatchObject({ message: "This was not to be computed." });
    const { compute, locks, end } = computation<string>();
    const fails = { ttl: 60_000, codec: { encode: (): string => never(), decode: String } };
    const other = unique();
    const first = rejection(a.share(other, fails, compute));
    await until(() => locks.length === 1, "one computes");
    const waits = rejection(b.share(other, { ttl: 60_000 }, never));
    await waiting(a, other, 1);
    end.resolve("a value");
    expect(await first).toMatchObject({ message: "This was not to be computed." });
    expect(await waits).toMatchObject({ code: "compute-failed" });
    const lone = { ttl: 0, codec: { encode: () => "\ud800", decode: Number } };
    expect(String(await rejection(a.share(unique(), lone, () => 1)))).toMatch(/well-formed text; got/);
    expect(String(await rejection(a.share(unique(), { ttl: 0 }, () => Symbol("x"))))).toMatch(/JSON cannot hold/);
  });

  test("any text comes back as it was", async () => {
    const name = unique();
    const text = ' 7 e\0\r\n"{}\uffffé漢😀 '.repeat(50);
    const codec = { encode: String, decode: String };
    expect(await a.share(name, { ttl: 60_000, codec }, () => text)).toBe(text);
    expect(await b.share(name, { ttl: 60_000, codec }, never)).toBe(text);
  });

  test("a value that is too large is refused for all who waited, and not kept", async () => {
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const first = rejection(a.share(name, { ttl: 60_000, maxSize: 10 }, compute));
    await until(() => locks.length === 1, "one computes");
    const waits = rejection(b.share(name, { ttl: 60_000 }, never));
    await waiting(a, name, 1);
    end.resolve("123456789");
    expect(await first).toMatchObject({
      code: "too-large",
      message: `The value of "${name}" takes 11 bytes once encoded, and maxSize allows 10. Share less of it, or raise maxSize. (holdfast/docs/troubleshooting.md#too-large)`,
    });
    expect(await waits).toMatchObject({ code: "compute-failed", message: expect.stringContaining("takes 11 bytes") });
    expect(await b.share(name, { ttl: 60_000, maxSize: 10 }, () => "12345678")).toBe("12345678");
  });

  test("a caller that aborts its signal stops waiting, and the others get the value", async () => {
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const computes = new AbortController();
    const first = a.share(name, { ttl: 60_000, signal: computes.signal }, compute);
    await until(() => locks.length === 1, "one computes");
    const [here, there] = [new AbortController(), new AbortController()];
    const joined = rejection(a.share(name, { ttl: 60_000, signal: here.signal }, never));
    const waits = rejection(b.share(name, { ttl: 60_000, signal: there.signal }, never));
    const stays = c.share(name, { ttl: 60_000 }, never);
    await waiting(a, name, 2);
    here.abort("enough here");
    there.abort("enough there");
    expect(await joined).toBe("enough here");
    expect(await waits).toBe("enough there");
    await waiting(a, name, 1);
    // A computation that has begun goes on: others wait for it.
    computes.abort("too late");
    end.resolve("made");
    expect(await Promise.all([first, stays])).toEqual(["made", "made"]);
    const over = AbortSignal.abort("before");
    expect(await rejection(a.share(name, { ttl: 60_000, signal: over }, never))).toBe("before");
  });

  test("if the first of a process leaves before its flight has the lock, the next computes", async () => {
    const name = unique();
    const held = await hold(c, name);
    const stop = new AbortController();
    const leaves = rejection(a.share(name, { ttl: 60_000, signal: stop.signal }, never));
    const storage = new AsyncLocalStorage<string>();
    const stays = storage.run("of the second", () => a.share(name, { ttl: 60_000 }, () => storage.getStore()));
    await waiting(a, name, 1);
    stop.abort("enough");
    expect(await leaves).toBe("enough");
    await held.end();
    expect(await stays).toBe("of the second");
  });

  test("close() rejects those who wait at once, and lets a computation end", async () => {
    const name = unique();
    const closing = await world.manager();
    const { compute, locks, end } = computation<string>();
    const first = closing.share(name, { ttl: 60_000 }, compute);
    await until(() => locks.length === 1, "one computes");
    const joined = rejection(closing.share(name, { ttl: 60_000 }, never));
    const other = await world.manager();
    const waits = rejection(other.share(name, { ttl: 60_000 }, never));
    const stays = b.share(name, { ttl: 60_000 }, never);
    await waiting(a, name, 2);
    await other.close();
    expect(await waits).toMatchObject({ code: "closed" });
    const closed = closing.close();
    expect(await joined).toMatchObject({ code: "closed" });
    expect(locks[0]?.signal.reason).toMatchObject({ reason: "closed" });
    end.resolve("made while closing");
    expect(await Promise.all([first, stays, closed])).toEqual(["made while closing", "made while closing", undefined]);
    expect(await rejection(closing.share(name, { ttl: 60_000 }, never))).toMatchObject({ code: "closed" });
  });

  test("a caller that loses the lock while it computes gets an error, and the next computes", async () => {
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const first = rejection(a.share(name, { ttl: 60_000 }, compute));
    await until(() => locks.length === 1, "one computes");
    const others = [a.share(name, { ttl: 60_000 }, () => "anew"), b.share(name, { ttl: 60_000 }, () => "anew")];
    await waiting(a, name, 1);
    await c.forceRelease(name);
    end.resolve("too late");
    const error = (await first) as Error;
    expect([error, error.cause].some((each) => each instanceof LockLostError)).toBe(true);
    expect(await Promise.all(others)).toEqual(["anew", "anew"]);
    expect(await c.share(name, { ttl: 60_000 }, never)).toBe("anew");
  });

  test("a caller waits for an ordinary holder of the lock", async () => {
    const name = unique();
    const held = await hold(c, name);
    const asked = [a.share(name, { ttl: 60_000 }, () => 1), b.share(name, { ttl: 60_000 }, () => 2)];
    await waiting(a, name, 2);
    await held.end();
    const [one, two] = await Promise.all(asked);
    expect(one).toBe(two);
  });
});

describe("faults", () => {
  test("when the computing process is killed the next computes once its lease is over", PROCESSES, async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const name = unique();
    const victim = await participant(t, stage.server.url, { ttl: 3_000 });
    expect([await victim.tell("share", name), await victim.said()]).toEqual(["asked", "computing"]);
    const asked = [1, 2, 3].map((value) => locks.share(name, { ttl: 60_000 }, () => value));
    await waiting(locks, name, 1);
    await victim.kill();
    expect(await Promise.all(asked)).toEqual([1, 1, 1]);
  });

  test("if the server restarts without memory, the computing caller gets an error, and the next computes", async (t) => {
    const stage = await openStage(t);
    const [one, two] = [await stage.manager({ ttl: 2_000 }), await stage.manager({ ttl: 2_000 })];
    const name = unique();
    const { compute, locks, end } = computation<string>();
    const first = rejection(one.share(name, { ttl: 60_000 }, compute));
    await until(() => locks.length === 1, "one computes");
    const waits = two.share(name, { ttl: 60_000 }, () => "anew");
    await waiting(one, name, 1);
    await stage.server.restart();
    expect(await waits).toBe("anew");
    end.resolve("forgotten");
    // "Stolen", if its renewal comes while the next one holds.
    expect(await first).toSatisfy(isLockLost);
    expect(await one.share(name, { ttl: 60_000 }, never)).toBe("anew");
  });

  test("a server that does not take writes when the value is made is given it later", async (t) => {
    const stage = await openStage(t);
    const [locks, other] = [await stage.manager(), await stage.manager()];
    const name = unique();
    const value = await locks.share(name, { ttl: 60_000 }, async () => {
      await stage.redis.replicaof("127.0.0.1", 1);
      setTimeout(() => void stage.redis.replicaof("NO", "ONE"), 100);
      return "kept";
    });
    expect(value).toBe("kept");
    expect(await other.share(name, { ttl: 60_000 }, never)).toBe("kept");
  });

  test("a server that cannot be asked rejects all callers, and nothing is left behind", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const name = unique();
    await stage.redis.rpush(`{lock:${name}}:shared-value`, "no value of ours");
    const asked = [1, 2].map((value) => rejection(locks.share(name, { ttl: 60_000 }, () => value)));
    for (const error of await Promise.all(asked)) {
      expect(error).toBeInstanceOf(SchemeError);
      expect(error).toMatchObject({ code: "wrong-type" });
    }
    await stage.redis.del(`{lock:${name}}:shared-value`);
    expect(await locks.share(name, { ttl: 60_000 }, () => 3)).toBe(3);
  });

  test("an older fence never takes the place of a newer one", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    const name = unique();
    const key = `{lock:${name}}:shared-value`;
    const value = await locks.share(name, { ttl: 60_000 }, async (lock) => {
      await stage.redis.set(key, `${lock.fence + 1} v"newer"`, "PX", 60_000);
      return "older";
    });
    expect(value).toBe("older");
    expect(await stage.redis.get(key)).toMatch(/"newer"$/);
    expect(await locks.share(name, { ttl: 60_000 }, never)).toBe("newer");
  });

  test("the value expires, and query() does not show it as a lock", async (t) => {
    const stage = await openStage(t);
    const locks = await stage.manager();
    for (const name of [unique(), "a{b}"]) {
      await locks.share(name, { ttl: 1_000 }, () => 1);
      const key = name === "a{b}" ? "lock:a{b}:shared-value" : `{lock:${name}}:shared-value`;
      const left = await stage.redis.pttl(key);
      expect(left > 15_000 && left <= 16_000, `${left} ms`).toBe(true);
    }
    expect(await locks.query()).toEqual({ held: [], pending: [] });
  });
});

test.each(countless)("$title refuses clearly", async ({ open, scheme }) => {
  const world = await open();
  const locks = await world.manager();
  const error = await rejection(locks.share("x", { ttl: 0 }, never));
  expect(error).toMatchObject({ code: "unsupported" });
  expect(error).toBeInstanceOf(LockError);
  expect((error as Error).message).toBe(
    scheme === "redlock"
      ? 'The scheme "redlock" cannot share a value. An array of clients, even of one, means Redlock. Pass a single client to use the scheme "lua". (holdfast/docs/troubleshooting.md#unsupported)'
      : 'The scheme "set" cannot share a value. Use the scheme "lua". (holdfast/docs/troubleshooting.md#unsupported)',
  );
  await world.close();
});

describe("refused before anything is sent", () => {
  const locks = new TestLocks().manager();
  const ask = (options: unknown, name: unknown = "x", compute: unknown = never): Promise<unknown> =>
    rejection(locks.share(name as string, options as ShareOptions<unknown>, compute as () => unknown));

  test.each([
    [{}, "Expected ttl, how long the value is given out; got undefined."],
    [undefined, "Expected ttl, how long the value is given out; got undefined."],
    [{ ttl: -1 }, "Expected ttl to be a whole number of at least 0 milliseconds; got -1."],
    [{ ttl: 0, retry: 1 }, "Expected retry to be true or false; got 1."],
    [{ ttl: 0, maxSize: 0 }, /^Expected maxSize to be/],
    [{ ttl: 0, codec: JSON }, /^Expected codec to have the functions encode and decode; got an object/],
    [{ ttl: 0, codec: "json" }, /^Expected codec to be an object; got "json"/],
    [{ ttl: 0, signal: 1 }, /^Expected signal to be an AbortSignal/],
    [{ ttl: 0, waitTimeout: 1 }, /^Unknown option "waitTimeout"/],
  ])("%o", async (options, message) => {
    expect(((await ask(options)) as Error).message).toMatch(message);
  });

  test("a name that is no string, and code that is no function", async () => {
    expect(String(await ask({ ttl: 0 }, 1))).toBe("TypeError: Expected the lock's name to be a string; got 1.");
    expect(String(await ask({ ttl: 0 }, "x", 1))).toBe("TypeError: Expected compute to be a function; got 1.");
  });
});
