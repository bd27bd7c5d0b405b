/**
 * The waiting loop as a manager runs it, against a scheme whose answers and pushes come in whatever order the test
 * wants, and with time that moves by hand.
 */
import { report } from "../src/caller.ts";
import { getEventListeners } from "node:events";
import { afterEach, describe, expect, test, vi } from "vitest";
import { LONGEST_TIMER } from "../src/clock.ts";
import { LockError, LockLostError, LockTimeoutError, SchemeError } from "../src/errors.ts";
import { type Lock, LockManager, type LockOptions } from "../src/index.ts";
import { type Answer, CLAIM_WINDOW, EXPIRY_MARGIN } from "../src/schemes/scheme.ts";
import { ManualClock } from "../src/testing.ts";
import { deferred, expectDOMException, rejection } from "./support/locks.ts";
import { CuttingClock, type ScriptedScheme, ScriptedStore } from "./support/scripted.ts";

vi.mock("../src/schemes/index.ts", () => ({ openScheme: (store: ScriptedStore) => store.scheme }));

const TTL = 10_000;
const pending = (pokeAfter = 5_000): Answer => ({ kind: "pending", pokeAfter });
const granted = (fence = 1): Answer => ({ kind: "granted", fence });
const down = (): SchemeError => new SchemeError("unreachable", "down", [], true);

interface Stage {
  readonly clock: ManualClock;
  readonly scheme: ScriptedScheme;
  readonly locks: LockManager;
}

let stage: Stage | undefined;

function setUp(clock: ManualClock = new ManualClock()): Stage {
  const store = new ScriptedStore(clock);
  stage = { clock, scheme: store.scheme, locks: new LockManager(store, { ttl: TTL }) };
  return stage;
}

/** Whatever happened, a manager that is closed leaves no timer. */
afterEach(async () => {
  const { locks, clock, scheme } = stage as Stage;
  const closed = locks.close();
  scheme.end();
  await closed;
  expect(clock.pending, "timers left").toBe(0);
});

/** A request whose fate can be looked at at any moment. */
interface Watched {
  lock: Lock | undefined;
  error: unknown;
}

function watch(acquired: Promise<Lock>): Watched {
  const watched: Watched = { lock: undefined, error: undefined };
  acquired.then(
    (lock) => (watched.lock = lock),
    (error: unknown) => (watched.error = error),
  );
  return watched;
}

/** A request that has been asked for, and the token it was asked for with. */
async function asked({ clock, scheme, locks }: Stage, options?: LockOptions): Promise<Watched & { token: string }> {
  const watched = watch(locks.acquire("a", options));
  await clock.advance(0);
  return Object.assign(watched, { token: scheme.acquires.last.what.token });
}

/** A request that stands in line. */
async function waiting(on: Stage, options?: LockOptions, pokeAfter?: number): Promise<Watched & { token: string }> {
  const watched = await asked(on, options);
  on.scheme.acquires.last.answer(pending(pokeAfter));
  await on.clock.advance(0);
  return watched;
}

