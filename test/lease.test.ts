/** Leases against a scheme that the test answers for, with time that moves by hand. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { LockLostError, SchemeError } from "../src/errors.ts";
import { drift } from "../src/leases/deadline.ts";
import { Lock } from "../src/lock.ts";
import { ManualClock } from "../src/testing.ts";
import { rejection } from "./support/locks.ts";
import { type Leases, startLeases } from "./support/leases.ts";
import { CuttingClock, ScriptedScheme } from "./support/scripted.ts";

/** A third of it is whole, and so is the local deadline: 1 % and 2 ms before the server's. */
const TTL = 30_000;
const DEADLINE = 29_698;
const RENEWAL = 10_000;
const RETRY = 2_500;

const down = (): SchemeError => new SchemeError("unreachable", "down", [], true);

interface Stage extends Leases {
  readonly clock: ManualClock;
  readonly scheme: ScriptedScheme;
}

let stage: Stage | undefined;

function setUp(clock: ManualClock = new ManualClock()): Stage {
  const scheme = new ScriptedScheme(clock);
  stage = { clock, scheme, ...startLeases(scheme, clock) };
  return stage;
}

/** Whatever happened, a keeper that is closed leaves no timer. */
afterEach(async () => {
  const { keeper, room, clock } = stage as Stage;
  await keeper.close(0);
  void room.idle();
  expect(clock.pending, "timers left").toBe(0);
});

describe("the local deadline", () => {
  test("is the ttl less 1 % and 2 ms after the request was sent: held until then, and not at that instant", async () => {
    const { clock, start } = setUp();
    const lease = start({ renew: false });
    await clock.advance(DEADLINE - 1);
    expect([lease.held, lease.remaining]).toEqual([true, 1]);
    await clock.advance(1);
    expect([lease.held, lease.remaining]).toEqual([false, 0]);
  });

  test("counts from when the request was sent, however late the answer came", async () => {
    const { clock, start } = setUp();
    await clock.advance(20_000);
    const lease = start({ renew: false }, 5_000);
    expect(lease.remaining).toBe(5_000 + DEADLINE - 20_000);
  });

  test("aborts the signal with the reason expired if nobody renews", async () => {
    const { clock, start } = setUp();
    const lease = start({ renew: false });
    const { signal } = lease;
    await clock.advance(DEADLINE - 1);
    expect(signal.aborted).toBe(false);
    await clock.advance(1);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBeInstanceOf(LockLostError);
    expect(signal.reason).toMatchObject({ code: "lost", reason: "expired" });
  });

  test("is seen also while no timer could run, as under a blocked event loop", () => {
    const { clock, start } = setUp();
    const lease = start({ renew: false });
    const { signal } = lease;
    vi.spyOn(clock, "now").mockReturnValue(DEADLINE);
    expect(lease.held).toBe(false);
    expect(signal.aborted).toBe(true);
  });

  test("comes also while a renewal hangs, with the reason unreachable", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    const { signal } = lease;
    await clock.advance(DEADLINE - 1);
    expect(scheme.extends.count).toBe(1);
    expect([lease.held, signal.aborted]).toEqual([true, false]);
    await clock.advance(1);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ reason: "unreachable" });
  });

  test("also comes if its first renewal was due before the grant arrived: that is not a blocked loop", async () => {
    const { clock, scheme, start } = setUp();
    await clock.advance(20_000);
    const lease = start({}, 4_000);
    const { signal } = lease;
    await clock.advance(4_000 + DEADLINE - 20_000);
    expect(scheme.extends.count).toBe(1);
    expect(signal.reason).toMatchObject({ reason: "unreachable", blocked: undefined });
  });

  test("comes also while renewals fail, with the reason unreachable", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => {
      throw down();
    };
    const lease = start();
    await clock.advance(DEADLINE - 1);
    expect(lease.held).toBe(true);
    await clock.advance(1);
    expect(lease.error).toMatchObject({ reason: "unreachable" });
    await clock.advance(TTL);
    expect(scheme.extends.all.every(({ at }) => at < DEADLINE)).toBe(true);
  });

  test("is final: a renewal that succeeds after it revives nothing", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    await clock.advance(DEADLINE);
    scheme.extends.last.answer("extended");
    await clock.advance(0);
    expect(lease.held).toBe(false);
    await clock.advance(TTL);
    expect(scheme.extends.count).toBe(1);
  });

  test("that passes in a blocked event loop, while the answer to an extension asked for in time lies unread, is none", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    const { signal } = lease;
    const extended = lease.extend(60_000);
    const now = vi.spyOn(clock, "now").mockReturnValue(DEADLINE);
    expect(lease.held, "until it has been read").toBe(false);
    expect(signal.aborted).toBe(false);
    scheme.extends.last.answer("extended");
    await extended;
    expect(lease.held).toBe(true);
    now.mockRestore();
    await clock.advance(DEADLINE + 1);
    expect(lease.held).toBe(true);
  });

  test("that passes in a blocked event loop, before a renewal could be asked for, is blamed on the block", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    vi.spyOn(clock, "now").mockReturnValue(DEADLINE + 1_000);
    expect(lease.held).toBe(false);
    expect(lease.error).toMatchObject({ reason: "expired", blocked: DEADLINE + 1_000 - RENEWAL });
    expect(lease.error?.message).toContain(`the event loop was blocked for ${DEADLINE + 1_000 - RENEWAL} ms`);
    expect(scheme.extends.count).toBe(0);
  });
});

