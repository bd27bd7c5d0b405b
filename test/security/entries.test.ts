/** Whatever the other entries of the package are called with: they do it, or refuse in words before anything is sent. */
import "reflect-metadata";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createDashboard, nodeHandler } from "../../src/dashboard.ts";
import { notStale, passFence, RedisFence, sql, stamp } from "../../src/fence.ts";
import { holdfast as fastifyPlugin } from "../../src/fastify.ts";
import { LockManager } from "../../src/index.ts";
import { HoldfastModule, RunOnce, WhileLeader, WithLock } from "../../src/nestjs.ts";
import { runCoordinator } from "../../src/node-cron.ts";
import { instrument } from "../../src/otel.ts";
import {
  MultiSemaphore,
  Mutex,
  RedlockMultiSemaphore,
  RedlockMutex,
  RedlockSemaphore,
  Semaphore,
} from "../../src/redis-semaphore.ts";
import { Redlock } from "../../src/redlock.ts";
import { Redlock as Redlock4 } from "../../src/redlock4.ts";
import { ManualClock, TestLocks } from "../../src/testing.ts";
import {
  anything,
  callback,
  expectClear,
  expectHarmless,
  FUZZ_TIMEOUT,
  fuzzing,
  hostileName,
  options,
  outcomeOf,
} from "../support/hostile.ts";
import { openStage, unhandledRejections } from "../support/stage.ts";

type Given = fc.Arbitrary<unknown[]>;
type Ended = (value: unknown) => unknown;

interface Fuzz {
  /** Ends what a call began. */
  readonly end?: Ended;
  readonly runs?: number;
  readonly expectRefusal?: (error: unknown) => void;
}

/** Fails unless each call is carried out, or refused in words. */
async function fuzz(
  given: Given,
  call: (...args: never[]) => unknown,
  { end = () => {}, runs = 200, expectRefusal = expectClear }: Fuzz = {},
): Promise<void> {
  const property = fc.asyncProperty(given, async (args) => {
    const outcome = await outcomeOf(() => Reflect.apply(call, undefined, args));
    if ("value" in outcome) await end(outcome.value);
    else expectRefusal(outcome.error);
  });
  await fc.assert(property, fuzzing(runs));
}

const holder = options({ name: ["a"], fence: [1, 2 ** 50], token: ["a:1"] });
const name = fc.oneof(fc.constant("a"), hostileName, anything);

describe("holdfast/fence", () => {
  test("the parts of SQL statements", async () => {
    const columns = options({ fence: ["fence"], token: ["token"] });
    await fuzz(fc.tuple(holder, columns), notStale);
    await fuzz(fc.tuple(holder, columns), stamp);
    await fuzz(fc.tuple(holder), passFence);
    await fuzz(fc.tuple(anything, anything), (a, b) => sql`SELECT ${a}, ${b}`);
  });

  test(
    "a guard of keys, and what is written through it",
    async (t) => {
      const { redis, client } = await openStage(t);
      const clients = fc.oneof(fc.constant(redis), fc.constantFrom("redis://127.0.0.1:1", "http://a"), anything);
      await fuzz(
        fc.tuple(clients, options({ keepFor: [1_000] })),
        (...args) => Reflect.construct(RedisFence, args) as unknown,
        { end: (fence) => (fence as RedisFence).close() },
      );
      const guard = new RedisFence(client());
      const words = fc.array(fc.oneof(fc.constantFrom("a", 1, 1.5), anything), { maxLength: 3 });
      const write = fc.tuple(holder, fc.oneof(fc.constantFrom("SET", "HSET", "NOPE"), anything), name, words);
      await fuzz(write, (...[by, command, key, args]: [unknown, unknown, unknown, unknown[]]) =>
        Reflect.apply(guard.write, guard, [by, command, key, ...args] as never),
      );
      guard.close();
    },
    FUZZ_TIMEOUT,
  );
});

test("holdfast/otel: instrument()", async () => {
  const provider = { getTracer: () => ({}), getMeter: () => new Proxy({}, { get: () => () => ({}) }) };
  const given = options({ group: [String], tracerProvider: [provider], meterProvider: [provider] });
  await fuzz(fc.tuple(given), instrument, { end: (stop) => (stop as () => void)() });
});

describe("holdfast/testing", () => {
  test("TestLocks and their clock", async () => {
    await fuzz(fc.tuple(fc.oneof(fc.constantFrom("by hand", "real time"), anything)), (time) => new TestLocks(time));
    await fuzz(fc.tuple(options({ ttl: [50], label: ["a"] })), (given) => new TestLocks().manager(given), {
      end: (locks) => (locks as LockManager).close(),
    });
    await fuzz(fc.tuple(fc.oneof(fc.constantFrom(0, 100), anything)), async (time) => {
      const clock = new ManualClock();
      let due = 0;
      const again = (): void => void clock.after(1_000, () => due++ < 100 && again());
      again();
      await clock.advance(time);
    });
  });
});