describe("a push", () => {
  test("leads to a claim at once, and the lock is held only when the claim has been answered", async () => {
    const on = setUp();
    const request = await waiting(on);
    await on.clock.advance(1_000);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 1_000]);
    expect(on.scheme.acquires.last.what.token).toBe(request.token);
    expect(request.lock).toBeUndefined();
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock).toMatchObject({ held: true, fence: 7, token: request.token });
  });

  test("does not start a callback; the answer to the claim does", async () => {
    const on = setUp();
    const callback = vi.fn(() => "done");
    const result = on.locks.request("a", callback);
    await on.clock.advance(0);
    on.scheme.acquires.last.answer(pending());
    await on.clock.advance(0);
    on.scheme.listener.granted("a", on.scheme.acquires.last.what.token, 7, 1);
    await on.clock.advance(0);
    expect(callback).not.toHaveBeenCalled();
    on.scheme.acquires.last.answer(granted(7));
    expect(await result).toBe("done");
    expect(callback).toHaveBeenCalledTimes(1);
  });

  test.each([
    [251, 1],
    [250, 2],
  ])("that is known to last %i ms more: %i question(s) until the lock is held", async (lasts, questions) => {
    const on = setUp();
    const request = await waiting(on);
    // It lasts for the claim window, less what clocks may differ.
    on.scheme.listener.granted("a", request.token, 7, 1, on.clock.now() + lasts - 0.99 * CLAIM_WINDOW);
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(questions);
    if (questions > 1) on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect([request.lock?.held, request.lock?.fence]).toEqual([true, 7]);
  });

  test.each(["request", "acquire"] as const)(
    "that cannot be claimed before its time has passed is lost, and does not begin (%s)",
    async (verb) => {
      const on = setUp();
      const callback = vi.fn();
      const refused = rejection(verb === "request" ? on.locks.request("a", callback) : on.locks.acquire("a"));
      await on.clock.advance(0);
      on.scheme.acquires.last.answer(pending());
      await on.clock.advance(0);
      const connection = deferred();
      on.scheme.leaving = connection.promise;
      on.scheme.listener.granted("a", on.scheme.acquires.last.what.token, 7, 1, on.clock.now());
      await on.clock.advance(CLAIM_WINDOW + 100);
      connection.resolve();
      await on.clock.advance(0);
      expect(await refused).toMatchObject({ name: "LockLostError", reason: "unreachable" });
      expect(callback).not.toHaveBeenCalled();
    },
  );

  test("that overtakes its own pending reply is not lost", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(on.scheme.acquires.count, "one question of a token at a time").toBe(1);
    on.scheme.acquires.last.answer(pending());
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(2);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
  });

  test("whose claim is answered with pending leads to no more questions until the next push or poke", async () => {
    const on = setUp();
    const request = await waiting(on);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    on.scheme.acquires.last.answer(pending());
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(2);
    await on.clock.advance(5_000);
    expect(on.scheme.acquires.count).toBe(3);
  });

  test("that overtakes its own granted reply asks nothing more", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.listener.granted("a", request.token, 7, 1);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
    expect(on.scheme.acquires.count).toBe(1);
  });

  test("for a request that failed to ask and pauses makes it ask at once", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.fail(down());
    await on.clock.advance(0);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 0]);
  });

  test("for a request that is over changes nothing: its farewell has been said, or will be", async () => {
    const on = setUp();
    const controller = new AbortController();
    const request = await waiting(on, { signal: controller.signal });
    controller.abort();
    await on.clock.advance(0);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("for a lock that was released changes nothing", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    await request.lock?.release();
    on.scheme.listener.granted("a", request.token, 8, 1);
    await on.clock.advance(0);
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("for a lock that was detached gives nothing back: its token still holds", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    on.scheme.extends.always = () => "extended";
    await request.lock?.detach();
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(on.scheme.releases.count).toBe(0);
  });

  test("of the fence that is held changes nothing; of a later one, the earlier is lost", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
    on.scheme.listener.granted("a", request.token, 8, 1);
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(false);
    expect(request.lock?.signal.reason).toBeInstanceOf(LockLostError);
  });

  test("that may have been missed lets every waiter ask, and those in the middle of asking ask once more", async () => {
    const on = setUp();
    await waiting(on);
    await waiting(on);
    await asked(on);
    on.scheme.listener.missed();
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(5);
    on.scheme.acquires.all[2]?.answer(pending());
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(6);
  });
});