describe("renewal", () => {
  test("is asked for when a third of the ttl has gone, and not before", async () => {
    const { clock, scheme, start } = setUp();
    start();
    await clock.advance(RENEWAL - 1);
    expect(scheme.extends.count).toBe(0);
    await clock.advance(1);
    expect(scheme.extends.all.map(({ what }) => what)).toEqual([
      { lock: "a", token: "client:10", mode: "exclusive", fence: 7, ttl: TTL },
    ]);
  });

  test("continues while it succeeds, each time a third of the ttl after the last was sent", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start();
    await clock.advance(10 * TTL);
    expect(lease.held).toBe(true);
    expect(scheme.extends.all.map(({ at }) => at)).toEqual(Array.from({ length: 30 }, (_, i) => (i + 1) * RENEWAL));
  });

  test("makes the deadline count from when the renewal was sent", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    await clock.advance(RENEWAL + 4_000);
    scheme.extends.last.answer("extended");
    await clock.advance(0);
    expect(lease.remaining).toBe(DEADLINE - 4_000);
    await clock.advance(RENEWAL - 4_000);
    expect(scheme.extends.all.map(({ at }) => at)).toEqual([RENEWAL, 2 * RENEWAL]);
  });

  test("that failed is tried again after a twelfth of the ttl, and the lease continues", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    await clock.advance(RENEWAL);
    scheme.extends.last.fail(down());
    await clock.advance(RETRY);
    expect(scheme.extends.all.map(({ at }) => at)).toEqual([RENEWAL, RENEWAL + RETRY]);
    scheme.extends.last.answer("extended");
    await clock.advance(0);
    expect(lease.remaining).toBe(DEADLINE);
    await clock.advance(DEADLINE);
    expect(lease.error, "the failure was forgotten").toMatchObject({ reason: "unreachable" });
    expect(scheme.extends.count).toBe(3);
  });

  test("is not sent a second time while the first is on its way", async () => {
    const { clock, scheme, start } = setUp();
    start();
    await clock.advance(DEADLINE);
    expect(scheme.extends.count).toBe(1);
  });

  test("is sent at once if there is doubt whether it is held, and not again because of doubt before its answer", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    lease.doubt();
    expect(scheme.extends.count).toBe(1);
    await clock.advance(1_000);
    lease.doubt();
    scheme.extends.last.answer("extended");
    await clock.advance(1_000);
    expect(scheme.extends.count).toBe(1);
    lease.doubt();
    expect(scheme.extends.count).toBe(2);
  });

  test.each([
    ["gone", "expired"],
    ["stolen", "stolen"],
  ] as const)("answered with %s ends the lease at once: %s", async (answer, reason) => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    const { signal } = lease;
    await clock.advance(RENEWAL);
    scheme.extends.last.answer(answer);
    await clock.advance(0);
    expect(lease.held).toBe(false);
    expect(signal.reason).toMatchObject({ reason });
    await clock.advance(TTL);
    expect(scheme.extends.count).toBe(1);
  });

  test("of which each answer takes longer than a third of the ttl: the next is late, and that is no blocked loop", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    await clock.advance(RENEWAL);
    await clock.advance(DEADLINE - RENEWAL - 1);
    scheme.extends.last.answer("extended");
    await clock.advance(0);
    expect(scheme.extends.all.map(({ at }) => at)).toEqual([RENEWAL, DEADLINE - 1]);
    await clock.advance(RENEWAL + 1); // the second has no answer
    expect(lease.error).toMatchObject({ reason: "unreachable", blocked: undefined });
  });

  test.each([
    ["with more time for its answer than it was late, and not answered, is the server's fault", 6_000, "unreachable"],
    ["with less time for its answer than it was late, and not answered, is the blocked loop's", 12_000, "expired"],
  ] as const)("asked for late, %s", async (_, late, reason) => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    const now = vi.spyOn(clock, "now").mockReturnValue(RENEWAL + late);
    await clock.advance(RENEWAL);
    expect(scheme.extends.count).toBe(1);
    now.mockRestore();
    await clock.advance(DEADLINE - RENEWAL);
    expect(lease.error).toMatchObject({ reason, blocked: reason === "expired" ? late : undefined });
  });

  test("asked for late, and answered with stolen behind the deadline, is no theft: the loop was blocked", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start();
    const { signal } = lease;
    const now = vi.spyOn(clock, "now").mockReturnValue(DEADLINE - 1);
    await clock.advance(RENEWAL);
    expect(scheme.extends.count).toBe(1);
    now.mockReturnValue(DEADLINE + 1);
    scheme.extends.last.answer("stolen");
    await clock.advance(0);
    now.mockRestore();
    expect(signal.reason).toMatchObject({ reason: "expired", blocked: DEADLINE - 1 - RENEWAL });
  });

  test("never happens with renew: false", async () => {
    const { clock, scheme, start } = setUp();
    start({ renew: false });
    await clock.advance(2 * TTL);
    expect(scheme.extends.count).toBe(0);
  });

  test("of many leases that are due at once is asked for in one turn of the event loop", async () => {
    const { clock, scheme, start } = setUp();
    let inTheFirstTurn = 0;
    scheme.extends.always = () => {
      if (scheme.extends.count === 1) queueMicrotask(() => (inTheFirstTurn = scheme.extends.count));
      return "extended";
    };
    for (let i = 0; i < 200; i++) start();
    await clock.advance(RENEWAL);
    expect(inTheFirstTurn).toBe(200);
  });

  test("of many leases needs one timer for all of them", () => {
    const { clock, start } = setUp();
    for (let i = 0; i < 200; i++) start({ ttl: TTL + i });
    expect(clock.pending).toBe(1);
  });

  test("of a lease that is due sooner than all others is not kept waiting by them", async () => {
    const { clock, scheme, start } = setUp();
    start();
    start({ ttl: 300 });
    await clock.advance(100);
    expect(scheme.extends.all.map(({ at, what }) => [at, what.ttl])).toEqual([[100, 300]]);
  });

  test("is not kept waiting by another lease whose extension has no answer", async () => {
    const { clock, scheme, start } = setUp();
    const first = start();
    await clock.advance(10);
    const second = start();
    const extended = rejection(first.extend());
    await clock.advance(RENEWAL);
    expect(scheme.extends.all.map(({ at }) => at)).toEqual([10, 10 + RENEWAL]);
    first.lose("expired");
    await extended;
    expect(second.held).toBe(true);
  });

  test("of a ttl that is longer than any timer comes at its third", async () => {
    const { clock, scheme, start } = setUp(new CuttingClock());
    const ttl = 3 * 2 ** 33;
    start({ ttl });
    await clock.advance(ttl / 3 - 1);
    expect(scheme.extends.count).toBe(0);
    await clock.advance(1);
    expect(scheme.extends.count).toBe(1);
  });
});

