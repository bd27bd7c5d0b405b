/** holdfast/otel, as the SDK's in-memory exporters see it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import { describe, expect, test } from "vitest";
import { Redis } from "ioredis";
import { startServer } from "../scripts/servers.ts";
import { LockManager } from "../src/index.ts";
import { instrument } from "../src/otel.ts";
import type { OtelOptions } from "../src/otel.ts";
import { TestLocks } from "../src/testing.ts";
import { rejection } from "./support/locks.ts";
import type { Finishing } from "./support/stage.ts";
import { until } from "./support/until.ts";

class Reader extends MetricReader {
  protected async onForceFlush(): Promise<void> {}
  protected async onShutdown(): Promise<void> {}
}

interface Point {
  readonly attributes: Record<string, unknown>;
  readonly value: number | { readonly count: number; readonly sum?: number };
}

interface Instrumented {
  readonly locks: LockManager;
  readonly world: TestLocks;
  spans(): ReadableSpan[];
  metric(name: string): Promise<Point[]>;
  stop(): void;
}

function instrumented(t: Finishing, options: OtelOptions = {}): Instrumented {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const reader = new Reader();
  const meterProvider = new MeterProvider({ readers: [reader] });
  const stop = instrument({ tracerProvider, meterProvider, ...options });
  const world = new TestLocks();
  t.onTestFinished(async () => {
    stop();
    await Promise.all([tracerProvider.shutdown(), meterProvider.shutdown()]);
  });
  return {
    world,
    locks: world.manager({ label: "worker 1" }),
    spans: () => exporter.getFinishedSpans(),
    metric: async (name) => {
      const { resourceMetrics } = await reader.collect();
      const all = resourceMetrics.scopeMetrics.flatMap(({ metrics }) => metrics);
      return all.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    },
    stop,
  };
}

const values = (points: Point[]): unknown[] => points.map(({ value }) => value);
const group = (name: string): string => name.replace(/:.*/, ":*");
const ABOUT = { "holdfast.scheme": "memory", "holdfast.prefix": "lock:" };

describe("spans", () => {
  test("a lock has one for its wait and one for its hold", async (t) => {
    const { locks, spans } = instrumented(t, { group });
    const lock = await locks.acquire("invoice:42");
    expect(spans().map(({ name }) => name)).toEqual(["holdfast acquire"]);
    await lock.release();
    const [acquire, hold] = spans();
    const about = {
      ...ABOUT,
      "holdfast.lock.group": "invoice:*",
      "holdfast.lock.name": "invoice:42",
      "holdfast.lock.mode": "exclusive",
      "holdfast.label": "worker 1",
    };
    expect(acquire?.attributes).toEqual({ ...about, "holdfast.outcome": "granted" });
    expect([hold?.name, hold?.attributes]).toEqual(["holdfast hold", { ...about, "holdfast.fence": lock.fence }]);
  });

  test("the span of a wait without a grant says how it ended; only a failure is an error", async (t) => {
    const { locks, world, spans } = instrumented(t);
    await using _ = await locks.acquire("a");
    const outcome = (): unknown => spans().at(-1)?.attributes["holdfast.outcome"];
    await rejection(locks.acquire("a", { waitTimeout: 0 }));
    expect([outcome(), spans().at(-1)?.status.code]).toEqual(["timeout", SpanStatusCode.UNSET]);
    const other = world.manager();
    const waits = rejection(other.acquire("a"));
    await other.close();
    await waits;
    expect([outcome(), spans().at(-1)?.status.code]).toEqual(["failed", SpanStatusCode.ERROR]);
    expect(spans().at(-1)?.events[0]?.name).toBe("exception");
  });

  test("both are children of the span that was active when the lock was requested", async (t) => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    t.onTestFinished(() => context.disable());
    const { locks, spans } = instrumented(t);
    const holder = await locks.acquire("a");
    const spanContext = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };
    const active = trace.setSpan(context.active(), trace.wrapSpanContext(spanContext));
    const waits = context.with(active, () => locks.request("a", () => {}));
    await holder.release();
    await waits;
    const children = spans().filter(({ parentSpanContext }) => parentSpanContext?.spanId === "2".repeat(16));
    expect(children.map(({ name }) => name)).toEqual(["holdfast acquire", "holdfast hold"]);
    expect(spans()).toHaveLength(4);
  });

  test("a loss is an event and an error of the hold", async (t) => {
    const { locks, spans } = instrumented(t);
    const lock = await locks.acquire("a");
    await locks.forceRelease("a");
    await until(() => !lock.held, "it was lost");
    const hold = spans().find(({ name }) => name === "holdfast hold");
    expect(hold?.events).toMatchObject([{ name: "holdfast.lost", attributes: { "holdfast.reason": "stolen" } }]);
    expect(hold?.status.code).toBe(SpanStatusCode.ERROR);
  });
});

