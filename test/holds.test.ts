/** What code deep inside a callback can ask about the lock around it, and what is reported of one that waits for itself. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockLostError, LockManager } from "../src/index.ts";
import type { LockEvents, LockOptions } from "../src/index.ts";
import { TestLocks } from "../src/testing.ts";
import type { Finishing } from "./support/stage.ts";
import { deferred, rejection, turn, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

type Trouble = LockEvents["holdfast:trouble"];

/** The troubles of one lock from now on. */
function troubles(t: Finishing, name: string): Trouble[] {
  const seen: Trouble[] = [];
  const listen = (message: unknown): void => {
    if ((message as Trouble).name === name) seen.push(message as Trouble);
  };
  subscribe("holdfast:trouble", listen);
  t.onTestFinished(() => void unsubscribe("holdfast:trouble", listen));
  return seen;
}

describe.each(schemes)("$title", ({ open, scheme }) => {
  let world: World;
  let locks: LockManager;
  beforeAll(async () => {
    world = await open();
    locks = await world.manager({ trackContext: true });
  });
  afterAll(() => world.close());

  test("code in a callback, however deep, is told that it holds the lock; all other code is not", async () => {
    const [name, other] = [unique(), unique()];
    const inside = async (): Promise<boolean[]> => {
      await turn();
      await Promise.all([turn(), new Promise((resolve) => setTimeout(resolve, 1))]);
      locks.assertHeld(name);
      return [locks.holds(name), locks.holds(other)];
    };
    const held = deferred();
    const ended = deferred();
    const request = locks.request(name, async () => {
      held.resolve();
      const seen = await inside();
      await ended.promise;
      return seen;
    });
    await held.promise;
    expect(locks.holds(name)).toBe(false);
    expect(() => locks.assertHeld(name)).toThrow(
      expect.objectContaining({
        code: "not-held",
        message: `Expected this code to run under the lock "${name}"; it does not. Call it in the callback of request("${name}", …). (holdfast/docs/troubleshooting.md#not-held)`,
      }),
    );
    ended.resolve();
    expect(await request).toEqual([true, false]);
  });

  test("so is code in callbacks inside one another, of several locks, of jobs and reentrant ones", async () => {
    const [a, b, c, d, e] = [unique(), unique(), unique(), unique(), unique()];
    const all = (): boolean[] => [a, b, c, d, e].map((name) => locks.holds(name));
    const seen = await locks.request(a, () =>
      locks.request([b, c], () =>
        locks.once(d, { atMost: 10_000 }, () => locks.request(e, { reentrant: true }, async () => all())),
      ),
    );
    expect(seen).toMatchObject({ ran: true, value: [true, true, true, true, true] });
    expect(all()).toEqual([false, false, false, false, false]);
  });

  test.skipIf(scheme === "set")("so is code under permits, and code that computes a shared value", async () => {
    const name = unique();
    expect(await locks.semaphore(name, 2).request(() => locks.holds(name))).toBe(true);
    expect(await locks.share(unique(), { ttl: 0 }, (lock) => locks.holds(lock.name))).toBe(true);
  });

  test("code under a lock that was released or lost, and code that outlives it, is told so", async () => {
    const name = unique();
    const after = deferred();
    const asked = deferred<unknown>();
    await locks.request(name, async (lock) => {
      void after.promise.then(() => asked.resolve(locks.holds(name)));
      await lock.release();
      expect(locks.holds(name)).toBe(false);
      expect(() => locks.assertHeld(name)).toThrow(expect.objectContaining({ code: "not-held" }));
    });
    after.resolve();
    expect(await asked.promise).toBe(false);
    const request = locks.request(name, { ttl: 100, renew: false }, async (lock) => {
      await until(() => !lock.held, "it was lost");
      expect(locks.holds(name)).toBe(false);
      locks.assertHeld(name);
    });
    expect(await rejection(request)).toBeInstanceOf(LockLostError);
  });

  test("managers know of their own locks only", async () => {
    const name = unique();
    const other = await world.manager({ trackContext: true });
    expect(await locks.request(name, () => other.holds(name))).toBe(false);
  });

  test("without the option the question is refused, but for a lock that is reentrant", async () => {
    const [name, other] = [unique(), unique()];
    const plain = await world.manager(scheme === "memory" ? { trackContext: false } : {});
    const error = await rejection(plain.request(name, () => plain.holds(name)));
    expect(error).toMatchObject({ code: "unsupported", message: expect.stringContaining("{ trackContext: true }") });
    expect(await plain.request(name, { reentrant: true }, () => plain.holds(name))).toBe(true);
    const within = plain.request(name, { reentrant: true }, () => plain.assertHeld(other));
    expect(await rejection(within)).toMatchObject({ code: "unsupported" });
  });

  test("a leader is asked whether it leads", async () => {
    const name = unique();
    const [election, other] = [locks.elect(name), locks.elect(name)];
    expect(election.leading).toBe(false);
    await election.next();
    expect([election.leading, other.leading]).toEqual([true, false]);
    const next = other.next();
    await election.return(undefined);
    await next;
    expect([election.leading, other.leading]).toEqual([false, true]);
    await other.return(undefined);
    expect(other.leading).toBe(false);
  });
});