describe("maxHold", () => {
  test("ends the lease at its time (less the drift) however often it was renewed, with the reason expired", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start({ maxHold: 100_000 });
    await clock.advance(100_000 - drift(TTL) - 1);
    expect(lease.held).toBe(true);
    await clock.advance(drift(TTL) + 1);
    expect(lease.held).toBe(false);
    expect(lease.error).toMatchObject({ reason: "expired" });
  });

  test("lets no renewal ask for more than the time left", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    start({ maxHold: 100_000 });
    await clock.advance(TTL * 4);
    for (const { at, what } of scheme.extends.all) expect(at + what.ttl).toBeLessThanOrEqual(100_000);
    expect(scheme.extends.last.at).toBeGreaterThan(100_000 - TTL);
  });

  test("is what ended the lease, also while a renewal hangs", async () => {
    const { clock, start } = setUp();
    const lease = start({ maxHold: 20_000 });
    await clock.advance(20_000);
    expect(lease.error).toMatchObject({ reason: "expired" });
  });

  test("is what ended the lease also when renewals failed since the server granted all of it", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ ttl: 20_000, maxHold: 20_000 });
    scheme.extends.always = () => {
      throw down();
    };
    await clock.advance(20_000);
    expect(scheme.extends.count).toBeGreaterThan(0);
    expect(lease.error).toMatchObject({ reason: "expired" });
  });

  test("bounds extend() too, here and on the server, however often it is called", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start({ maxHold: 40_000, renew: false });
    for (let i = 0; i < 3; i++) await lease.extend(1_000_000);
    expect(scheme.extends.all.map(({ what }) => what.ttl)).toEqual([40_000, 40_000, 40_000]);
    expect(lease.remaining).toBe(40_000 - drift(40_000));
    await clock.advance(40_000);
    expect(lease.held).toBe(false);
  });
});