describe("the notice of being first in line", () => {
  test("leads to a question when the holder's time has ended, and not before", async () => {
    const on = setUp();
    const request = await waiting(on, {}, 5_000);
    await on.clock.advance(500);
    on.scheme.listener.next("a", request.token, 1_000);
    await on.clock.advance(1_000);
    expect(on.scheme.acquires.count).toBe(1);
    await on.clock.advance(EXPIRY_MARGIN);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 1_500 + EXPIRY_MARGIN]);
  });

  test("that overtakes its own pending reply is not lost", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.listener.next("a", request.token, 1_000);
    await on.clock.advance(100);
    on.scheme.acquires.last.answer(pending(5_000));
    await on.clock.advance(900 + EXPIRY_MARGIN);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 1_000 + EXPIRY_MARGIN]);
  });

  test("puts off no poke that comes sooner, and counts for one wait only", async () => {
    const on = setUp();
    const request = await waiting(on, {}, 300);
    on.scheme.acquires.always = () => pending(5_000);
    on.scheme.listener.next("a", request.token, 1_000);
    await on.clock.advance(6_000);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 300, 5_300]);
  });

  test("of a request that is over or holds does nothing", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    for (const token of [request.token, "somebody:else"]) on.scheme.listener.next("a", token, 0);
    await on.clock.advance(1_000);
    expect(request.lock?.held).toBe(true);
    expect([on.scheme.acquires.count, on.scheme.releases.count]).toEqual([1, 0]);
  });
});

describe("a notice of loss", () => {
  test("that overtakes the granted reply counts: no lock is given out", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.listener.lost("a", request.token, 7);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock).toBeUndefined();
    expect(request.error).toMatchObject({ name: "LockLostError", reason: "stolen" });
  });

  test("that overtakes the granted reply keeps the callback from starting", async () => {
    const on = setUp();
    const callback = vi.fn();
    const refused = rejection(on.locks.request("a", callback));
    await on.clock.advance(0);
    on.scheme.listener.lost("a", on.scheme.acquires.last.what.token, 7);
    on.scheme.acquires.last.answer(granted(7));
    expectDOMException(await refused, "AbortError");
    expect(callback).not.toHaveBeenCalled();
  });

  test("of an earlier grant does not touch a later one", async () => {
    const on = setUp();
    const request = await waiting(on);
    on.scheme.listener.lost("a", request.token, 6);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    on.scheme.listener.lost("a", request.token, 6);
    expect(request.lock?.held).toBe(true);
  });
});