describe("a request that waits for its own callback", () => {
  const world = new TestLocks("real time");
  const locks = world.manager({ label: "us" });
  afterAll(() => locks.close());
  const patience = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(50) });

  async function nested(outer: LockOptions, inner: LockOptions, t: Finishing): Promise<Trouble[]> {
    const name = unique();
    const seen = troubles(t, name);
    await locks.request(name, outer, async () => {
      const all = [1, 2].map(() => locks.request(name, inner, () => {}).catch(() => {}));
      await turn();
      await Promise.race([Promise.all(all), new Promise((resolve) => setTimeout(resolve, 20))]);
    });
    return seen;
  }

  test("is reported once, with what to do", async (t) => {
    const name = unique();
    const seen = troubles(t, name);
    const lock = await locks.request(name, async (held) => {
      const all = [1, 2].map(() => rejection(locks.request(name, patience(), () => {})));
      await Promise.all(all);
      return held;
    });
    expect(seen).toEqual([
      expect.objectContaining({
        scheme: "memory",
        label: "us",
        token: lock.token,
        operation: "acquire",
        code: "deadlock",
        error: expect.objectContaining({
          message:
            `A request for "${name}" waits for the callback that it is made in, which holds that lock, so neither ends. ` +
            "Give both requests { reentrant: true }, or do the work with the lock that the callback was given. " +
            "(holdfast/docs/troubleshooting.md#deadlock)",
        }),
      }),
    ]);
  });

  test.each<[string, LockOptions, LockOptions]>([
    ["shared in exclusive", {}, { mode: "shared" }],
    ["exclusive in shared", { mode: "shared" }, {}],
    ["reentrant in one that is not", {}, { reentrant: true }],
    ["one that is not in a reentrant one", { reentrant: true }, {}],
  ])("%s is reported", async (_, outer, inner) => {
    const finish: (() => void | Promise<void>)[] = [];
    const seen = await nested(outer, inner, { onTestFinished: (each) => finish.push(each) });
    for (const each of finish) await each();
    expect(seen.map(({ code }) => code)).toEqual(["deadlock"]);
  });

  test("also by acquire, among several names, by a candidate and by share", async (t) => {
    const asks: ((name: string) => Promise<unknown>)[] = [
      (name) => locks.acquire(name, patience()),
      (name) => locks.request([unique(), name], patience(), () => {}),
      (name) => locks.elect(name, patience()).next(),
      (name) => locks.share(name, { ttl: 0, ...patience() }, () => 1),
    ];
    for (const ask of asks) {
      const name = unique();
      const seen = troubles(t, name);
      await locks.request(name, () => ask(name).catch(() => {}));
      expect(seen.map(({ code }) => code)).toEqual(["deadlock"]);
    }
  });

  test("is not reported if it does not wait, has a limit, or takes part", async (t) => {
    expect(await nested({}, { ifAvailable: true }, t)).toEqual([]);
    expect(await nested({}, { waitTimeout: 5 }, t)).toEqual([]);
    expect(await nested({ mode: "shared" }, { mode: "shared" }, t)).toEqual([]);
    expect(await nested({ reentrant: true }, { reentrant: true }, t)).toEqual([]);
    const name = unique();
    const seen = troubles(t, name);
    await locks.request(name, () => locks.request(unique(), () => {}));
    const held = await locks.acquire(name);
    const waits = locks.acquire(name);
    await held.release();
    await (await waits).release();
    expect(seen).toEqual([]);
  });

  test("is not looked for unless the manager is told to, or is one for tests", async (t) => {
    const name = unique();
    const seen = troubles(t, name);
    const plain = new LockManager();
    await plain.request(name, () => rejection(plain.request(name, { signal: AbortSignal.timeout(10) }, () => {})));
    await plain.close();
    expect(seen).toEqual([]);
    expect(() => new LockManager(undefined, { detectDeadlocks: true, trackContext: false })).toThrow(TypeError);
  });
});