describe("extend()", () => {
  test("makes the lease last for that long from when it was sent", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    await clock.advance(1_000);
    const extended = lease.extend(100_000);
    await clock.advance(500);
    scheme.extends.last.answer("extended");
    await extended;
    expect(lease.remaining).toBe(100_000 * 0.99 - 2 - 500);
    expect(scheme.extends.last.what.ttl).toBe(100_000);
  });

  test("never shortens, neither here nor on the server", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start({ renew: false });
    await clock.advance(1_000);
    await lease.extend(100);
    expect(lease.remaining).toBeGreaterThanOrEqual(DEADLINE - 1_000);
    expect(lease.remaining).toBeLessThan(TTL - 1_000);
    expect(scheme.extends.last.what.ttl).toBe(TTL - 1_000);
  });

  test("without an argument takes the ttl that was asked for", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start({ renew: false });
    await clock.advance(20_000);
    await lease.extend();
    expect(lease.remaining).toBe(DEADLINE);
  });

  test("that is not answered rejects with the server's error, and the lease continues", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    const refused = rejection(lease.extend());
    const error = down();
    scheme.extends.last.fail(error);
    expect(await refused).toBe(error);
    await clock.advance(DEADLINE - 1);
    expect(lease.held).toBe(true);
  });

  test("that fails and later succeeds leaves no mark: the lease ends as expired", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    const refused = rejection(lease.extend());
    scheme.extends.last.fail(down());
    await refused;
    scheme.extends.always = () => "extended";
    await lease.extend();
    await clock.advance(DEADLINE);
    expect(lease.error).toMatchObject({ reason: "expired" });
  });

  test.each([
    ["gone", "expired"],
    ["stolen", "stolen"],
  ] as const)("answered with %s rejects with LockLostError: %s", async (answer, reason) => {
    const { scheme, start } = setUp();
    scheme.extends.always = () => answer;
    const lease = start();
    expect(await rejection(lease.extend())).toMatchObject({ name: "LockLostError", reason });
    expect(lease.held).toBe(false);
  });

  test("of a lease that is over rejects with LockLostError and sends nothing", async () => {
    const { clock, scheme, start } = setUp();
    const [lost, released] = [start({ renew: false }), start({ renew: false })];
    await released.release();
    await clock.advance(DEADLINE);
    expect(await rejection(lost.extend())).toBeInstanceOf(LockLostError);
    expect(await rejection(released.extend())).toMatchObject({ code: "released" });
    expect(scheme.extends.count).toBe(0);
  });

  test.each([49, 100.5, NaN])("refuses %d before anything is sent", async (ttl) => {
    const { scheme, start } = setUp();
    expect(await rejection(start().extend(ttl))).toBeInstanceOf(RangeError);
    expect(scheme.extends.count).toBe(0);
  });

  test("of a lease that is renewed keeps it renewed", async () => {
    const { clock, scheme, start } = setUp();
    scheme.extends.always = () => "extended";
    const lease = start();
    await lease.extend(100_000);
    await clock.advance(200_000);
    expect(lease.held).toBe(true);
  });
});