describe("frameworks", () => {
  const locks = new TestLocks();
  const settings = { redis: [locks], ttl: [50], label: ["a"] };

  test("holdfast/nestjs: decorators and the module", async () => {
    const lockOptions = options({ ttl: [50], mode: ["shared"], manager: ["a", undefined] });
    await fuzz(fc.tuple(fc.oneof(name, callback), lockOptions), WithLock);
    await fuzz(fc.tuple(name, options({ atMost: [1_000], atLeast: [0], ttl: [50], manager: ["a"] })), RunOnce);
    await fuzz(fc.tuple(name, options({ ttl: [50], label: ["a"], manager: ["a"] })), WhileLeader);
    await fuzz(fc.tuple(options({ locks: [locks], name: ["a"], isGlobal: [true] })), (given) =>
      HoldfastModule.forTest(given),
    );
  });

  test("holdfast/fastify", async () => {
    const app = { addHook() {}, decorate() {} };
    await fuzz(fc.tuple(options(settings)), (given) => fastifyPlugin(app as never, given));
  });

  test("holdfast/node-cron", async () => {
    const manager = locks.manager();
    const coordinators = fc.tuple(fc.oneof(fc.constant(manager), anything), options({ prefix: ["a"], atMost: [50] }));
    await fuzz(coordinators, runCoordinator);
    const { shouldRun, onComplete } = runCoordinator(new LockManager());
    // node-cron itself calls these, with the name of a task and with milliseconds.
    await fuzz(
      fc.tuple(hostileName, fc.oneof(fc.constantFrom(0, 50), fc.double(), fc.integer())),
      async (key, time) => {
        await shouldRun(key, time);
        onComplete(key);
      },
    );
  });
});

describe("holdfast/dashboard", () => {
  const locks = new LockManager();

  test("createDashboard() and nodeHandler()", async () => {
    const given = options({
      title: ["a"],
      readOnly: [true],
      authorize: [() => true],
      poll: [100],
      stuckAfter: [1_000],
    });
    await fuzz(
      fc.tuple(fc.oneof({ weight: 4, arbitrary: fc.constant(locks) }, { weight: 1, arbitrary: anything }), given),
      createDashboard,
      { end: (dashboard) => (dashboard as { close(): void }).close() },
    );
    await fuzz(fc.tuple(anything), nodeHandler);
  });

  test(
    "requests of any kind are answered",
    async () => {
      const dashboard = createDashboard(locks, { readOnly: false, authorize: () => true });
      const part = fc.oneof(hostileName, fc.constantFrom("release", "events", "history", ""));
      const query = fc.oneof(hostileName, fc.constantFrom("range=minutes", "sort=x&lock=y&search=z", "limit=1e9"));
      const body = fc.oneof(
        fc.json(),
        hostileName,
        fc.constantFrom('{"name":"a","tokens":[null]}', '{"name":"a","tokens":["a"]}', "[".repeat(50_000)),
      );
      const method = fc.constantFrom("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH");
      await fuzz(fc.tuple(method, part, query, body), async (verb, path, search, text) => {
        const url = `http://localhost/locks/${encodeURIComponent(toText(path))}?${encodeURI(toText(search))}`;
        const stop = new AbortController();
        const request = new Request(url, {
          method: verb,
          headers: { "sec-fetch-site": "same-origin" },
          signal: stop.signal,
          ...(verb === "GET" || verb === "HEAD" ? {} : { body: text }),
        });
        const { status, body: stream } = await dashboard.fetch(request);
        stop.abort();
        await stream?.cancel().catch(() => {});
        expect([200, 400, 403, 405, 503]).toContain(status);
      });
      dashboard.close();
    },
    FUZZ_TIMEOUT,
  );
});

function toText(value: unknown): string {
  return String(value).toWellFormed();
}

const classes = { Mutex, Semaphore, MultiSemaphore, RedlockMutex, RedlockSemaphore, RedlockMultiSemaphore };