describe("a request that is over while its question is out", () => {
  test.each<[string, Answer]>([
    ["granted", granted()],
    ["pending", pending()],
  ])("gives back what the answer %s may have won, after it has come", async (_, answer) => {
    const on = setUp();
    const controller = new AbortController();
    const request = await asked(on, { signal: controller.signal });
    controller.abort("enough");
    await on.clock.advance(0);
    expect(request.error, "at once").toBe("enough");
    const before = on.scheme.releases.count;
    on.scheme.acquires.last.answer(answer);
    await on.clock.advance(10_000);
    expect(on.scheme.releases.all.slice(before).map(({ what }) => what)).toEqual([{ lock: "a", token: request.token }]);
    expect(on.scheme.acquires.count).toBe(1);
    expect(request.lock).toBeUndefined();
  });

  test("gives back a grant that comes after the timeout", async () => {
    const on = setUp();
    const request = await asked(on, { waitTimeout: 100 });
    await on.clock.advance(100);
    expect(request.error).toBeInstanceOf(LockTimeoutError);
    const before = on.scheme.releases.count;
    on.scheme.acquires.last.answer(granted());
    await on.clock.advance(0);
    expect(on.scheme.releases.count).toBe(before + 1);
    expect(on.scheme.releases.last.what.token).toBe(request.token);
  });

  test("gives back a grant that comes while the manager closes, and the manager waits for that", async () => {
    const on = setUp();
    const request = await asked(on);
    let isClosed = false;
    const closing = on.locks.close().then(() => (isClosed = true));
    await on.clock.advance(0);
    expect(request.error).toMatchObject({ code: "closed" });
    expect([on.scheme.releases.count, isClosed]).toEqual([0, false]);
    on.scheme.acquires.last.answer(granted());
    await closing;
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("does not mind that the question fails", async () => {
    const on = setUp();
    const controller = new AbortController();
    const request = await asked(on, { signal: controller.signal });
    controller.abort("enough");
    on.scheme.acquires.last.fail(down());
    await on.clock.advance(60_000);
    expect(request.error).toBe("enough");
    expect(on.scheme.acquires.count).toBe(1);
  });
});

describe("a request that ends while it waits", () => {
  test("by abort leaves the queue at once and asks no more", async () => {
    const on = setUp();
    const controller = new AbortController();
    const request = await waiting(on, { signal: controller.signal });
    controller.abort("enough");
    await on.clock.advance(60_000);
    expect(request.error).toBe("enough");
    expect(on.scheme.releases.all.map(({ what, at }) => [what.token, at])).toEqual([[request.token, 0]]);
    expect(on.scheme.acquires.count).toBe(1);
  });

  test("by its waitTimeout does so at that time, not before, and leaves the queue", async () => {
    const on = setUp();
    const request = await waiting(on, { waitTimeout: 3_000 });
    await on.clock.advance(2_999);
    expect(request.error).toBeUndefined();
    await on.clock.advance(1);
    expect(request.error).toBeInstanceOf(LockTimeoutError);
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("by a waitTimeout of more than 2³¹ ms, which no timer can carry, ends at that time and not before", async () => {
    const on = setUp(new CuttingClock());
    const month = LONGEST_TIMER + 1_000_000;
    const request = await waiting(on, { waitTimeout: month }, Number.MAX_SAFE_INTEGER);
    on.scheme.acquires.always = () => pending(Number.MAX_SAFE_INTEGER);
    await on.clock.advance(LONGEST_TIMER + 1);
    expect(request.error).toBeUndefined();
    await on.clock.advance(month - LONGEST_TIMER - 2);
    expect(request.error).toBeUndefined();
    await on.clock.advance(1);
    expect(request.error).toBeInstanceOf(LockTimeoutError);
  });

  test("by its grant ignores a later timeout and abort", async () => {
    const on = setUp();
    const controller = new AbortController();
    const request = await asked(on, { waitTimeout: 100, signal: controller.signal });
    on.scheme.acquires.last.answer(granted());
    await on.clock.advance(100);
    controller.abort();
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
    expect(on.scheme.releases.count).toBe(0);
  });

  test("however it ends, leaves no listener on its signal", async () => {
    const on = setUp();
    const { signal } = new AbortController();
    const won = await asked(on, { signal });
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    on.scheme.acquires.last.answer(granted());
    await asked(on, { signal });
    on.scheme.acquires.last.fail(new SchemeError("server", "no", []));
    await waiting(on, { signal, waitTimeout: 10 });
    await on.clock.advance(10);
    expect(won.lock?.held).toBe(true);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });
});

describe("close", () => {
  test("rejects all requests, whether they wait, ask or pause, and gives each of them up", async () => {
    const on = setUp();
    const inLine = await waiting(on);
    const pausing = await asked(on);
    on.scheme.acquires.last.fail(down());
    const asking = await asked(on);
    const closing = on.locks.close();
    on.scheme.acquires.last.answer(pending());
    await closing;
    for (const { error } of [inLine, pausing, asking]) {
      expect(error).toBeInstanceOf(LockError);
      expect(error).toMatchObject({ code: "closed" });
    }
    const told = on.scheme.releases.all.map(({ what }) => what.token);
    expect(told.sort()).toEqual([inLine.token, pausing.token, asking.token].sort());
    expect(on.clock.pending).toBe(0);
  });

  test("ends even if nothing reaches the server", async () => {
    const on = setUp();
    await waiting(on);
    const held = await asked(on);
    on.scheme.acquires.last.answer(granted());
    await on.clock.advance(0);
    on.scheme.releases.always = () => {
      throw down();
    };
    await on.locks.close();
    expect(held.lock?.held).toBe(false);
    expect(on.scheme.closed).toBe(true);
  });
});

describe("a poke", () => {
  test("is sent when the time that the scheme named has passed, and not before", async () => {
    const on = setUp();
    const request = await waiting(on, {}, 2_500);
    await on.clock.advance(2_499);
    expect(on.scheme.acquires.count).toBe(1);
    await on.clock.advance(1);
    expect(on.scheme.acquires.count).toBe(2);
    expect(on.scheme.acquires.last.what.token).toBe(request.token);
  });

  test("follows each pending answer at the time that this one names", async () => {
    const on = setUp();
    await waiting(on, {}, 1_000);
    const times = [50, 4_000, 50];
    on.scheme.acquires.always = () => pending(times.shift() ?? 60_000);
    await on.clock.advance(10_000);
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 1_000, 1_050, 5_050, 5_100]);
  });

  test("brings along the ticket that the scheme wrote", async () => {
    const on = setUp();
    const tickets: (string | undefined)[] = [];
    vi.spyOn(on.scheme, "acquire").mockImplementation((question) => {
      tickets.push(question.ticket);
      question.ticket = "42";
      report(Promise.resolve(pending(100)), question);
    });
    watch(on.locks.acquire("a"));
    await on.clock.advance(150);
    expect(tickets).toEqual([undefined, "42"]);
  });
});

describe("an answer that comes when its lease would be over", () => {
  test("gives back that token, asks with a new one, and never leads to a held lock", async () => {
    const on = setUp();
    const request = await asked(on);
    await on.clock.advance(TTL);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock).toBeUndefined();
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
    const again = on.scheme.acquires.last.what.token;
    expect(again).not.toBe(request.token);
    on.scheme.acquires.last.answer(granted(8));
    await on.clock.advance(0);
    expect(request.lock).toMatchObject({ held: true, fence: 8, token: again });
  });

  test("is followed by an ordinary wait: a push for the new token counts", async () => {
    const on = setUp();
    const request = await asked(on);
    await on.clock.advance(TTL);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    const { token } = on.scheme.acquires.last.what;
    on.scheme.acquires.last.answer(pending());
    await on.clock.advance(0);
    on.scheme.listener.granted("a", request.token, 7, 1);
    on.scheme.listener.granted("a", token, 8, 1);
    await on.clock.advance(0);
    expect(on.scheme.acquires.count).toBe(3);
    on.scheme.acquires.last.answer(granted(8));
    await on.clock.advance(0);
    expect(request.lock).toMatchObject({ held: true, token });
  });

  test("is one that comes at the local deadline; just before it is in time", async () => {
    for (const [late, questions] of [
      [TTL * 0.99 - 2, 2],
      [TTL * 0.99 - 2.5, 1],
    ] as const) {
      const on = setUp();
      await asked(on);
      await on.clock.advance(late);
      on.scheme.acquires.last.answer(granted(7));
      await on.clock.advance(0);
      expect(on.scheme.acquires.count).toBe(questions);
      on.scheme.end();
      await on.locks.close();
    }
  });

  test("three times in a row ends in SchemeError too-slow, and all three tokens are given back", async () => {
    const on = setUp();
    const request = await asked(on);
    for (let i = 1; i <= 3; i++) {
      expect(on.scheme.acquires.count).toBe(i);
      await on.clock.advance(TTL);
      on.scheme.acquires.last.answer(granted(i));
      await on.clock.advance(0);
    }
    expect(request.error).toBeInstanceOf(SchemeError);
    expect(request.error).toMatchObject({ code: "too-slow" });
    expect(on.scheme.acquires.count).toBe(3);
    const tokens = on.scheme.acquires.all.map(({ what }) => what.token);
    expect(new Set(tokens).size).toBe(3);
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual(tokens);
  });

  test("does not disturb a wait: late and pending is in line all the same", async () => {
    const on = setUp();
    const request = await asked(on);
    await on.clock.advance(3 * TTL);
    on.scheme.acquires.last.answer(pending());
    await on.clock.advance(0);
    expect(on.scheme.releases.count).toBe(0);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(0);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
  });
});

describe("the lease that a request wins", () => {
  test("counts from when the winning question was sent, not from its answer", async () => {
    const on = setUp();
    const request = await waiting(on);
    await on.clock.advance(1_000);
    on.scheme.listener.granted("a", request.token, 7, 1);
    await on.clock.advance(400);
    on.scheme.acquires.last.answer(granted(7));
    await on.clock.advance(0);
    expect(request.lock?.remaining).toBeCloseTo(TTL * 0.99 - 2 - 400);
  });
});

describe("an error", () => {
  test("that is transient is tried again with the same token, after pauses that grow", async () => {
    const on = setUp();
    on.scheme.acquires.always = () => {
      throw down();
    };
    const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const request = watch(on.locks.acquire("a"));
    await on.clock.advance(4_000);
    random.mockRestore();
    const times = on.scheme.acquires.all.map(({ at }) => at);
    expect(times.slice(0, 8)).toEqual([0, 25, 75, 175, 375, 775, 1_575, 2_575]);
    expect(new Set(on.scheme.acquires.all.map(({ what }) => what.token)).size).toBe(1);
    expect(request.error).toBeUndefined();
  });

  test("after an answer is tried again as soon as the first was: the pauses begin anew", async () => {
    const on = setUp();
    const random = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const replies: (Answer | undefined)[] = [undefined, undefined, pending(1_000), undefined, undefined];
    on.scheme.acquires.always = () => {
      const reply = replies.shift();
      if (reply) return reply;
      throw down();
    };
    watch(on.locks.acquire("a"));
    await on.clock.advance(1_150);
    random.mockRestore();
    expect(on.scheme.acquires.all.map(({ at }) => at)).toEqual([0, 25, 75, 1_075, 1_100, 1_150]);
  });

  test("that is transient and passes leads to the lock", async () => {
    const on = setUp();
    const request = await asked(on);
    on.scheme.acquires.last.fail(down());
    on.scheme.acquires.always = () => granted(7);
    await on.clock.advance(50);
    expect(request.lock?.held).toBe(true);
  });

  test("that is not transient rejects at once, and what may have landed is given back", async () => {
    const on = setUp();
    const request = await asked(on);
    const error = new SchemeError("wrong-type", "a list", []);
    on.scheme.acquires.last.fail(error);
    await on.clock.advance(0);
    expect(request.error).toBe(error);
    expect(on.scheme.acquires.count).toBe(1);
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("that is not transient ends also a wait in line", async () => {
    const on = setUp();
    const request = await waiting(on);
    await on.clock.advance(5_000);
    const error = new SchemeError("not-authorized", "NOAUTH", []);
    on.scheme.acquires.last.fail(error);
    await on.clock.advance(0);
    expect(request.error).toBe(error);
  });

  test("before the first answer is put up with for 5 s", async () => {
    const on = setUp();
    on.scheme.acquires.always = () => {
      throw down();
    };
    const request = watch(on.locks.acquire("a"));
    await on.clock.advance(4_999);
    expect(request.error).toBeUndefined();
    await on.clock.advance(1_501);
    expect(request.error).toMatchObject({ code: "unreachable" });
  });

  test("of a waiter in line is put up with for 30 s", async () => {
    const on = setUp();
    const request = await waiting(on, {}, 1_000);
    on.scheme.acquires.always = () => pending(1_000);
    await on.clock.advance(60_000);
    on.scheme.acquires.always = () => {
      throw down();
    };
    await on.clock.advance(29_999);
    expect(request.error).toBeUndefined();
    await on.clock.advance(3_000);
    expect(request.error).toMatchObject({ code: "unreachable" });
    expect(on.scheme.releases.all.map(({ what }) => what.token)).toEqual([request.token]);
  });

  test("does not outlast the waitTimeout", async () => {
    const on = setUp();
    on.scheme.acquires.always = () => {
      throw down();
    };
    const request = watch(on.locks.acquire("a", { waitTimeout: 1_000 }));
    await on.clock.advance(1_000);
    expect(request.error).toBeInstanceOf(LockTimeoutError);
  });
});

describe("how a request asks", () => {
  test("under a token that is larger, as text, than those of all earlier requests", async () => {
    const { clock, scheme, locks } = setUp();
    for (let i = 0; i < 1_400; i++) watch(locks.acquire(`lock ${i}`));
    await clock.advance(0);
    const tokens = scheme.acquires.all.map(({ what }) => what.token);
    expect(tokens).toHaveLength(1_400);
    expect(tokens).toEqual(tokens.toSorted());
  });

  test("waiting is asked for unless it may not wait", async () => {
    const on = setUp();
    on.scheme.acquires.always = () => granted();
    await on.locks.acquire("a");
    await on.locks.tryAcquire("a");
    await on.locks.acquire("a", { waitTimeout: 0 });
    expect(on.scheme.acquires.all.map(({ what }) => what.wait)).toEqual([true, false, false]);
  });

  test("busy is null for a try, and a timeout for a request that may not wait", async () => {
    const on = setUp();
    on.scheme.acquires.always = () => ({ kind: "busy" });
    expect(await on.locks.tryAcquire("a")).toBeNull();
    expect(await rejection(on.locks.acquire("a", { waitTimeout: 0 }))).toBeInstanceOf(LockTimeoutError);
    expect(on.clock.pending).toBe(0);
  });

  test("a waitTimeout of 0 lets the one try take its time", async () => {
    const on = setUp();
    const request = await asked(on, { waitTimeout: 0 });
    await on.clock.advance(500);
    on.scheme.acquires.last.answer(granted());
    await on.clock.advance(0);
    expect(request.lock?.held).toBe(true);
  });

  test("a thief steals and does nothing else, and tries again with the same token when that fails", async () => {
    const on = setUp();
    const thief = watch(on.locks.acquire("a", { steal: true }));
    await on.clock.advance(0);
    on.scheme.steals.last.fail(down());
    await on.clock.advance(50);
    on.scheme.steals.last.answer(granted(7));
    await on.clock.advance(0);
    expect(thief.lock?.held).toBe(true);
    expect(on.scheme.acquires.count).toBe(0);
    expect(new Set(on.scheme.steals.all.map(({ what }) => what.token)).size).toBe(1);
  });
});

test("no timer is left when all is over: granted, aborted, timed out, failed, and released", async () => {
  const on = setUp();
  const controller = new AbortController();
  const won = await waiting(on, { waitTimeout: 60_000 });
  await waiting(on, { signal: controller.signal });
  await waiting(on, { waitTimeout: 10 });
  const failed = await waiting(on);
  on.scheme.listener.granted("a", failed.token, 1, 1);
  await on.clock.advance(0);
  on.scheme.acquires.last.fail(new SchemeError("server", "no", []));
  controller.abort();
  await on.clock.advance(10);
  on.scheme.listener.granted("a", won.token, 1, 1);
  await on.clock.advance(0);
  on.scheme.acquires.last.answer(granted());
  await on.clock.advance(0);
  await won.lock?.release();
  // The keeper's timer is the only one, and it does not come back once it has run.
  expect(on.clock.pending).toBeLessThanOrEqual(1);
  await on.clock.advance(TTL);
  expect(on.clock.pending).toBe(0);
});

describe("a lock that is taken up", () => {
  const detached = {
    name: "a",
    mode: "exclusive",
    token: `${"x".repeat(22)}:1`,
    fence: 5,
    ttl: TTL,
    remaining: 1,
  } as const;

  test("is held when the server says so, under a token of this manager", async () => {
    const { clock, scheme, locks } = setUp();
    const watched = watch(locks.attach(detached));
    await clock.advance(0);
    scheme.acquires.last.answer(granted(7));
    await clock.advance(0);
    expect(watched.lock).toMatchObject({ fence: 7, token: scheme.acquires.last.what.token, held: true });
    expect(watched.lock?.token).not.toBe(detached.token);
  });

  test("and fails for want of an answer is asked for again under the same token, then given back", async () => {
    const { clock, scheme, locks } = setUp();
    const watched = watch(locks.attach(detached));
    await clock.advance(0);
    scheme.acquires.always = () => {
      throw down();
    };
    scheme.acquires.last.fail(down());
    await clock.advance(7_000);
    expect(watched.error).toMatchObject({ code: "unreachable" });
    const tokens = scheme.acquires.all.map(({ what }) => what.token);
    expect(tokens.length).toBeGreaterThan(2);
    expect(new Set(tokens).size).toBe(1);
    expect(scheme.releases.last.what.token).toBe(tokens[0]);
  });
});