describe("metrics", () => {
  test("no metric has the lock's name, and group names what it belongs to", async (t) => {
    const { locks, metric } = instrumented(t, { group });
    for (const name of ["invoice:1", "invoice:2"]) await locks.request(name, () => {});
    const attributes = { ...ABOUT, "holdfast.lock.group": "invoice:*" };
    for (const [name, outcome] of [
      ["holdfast.wait.duration", "granted"],
      ["holdfast.hold.duration", "released"],
    ] as const) {
      const points = await metric(name);
      expect(points.map((point) => point.attributes)).toEqual([{ ...attributes, "holdfast.outcome": outcome }]);
      expect(points[0]?.value).toMatchObject({ count: 2 });
    }
  });

  test("durations are in seconds", async (t) => {
    const { locks, world, metric } = instrumented(t);
    const lock = await locks.acquire("a", { ttl: 60_000 });
    await world.clock.advance(2_000);
    await lock.release();
    expect(values(await metric("holdfast.hold.duration"))).toMatchObject([{ count: 1, sum: 2 }]);
  });

  test("held, waiting and permits in use go up and down", async (t) => {
    const { locks, metric } = instrumented(t);
    const now = async (): Promise<unknown[]> =>
      (await Promise.all(["held", "waiting", "permits"].map((name) => metric(`holdfast.${name}`)))).flatMap(values);
    const lock = await locks.acquire("a");
    const semaphore = await locks.semaphore("s", 5).acquire({ permits: 3 });
    const waits = locks.acquire("a");
    const gone = rejection(locks.acquire("a", { signal: AbortSignal.timeout(20) }));
    await until(async () => (await now())[1] === 2, "two wait");
    expect(await now()).toEqual([2, 2, 3]);
    await gone;
    expect(await now()).toEqual([2, 1, 3]);
    await Promise.all([lock.release(), semaphore.release()]);
    await (await waits).release();
    expect(await now()).toEqual([0, 0, 0]);
  });

  test("leading goes down when the leader resigns and when it loses the lead", async (t) => {
    const { locks, metric } = instrumented(t);
    for (const end of ["resign", "lose"]) {
      for await (const term of locks.elect("scheduler")) {
        expect(values(await metric("holdfast.leading"))).toEqual([1]);
        if (end === "lose") {
          await locks.forceRelease("scheduler");
          await until(() => !term.held, "it was lost");
        }
        break;
      }
      expect(values(await metric("holdfast.leading"))).toEqual([0]);
    }
  });

  test("losses are counted by reason", async (t) => {
    const { locks, metric } = instrumented(t);
    const lock = await locks.acquire("a");
    await locks.forceRelease("a");
    await until(() => !lock.held, "it was lost");
    expect(await metric("holdfast.losses")).toMatchObject([
      { attributes: { ...ABOUT, "holdfast.reason": "stolen" }, value: 1 },
    ]);
  });
});

test("calls to a server that failed are counted by code and by what they were for", async (t) => {
  const { metric } = instrumented(t);
  const server = await startServer();
  t.onTestFinished(() => server.stop());
  const client = new Redis(server.url);
  client.on("error", () => {});
  t.onTestFinished(() => client.disconnect());
  const lock = await new LockManager(client).acquire("a");
  await client.acl("SETUSER", "default", "-@scripting");
  await rejection(lock.extend());
  await client.acl("SETUSER", "default", "+@scripting");
  await lock.release();
  // The lease is renewed by itself, too, and may have failed again.
  const [troubles] = await metric("holdfast.troubles");
  const about = { "holdfast.scheme": "lua", "holdfast.operation": "renew", "error.type": "no-scripting" };
  expect(troubles?.attributes).toMatchObject(about);
  expect(troubles?.value).toBeGreaterThan(0);
});

test("the main entry never loads OpenTelemetry; holdfast/otel does, by import and by require", async () => {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const source = `
    const isLoaded = () => Object.keys(require.cache).some((file) => file.includes("@opentelemetry"));
    require("holdfast");
    const before = isLoaded();
    const { instrument } = require("holdfast/otel");
    import("holdfast/otel").then((other) => console.log(before, isLoaded(), typeof instrument, typeof other.instrument));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["-e", source], { cwd: root });
  expect(stdout).toBe("false true function function\n");
});

test("once stopped, it subtracts what was held and waited for, and reports nothing more", async (t) => {
  const { locks, metric, spans, stop } = instrumented(t);
  const lock = await locks.acquire("a");
  const waits = locks.acquire("a");
  await until(async () => values(await metric("holdfast.waiting"))[0] === 1, "it waits");
  stop();
  expect(values(await metric("holdfast.held"))).toEqual([0]);
  expect(values(await metric("holdfast.waiting"))).toEqual([0]);
  const ended = spans().length;
  await lock.release();
  await (await waits).release();
  expect(spans()).toHaveLength(ended);
});

test.each([
  [{ group: "invoice" }, 'Expected group to be a function from a lock\'s name to its group; got "invoice".'],
  [{ tracerProvider: {} }, "Expected tracerProvider to be a TracerProvider"],
  [{ meterProvider: trace }, "Expected meterProvider to be a MeterProvider"],
  [{ tracer: 1 }, "tracer"],
])("the options %o are refused", (options, message) => {
  expect(() => instrument(options as never)).toThrow(message);
});