describe("the signal", () => {
  test("is made only when it is asked for, and once", async () => {
    const { clock, start } = setUp();
    const made = vi.fn();
    const Original = AbortController;
    vi.stubGlobal(
      "AbortController",
      class extends Original {
        constructor() {
          super();
          made();
        }
      },
    );
    try {
      const lease = start({ renew: false });
      const never = start({ renew: false });
      await clock.advance(1_000);
      expect(made).not.toHaveBeenCalled();
      expect(lease.signal).toBe(lease.signal);
      expect(made).toHaveBeenCalledTimes(1);
      await clock.advance(TTL);
      expect(never.error).toBeInstanceOf(LockLostError);
      expect(made).toHaveBeenCalledTimes(1);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  test("that is asked for after the loss comes aborted, with the same error", async () => {
    const { clock, start } = setUp();
    const lease = start({ renew: false });
    await clock.advance(DEADLINE);
    expect(lease.signal.aborted).toBe(true);
    expect(lease.signal.reason).toBe(lease.error);
  });

  test("is not aborted by release", async () => {
    const { clock, start } = setUp();
    const lease = start();
    const { signal } = lease;
    await lease.release();
    await clock.advance(TTL);
    expect(signal.aborted).toBe(false);
  });
});

describe("release", () => {
  test("is seen at once and resolves with true when the server has agreed", async () => {
    const { scheme, start } = setUp();
    scheme.releases.always = undefined;
    const lease = start();
    const released = lease.release();
    expect([lease.held, lease.remaining]).toEqual([false, 0]);
    scheme.releases.last.answer("released");
    expect(await released).toBe(true);
    expect(lease.error).toBeUndefined();
  });

  test("counts once: the second resolves with false and sends nothing", async () => {
    const { scheme, start } = setUp();
    const lease = start();
    await lease.release();
    expect(await lease.release()).toBe(false);
    expect(scheme.releases.count).toBe(1);
  });

  test("that the server answers with gone was a loss", async () => {
    const { scheme, start } = setUp();
    scheme.releases.always = () => "gone";
    const lease = start();
    const { signal } = lease;
    expect(await lease.release()).toBe(false);
    expect(lease.held).toBe(false);
    expect(signal.reason).toMatchObject({ reason: "expired" });
  });

  test("that may have run twice counts as released", async () => {
    const { scheme, start } = setUp();
    scheme.releases.always = () => "unsure";
    const lease = start();
    expect(await lease.release()).toBe(true);
    expect(lease.error).toBeUndefined();
  });

  test("of a lost lease resolves to false, and still releases it on the server", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    await clock.advance(DEADLINE);
    expect(await lease.release()).toBe(false);
    expect(scheme.releases.count).toBe(1);
  });

  test.each(["extended", "gone", "stolen", "failed"] as const)(
    "while a renewal is on its way leaves nothing, when that is answered with %s",
    async (answer) => {
      const { clock, scheme, start } = setUp();
      const lease = start();
      const { signal } = lease;
      await clock.advance(RENEWAL);
      expect(await lease.release()).toBe(true);
      if (answer === "failed") scheme.extends.last.fail(down());
      else scheme.extends.last.answer(answer);
      await clock.advance(0);
      expect(lease.held).toBe(false);
      expect(signal.aborted).toBe(false);
      await clock.advance(2 * TTL);
      expect(scheme.extends.count).toBe(1);
      expect(clock.pending).toBe(0);
    },
  );

  test("that fails does not reject, and is repeated until the server has answered", async () => {
    const { clock, scheme, start } = setUp();
    let failures = 3;
    scheme.releases.always = () => {
      if (failures-- > 0) throw down();
      return "released";
    };
    const lease = start();
    expect(await lease.release()).toBe(true);
    await clock.advance(TTL);
    expect(scheme.releases.all.map(({ at }) => at)).toEqual([0, 100, 300, 700]);
    expect(clock.pending).toBe(0);
  });

  test("that keeps failing is repeated until the ttl has passed, and then no more", async () => {
    const { clock, scheme, start } = setUp();
    scheme.releases.always = () => {
      throw down();
    };
    await start().release();
    await clock.advance(10 * TTL);
    const last = scheme.releases.last.at;
    expect(last).toBeLessThanOrEqual(TTL);
    expect(last).toBeGreaterThan(TTL - 2_500);
    expect(clock.pending).toBe(0);
  });

  test("that the server refuses for good is not told again", async () => {
    const { clock, scheme, start } = setUp();
    scheme.releases.always = () => {
      throw new SchemeError("not-authorized", "NOPERM", []);
    };
    await start().release();
    await clock.advance(TTL);
    expect(scheme.releases.count).toBe(1);
  });
});

describe("close", () => {
  test("releases all leases, and renews none any more", async () => {
    const { clock, scheme, keeper, start } = setUp();
    const leases = [start(), start(), start()];
    await keeper.close(0);
    expect(leases.map((lease) => lease.held)).toEqual([false, false, false]);
    expect(leases.map((lease) => lease.error?.reason)).toEqual(["closed", "closed", "closed"]);
    expect(scheme.releases.count).toBe(3);
    await clock.advance(TTL);
    expect(scheme.extends.count).toBe(0);
  });

  test("leaves no timer, of no lease", async () => {
    const { clock, keeper, start } = setUp();
    for (let i = 0; i < 10; i++) start({ ttl: 1_000 + i });
    await keeper.close(0);
    expect(clock.pending).toBe(0);
  });

  test("also ends repeated releases", async () => {
    const { clock, scheme, room, keeper, start } = setUp();
    scheme.releases.always = () => {
      throw down();
    };
    await start().release();
    await clock.advance(150);
    const before = scheme.releases.count;
    await keeper.close(0);
    void room.idle();
    expect(clock.pending).toBe(0);
    await clock.advance(TTL);
    expect(scheme.releases.count).toBe(before);
  });

  test("is not kept by a renewal that hangs", async () => {
    const { clock, keeper, start } = setUp();
    start();
    await clock.advance(RENEWAL);
    await keeper.close(0);
    expect(clock.pending).toBe(0);
  });
});

describe("a lock", () => {
  test("is its lease seen from outside", async () => {
    const { clock, scheme, start } = setUp();
    const lease = start({ renew: false });
    const lock = new Lock(lease);
    expect(lock).toMatchObject({ name: "a", mode: "exclusive", fence: 7, token: "client:10", held: true });
    expect(lock.remaining).toBe(DEADLINE);
    await clock.advance(DEADLINE);
    expect(lock).toMatchObject({ held: false, remaining: 0 });
    expect(lock.signal.aborted).toBe(true);
    await lock[Symbol.asyncDispose]();
    expect(scheme.releases.count).toBe(1);
  });
});