describe("drop-ins", () => {
  const asTheirs = { expectRefusal: expectHarmless, runs: 100 };
  const settings = { driftFactor: [0.01], retryCount: [0, 1], retryDelay: [0, 1], retryJitter: [0], db: [0] };
  const hooks = options({ acquireScript: ["return 1", (text: string) => text], releaseScript: ["return 1"] });
  const resources = fc.oneof(fc.constantFrom(["a"], ["a", "b"], "a"), fc.array(anything, { maxLength: 2 }), anything);
  const duration = fc.oneof(fc.constantFrom(1, 1_000), anything);
  const lock = options({ resources: [["a"]], resource: ["a"], value: ["x"], expiration: [1, 2e12], attempts: [[]] });

  test(
    "holdfast/redlock",
    async (t) => {
      const rejections = unhandledRejections(t);
      const { redis } = await openStage(t);
      const clients = fc.oneof(fc.constant([redis]), fc.array(anything, { maxLength: 2 }), anything);
      await fuzz(
        fc.tuple(clients, options(settings), hooks),
        (...args) => Reflect.construct(Redlock, args) as unknown,
        asTheirs,
      );
      const redlock = new Redlock([redis], { retryCount: 0 });
      await fuzz(
        fc.tuple(resources, duration, options(settings)),
        (...args) => Reflect.apply(redlock.acquire, redlock, args),
        { ...asTheirs, end: (held) => (held as { release(): unknown }).release() },
      );
      await fuzz(
        fc.tuple(lock, options(settings)),
        (...args) => Reflect.apply(redlock.release, redlock, args),
        asTheirs,
      );
      await fuzz(
        fc.tuple(lock, duration, options(settings)),
        (...args) => Reflect.apply(redlock.extend, redlock, args),
        asTheirs,
      );
      const routine = fc.oneof(
        fc.constant(() => Promise.resolve(7)),
        options(settings),
      );
      await fuzz(
        fc.tuple(resources, duration, routine, callback),
        (...args) => Reflect.apply(redlock.using, redlock, args),
        asTheirs,
      );
      expect(rejections.map(String)).toEqual([]);
    },
    FUZZ_TIMEOUT,
  );

  test(
    "holdfast/redlock4",
    async (t) => {
      const rejections = unhandledRejections(t);
      const { redis } = await openStage(t);
      const clients = fc.oneof(fc.constant([redis]), fc.array(anything, { maxLength: 2 }), anything);
      await fuzz(
        fc.tuple(clients, options(settings)),
        (...args) => Reflect.construct(Redlock4, args) as unknown,
        asTheirs,
      );
      const redlock = new Redlock4([redis], { retryCount: 0 });
      await fuzz(
        fc.tuple(resources, duration, options(settings)),
        (...args) => Reflect.apply(redlock.lockWithOptions, redlock, args),
        { ...asTheirs, end: (held) => (held as { unlock(): unknown }).unlock() },
      );
      await fuzz(fc.tuple(lock), (...args) => Reflect.apply(redlock.unlock, redlock, args), asTheirs);
      await fuzz(fc.tuple(lock, duration), (...args) => Reflect.apply(redlock.extend, redlock, args), asTheirs);
      expect(rejections.map(String)).toEqual([]);
    },
    FUZZ_TIMEOUT,
  );

  test(
    "holdfast/redis-semaphore",
    async (t) => {
      const rejections = unhandledRejections(t);
      const { redis } = await openStage(t);
      const given = options({
        lockTimeout: [100, 1_000],
        acquireTimeout: [0, 50],
        acquireAttemptsLimit: [1],
        retryInterval: [1],
        refreshInterval: [0, 50],
        identifier: ["me"],
        acquiredExternally: [true],
        onLockLost: [() => {}],
      });
      const count = fc.oneof(fc.constantFrom(1, 2), anything);
      const client = fc.oneof({ weight: 4, arbitrary: fc.constant(redis) }, { weight: 1, arbitrary: anything });
      const several = fc.oneof(fc.constant([redis]), fc.array(anything, { maxLength: 2 }), anything);
      const kinds = {
        Mutex: fc.tuple(client, name, given),
        Semaphore: fc.tuple(client, name, count, given),
        MultiSemaphore: fc.tuple(client, name, count, count, given),
        RedlockMutex: fc.tuple(several, name, given),
        RedlockSemaphore: fc.tuple(several, name, count, given),
        RedlockMultiSemaphore: fc.tuple(several, name, count, count, given),
      };
      for (const [kind, args] of Object.entries(kinds)) {
        const construct = (...all: unknown[]): unknown =>
          Reflect.construct(classes[kind as keyof typeof kinds], all) as unknown;
        await fuzz(
          args as Given,
          async (...all) => {
            const one = construct(...all) as Mutex;
            await one.tryAcquire();
            await one.release();
          },
          { ...asTheirs, runs: 60 },
        );
      }
      expect(rejections.map(String)).toEqual([]);
    },
    FUZZ_TIMEOUT,
  );
});
