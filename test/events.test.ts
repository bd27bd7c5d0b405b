/** What is published on node:diagnostics_channel about requests and grants: how each begins, and how it ends, once. */
import { AsyncLocalStorage } from "node:async_hooks";
import { channel, subscribe, tracingChannel, unsubscribe } from "node:diagnostics_channel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LockLostError } from "../src/index.ts";
import type { LockEvents, LockManager, RequestTrace } from "../src/index.ts";
import type { Finishing } from "./support/stage.ts";
import { rejection, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

const kinds = [
  "queued",
  "granted",
  "timeout",
  "aborted",
  "failed",
  "renewed",
  "released",
  "detached",
  "lost",
  "elected",
  "resigned",
  "forced",
] as const;

type Event = { kind: string } & Partial<LockEvents["holdfast:queued"]> &
  Partial<LockEvents["holdfast:granted"]> &
  Partial<LockEvents["holdfast:lost"]>;

/** What is reported of one lock from now on. */
function reported(t: Finishing, name: string): Event[] {
  const seen: Event[] = [];
  for (const kind of kinds) {
    const listen = (message: unknown): void => {
      const event = message as Event;
      if (event.name === name) seen.push({ ...event, kind });
    };
    subscribe(`holdfast:${kind}`, listen);
    t.onTestFinished(() => void unsubscribe(`holdfast:${kind}`, listen));
  }
  return seen;
}

/** What the tracing channel says of one lock from now on: at each step, what the message says then. */
function traced(t: Finishing, name: string): { step: string; trace: RequestTrace; then: RequestTrace }[] {
  const seen: { step: string; trace: RequestTrace; then: RequestTrace }[] = [];
  const note = (step: string) => (message: unknown) => {
    const trace = message as RequestTrace;
    if (trace.name === name) seen.push({ step, trace, then: { ...trace } });
  };
  const steps = ["start", "end", "asyncStart", "asyncEnd", "error"] as const;
  const listeners = Object.fromEntries(steps.map((step) => [step, note(step)]));
  const requests = tracingChannel("holdfast:request");
  requests.subscribe(listeners as never);
  t.onTestFinished(() => requests.unsubscribe(listeners as never));
  return seen;
}

const kindsOf = (seen: readonly Event[]): string[] => seen.map(({ kind }) => kind);

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let locks: LockManager;
  beforeAll(async () => {
    world = await open();
    locks = await world.manager({ label: "us" });
  });
  afterAll(() => world.close());

  test("a lock that is given back was granted and released, and both say which lock of whom", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const lock = await locks.acquire(name);
    await lock.release();
    await lock.release();
    const { fence, token } = lock;
    const about = { name, mode: "exclusive", permits: undefined, token, fence, scheme, prefix: "lock:", label: "us" };
    expect(seen).toEqual([
      { kind: "granted", ...about, waited: expect.any(Number), wasQueued: false, durability: undefined },
      { kind: "released", ...about, held: expect.any(Number) },
    ]);
  });

  test("the label of an event is the request's, if it has one", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    await (await locks.acquire(name, { label: "a job" })).release();
    expect(seen.map(({ label }) => label)).toEqual(["a job", "a job"]);
  });

  test("a request that waits is queued once, and then granted", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const lock = await (await world.manager()).acquire(name);
    const waits = locks.acquire(name);
    await until(() => kindsOf(seen).includes("queued"), "it is queued");
    await lock.release();
    const second = await waits;
    await second.release();
    // The next holder may begin before the former one hears that its release has arrived.
    const ours = seen.filter(({ kind, label }) => label === "us" && kind !== "renewed");
    expect(kindsOf(ours)).toEqual(["queued", "granted", "released"]);
    expect(seen.find(({ kind }) => kind === "queued")?.position).toBe(scheme === "set" ? undefined : 1);
    expect(seen.findLast(({ kind }) => kind === "granted")).toMatchObject({ wasQueued: true, fence: second.fence });
  });

  test("each of many requests that wait in one process is queued once and granted once", async (t) => {
    const name = unique();
    const lock = await (await world.manager()).acquire(name);
    const seen = reported(t, name);
    const count = (kind: string): number => kindsOf(seen).filter((each) => each === kind).length;
    const all = Array.from({ length: 20 }, () => locks.request(name, () => {}));
    await until(() => count("queued") === 20, "all are queued");
    await lock.release();
    await Promise.all(all);
    // The holder that they waited for is released, too.
    expect([count("queued"), count("granted"), count("released")]).toEqual([20, 20, 21]);
    expect(seen.filter(({ kind, wasQueued }) => kind === "granted" && !wasQueued)).toEqual([]);
  });

  test("a wait ends with timeout, aborted or failed, as its promise does", async (t) => {
    const name = unique();
    const lock = await locks.acquire(name);
    const seen = reported(t, name);
    const ends = (): string[] => kindsOf(seen).filter((kind) => !["queued", "renewed"].includes(kind));
    await rejection(locks.acquire(name, { waitTimeout: 60 }));
    await locks.tryAcquire(name, { waitTimeout: 60 });
    const stop = new AbortController();
    const aborted = locks.acquire(name, { signal: stop.signal });
    await until(() => kindsOf(seen).filter((kind) => kind === "queued").length === 3, "all were queued");
    stop.abort("enough");
    await rejection(aborted);
    const closing = await world.manager();
    const closed = closing.acquire(name);
    await until(() => kindsOf(seen).filter((kind) => kind === "queued").length === 4, "it is queued");
    await Promise.all([closing.close(), rejection(closed)]);
    expect(ends()).toEqual(["timeout", "timeout", "aborted", "failed"]);
    expect(seen.filter(({ wasQueued }) => wasQueued === false)).toEqual([]);
    await lock.release();
  });

  test("an extension is reported as renewed", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    await using lock = await locks.acquire(name);
    await lock.extend();
    expect(seen.at(-1)).toMatchObject({ kind: "renewed", token: lock.token, remaining: expect.any(Number) });
  });

  test("a lock that was lost is not released too, whatever its holder does then", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const request = locks.request(name, { ttl: 500 }, async (lock) => {
      await (await world.manager({ label: "them" })).forceRelease(name);
      await lock.extend().catch(() => {});
      await until(() => !lock.held, "it was lost");
      await lock.release();
    });
    // A theft is an AbortError by the specification; what only a renewal finds out is a loss.
    const error = await rejection(request);
    expect(error instanceof LockLostError || (error as Error).name === "AbortError").toBe(true);
    const kindsSeen = kindsOf(seen).filter((kind) => kind !== "renewed");
    expect(kindsSeen.toSorted()).toEqual(["forced", "granted", "lost"]);
    const { token } = seen[0]!;
    expect(seen.find(({ kind }) => kind === "forced")).toMatchObject({ by: "them", mode: "exclusive", token });
    expect(seen.find(({ kind }) => kind === "lost")).toMatchObject({ held: expect.any(Number), blocked: undefined });
  });

  test("a lease that ends because the event loop was blocked is lost with how long that was", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const lock = await locks.acquire(name, { ttl: 100 });
    const end = performance.now() + 300;
    while (performance.now() < end);
    await until(() => lock.signal.aborted, "it was lost");
    const lost = seen.find(({ kind }) => kind === "lost");
    expect(lost?.reason).toBe("expired");
    expect(lost?.blocked).toBeGreaterThan(100);
    expect((lost?.held ?? 0) >= (lost?.blocked ?? 0)).toBe(true);
  });

  test("a request is traced from its start to its grant, in one message", async (t) => {
    const name = unique();
    const seen = traced(t, name);
    await using lock = await locks.acquire(name, { label: "a job" });
    expect(seen.map(({ step }) => step)).toEqual(["start", "end", "asyncStart", "asyncEnd"]);
    expect(new Set(seen.map(({ trace }) => trace)).size).toBe(1);
    const about = { name, mode: "exclusive", permits: undefined, scheme, prefix: "lock:", label: "a job", ahead: 0 };
    const unknown = { position: undefined, waited: undefined, outcome: undefined, token: undefined, fence: undefined };
    expect(seen[0]?.then).toEqual({ ...about, ...unknown, error: undefined });
    const { token, fence } = lock;
    const granted = { position: undefined, waited: expect.any(Number), outcome: "granted", token, fence };
    expect(seen.at(-1)?.then).toEqual({ ...about, ...granted, error: undefined });
  });

  test("the trace of a request says how many were before it, and how it came out", async (t) => {
    const name = unique();
    const holder = await (await world.manager()).acquire(name);
    const seen = traced(t, name);
    const last = (): RequestTrace => seen.findLast(({ step }) => step === "asyncEnd")!.then;
    await locks.tryAcquire(name);
    expect(last()).toMatchObject({ outcome: "busy", ahead: 0, error: undefined });
    const stop = new AbortController();
    const first = locks.acquire(name, { signal: stop.signal });
    const error = await rejection(locks.acquire(name, { waitTimeout: 60 }));
    expect(last()).toMatchObject({ outcome: "timeout", ahead: 1, error });
    expect(last().waited).toBeGreaterThanOrEqual(60);
    expect(seen.map(({ step }) => step).filter((step) => step === "error")).toHaveLength(1);
    await until(() => scheme === "set" || seen.some(({ trace }) => trace.position === 1), "the first is in the queue");
    stop.abort("enough");
    await rejection(first);
    expect(last()).toMatchObject({ outcome: "aborted", error: "enough" });
    const closing = await world.manager();
    const closed = closing.acquire(name);
    await Promise.all([closing.close(), rejection(closed)]);
    expect(last()).toMatchObject({ outcome: "failed", error: { code: "closed" } });
    await holder.release();
  });

  test("a store that is bound to the start of a trace is set in what reports the request", async (t) => {
    const name = unique();
    const store = new AsyncLocalStorage<string>();
    const start = channel("tracing:holdfast:request:start");
    start.bindStore(store, () => "a span");
    t.onTestFinished(() => void start.unbindStore(store));
    const stores: (string | undefined)[] = [];
    const listen = (message: unknown): void => {
      if ((message as { name: string }).name === name) stores.push(store.getStore());
    };
    subscribe("holdfast:granted", listen);
    t.onTestFinished(() => void unsubscribe("holdfast:granted", listen));
    await (await locks.acquire(name)).release();
    expect([stores, store.getStore()]).toEqual([["a span"], undefined]);
  });

  test("a theft is reported as forced, with whom it was taken from and by whom", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const lock = await locks.acquire(name, { renew: false });
    await using thief = await (await world.manager()).acquire(name, { steal: true, label: "a thief" });
    const { token } = lock;
    const forced = seen.filter(({ kind }) => kind === "forced");
    expect(forced).toMatchObject([
      { by: "a thief", token, ...((scheme === "lua" || scheme === "memory") && { fence: lock.fence }) },
    ]);
    await thief.release();
    await (await locks.acquire(name, { steal: true })).release();
    expect(seen.filter(({ kind }) => kind === "forced")).toHaveLength(1);
  });

  test.skipIf(scheme !== "lua")(
    "a lock that is handed over was detached, and its heir has a grant of its own",
    async (t) => {
      const name = unique();
      const lock = await locks.acquire(name);
      const seen = reported(t, name);
      const heir = await locks.attach(await lock.detach());
      await heir.release();
      expect(seen.filter(({ kind }) => kind !== "renewed").map(({ kind, fence }) => [kind, fence])).toEqual([
        ["detached", lock.fence],
        ["granted", heir.fence],
        ["released", heir.fence],
      ]);
    },
  );

  test("a leader is elected, and resigns when it leaves its term, or loses it", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    for await (const term of locks.elect(name, { label: "one" })) {
      expect(seen.at(-1)).toMatchObject({ kind: "elected", token: term.token, fence: term.fence, label: "one" });
      break;
    }
    expect(kindsOf(seen)).toEqual(["granted", "elected", "released", "resigned"]);
    for await (const term of locks.elect(name)) {
      await locks.forceRelease(name);
      await until(() => !term.held || scheme === "set", "it was lost");
      break;
    }
    const last = kindsOf(seen).slice(4);
    expect(last.filter((kind) => kind === "resigned" || kind === "lost")).toEqual(["lost"]);
  });
});
