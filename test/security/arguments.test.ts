/** Whatever LockManager and its locks are called with: it is done, or refused in words before anything is sent. */
import fc from "fast-check";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { LockManager, type RedisClient } from "../../src/index.ts";
import {
  anything,
  callback,
  expectClear,
  FUZZ_TIMEOUT,
  fuzzing,
  hostileName,
  isRefusal,
  options,
  outcomeOf,
} from "../support/hostile.ts";
import { unique } from "../support/locks.ts";
import { cleared, dropSharedValues, openStage, unhandledRejections } from "../support/stage.ts";
import { until } from "../support/until.ts";

/** A client that counts what it sends. */
class Counting extends Redis {
  sent = 0;

  override sendCommand(...args: Parameters<Redis["sendCommand"]>): unknown {
    this.sent++;
    return super.sendCommand(...args);
  }
}

const signals = [new AbortController().signal, undefined];
const requestOptions = {
  mode: ["exclusive", "shared"],
  ifAvailable: [true, false],
  steal: [true, false],
  signal: signals,
  ttl: [50, 10_000],
  waitTimeout: [0, 100],
  renew: [true, false],
  maxHold: [50, 10_000],
  label: ["someone", ""],
  maxQueue: [0, 10],
  onWait: [() => {}],
  reentrant: [true, false],
  durability: [null, { replicas: 1, timeout: 1 }],
};
const semaphoreOptions = { ...requestOptions, permits: [1, 2] };
const managerOptions = {
  prefix: ["lock:", "", "{app}:"],
  ttl: [50, 30_000],
  scheme: ["lua", "set", "redlock", "memory"],
  label: ["someone"],
  nodeTimeout: [1, 100],
  delayRestarted: [true, false],
  turn: [1, 16],
  durability: [{ replicas: 1, timeout: 1 }],
  trackContext: [true, false],
  detectDeadlocks: [true, false],
};

/** What was right may be wrong in one place. */
const name = fc.oneof(
  { weight: 4, arbitrary: fc.constant("a new name").map(() => unique()) },
  { weight: 1, arbitrary: hostileName },
  { weight: 1, arbitrary: anything },
  { weight: 1, arbitrary: fc.array(fc.oneof(hostileName, anything), { maxLength: 3 }) },
);
const request = options(requestOptions);

/** Each public method of a manager, what it may be called with, and what ends what it began. */
type Call = (locks: LockManager, given: unknown[]) => unknown;
const method =
  (verb: keyof LockManager): Call =>
  (locks, given) =>
    Reflect.apply(locks[verb] as () => unknown, locks, given);

async function first(iterable: unknown): Promise<void> {
  const iterator = iterable as AsyncGenerator<unknown, void, void>;
  try {
    await iterator.next();
  } finally {
    await iterator.return();
  }
}

const verbs: Record<string, [arguments: fc.Arbitrary<unknown[]>, call: Call]> = {
  "request(name, callback)": [fc.tuple(name, callback), method("request")],
  "request(name, options, callback)": [fc.tuple(name, request, callback), method("request")],
  acquire: [fc.tuple(name, request), method("acquire")],
  tryAcquire: [fc.tuple(name, request), method("tryAcquire")],
  attach: [
    fc.tuple(
      options({
        name: ["a"],
        mode: ["exclusive", "shared"],
        token: ["AAAAAAAAAAAAAAAAAAAAAA:1"],
        fence: [1, 2 ** 50],
        ttl: [50, 10_000],
      }),
      request,
    ),
    method("attach"),
  ],
  query: [fc.tuple(fc.oneof(options({ name: ["a"], match: ["*", "[", "a?"] }), fc.constant("all"))), method("query")],
  forceRelease: [fc.tuple(name, fc.oneof(anything, fc.array(anything, { maxLength: 3 }))), method("forceRelease")],
  elect: [
    fc.tuple(name, options({ signal: signals, ttl: [50, 10_000], label: ["a"] })),
    (locks, given) => first(method("elect")(locks, given)),
  ],
  observe: [
    fc.tuple(name, options({ signal: signals, interval: [50] })),
    (locks, given) => first(method("observe")(locks, given)),
  ],
  once: [
    fc.tuple(name, options({ atMost: [50, 10_000], atLeast: [0, 50], ttl: [50, 100], label: ["a"] }), callback),
    method("once"),
  ],
  share: [
    fc.tuple(
      name,
      options({
        ttl: [0, 50],
        retry: [true, false],
        codec: [{ encode: String, decode: String }],
        maxSize: [1, 1_000],
        signal: signals,
      }),
      callback,
    ),
    method("share"),
  ],
  holds: [fc.tuple(name), method("holds")],
  assertHeld: [fc.tuple(name), method("assertHeld")],
  "semaphore.request": [
    fc.tuple(name, fc.oneof(fc.constantFrom(1, 3, 1_000_000), anything), options(semaphoreOptions), callback),
    (locks, [who, limit, ...rest]) => {
      const semaphore = locks.semaphore(who as string, limit as number);
      return Reflect.apply(semaphore.request, semaphore, rest);
    },
  ],
  "semaphore.tryAcquire": [
    fc.tuple(name, fc.oneof(fc.constantFrom(1, 3, 1_000_000), anything), options(semaphoreOptions)),
    (locks, [who, limit, ...rest]) => {
      const semaphore = locks.semaphore(who as string, limit as number);
      return Reflect.apply(semaphore.tryAcquire, semaphore, rest);
    },
  ],
  "lock.extend": [
    fc.tuple(anything),
    async (locks, given) => {
      await using lock = await locks.acquire(unique());
      return await Reflect.apply(lock.extend, lock, given);
    },
  ],
};

async function release(value: unknown): Promise<void> {
  const { release: end } = (value ?? {}) as { readonly release?: unknown };
  if (typeof end === "function") await Reflect.apply(end, value, []);
}

const schemes = ["lua", "set", "redlock", "memory"] as const;

/** On one node redlock decides as on several. */
function open(scheme: (typeof schemes)[number], client: RedisClient): LockManager {
  if (scheme === "memory") return new LockManager();
  return scheme === "redlock" ? new LockManager([client]) : new LockManager(client, { scheme });
}

test.for(schemes)(
  "%s: every method of a manager does what it is called for, or refuses in words before anything is sent",
  { timeout: FUZZ_TIMEOUT },
  async (scheme, t) => {
    const { server, redis } = await openStage(t);
    const rejections = unhandledRejections(t);
    const client = new Counting(server.url);
    t.onTestFinished(() => client.disconnect());
    const listeners = client.eventNames().map((event) => [event, client.listenerCount(event)]);
    const locks = open(scheme, client);
    await (await locks.acquire("first")).release();
    for (const [verb, [given, call]] of Object.entries(verbs)) {
      const property = fc.asyncProperty(given, async (args) => {
        const before = client.sent;
        const outcome = await outcomeOf(() => call(locks, args));
        if ("value" in outcome) return release(outcome.value);
        expectClear(outcome.error);
        // Extending needs a lock, and that is taken first.
        if (isRefusal(outcome.error) && verb !== "lock.extend") expect(client.sent, "commands sent").toBe(before);
      });
      await fc.assert(property, fuzzing(60)).catch((error: unknown) => {
        throw new Error(`${verb} on ${scheme}: ${String(error)}`, { cause: error });
      });
    }
    await locks.close();
    await dropSharedValues(redis);
    await cleared(redis);
    // What was kept for as long as the manager lived is given back.
    await until(
      () => listeners.every(([event, count]) => client.listenerCount(event as string) === count),
      "the client had its listeners back",
    );
    expect(rejections.map(String)).toEqual([]);
  },
);

test(
  "a manager is made, or refused in words, and then has left nothing on the client",
  async (t) => {
    const { server } = await openStage(t);
    const rejections = unhandledRejections(t);
    const client = new Counting(server.url);
    t.onTestFinished(() => client.disconnect());
    await client.ping();
    const counted = (): number =>
      client.eventNames().reduce((sum, event) => sum + client.listenerCount(event as string), 0);
    const before = counted();
    const { sent } = client;
    const clients = fc.oneof(
      fc.constant(client),
      fc.constant([client]),
      anything,
      fc.constantFrom("redis://", "redis://127.0.0.1:1/x", "redis+sentinel://a", "http://a", ["redis://a", "b"]),
      fc.array(fc.oneof(fc.constant(client), anything), { maxLength: 3 }),
    );
    const property = fc.asyncProperty(clients, options(managerOptions), async (given, settings) => {
      const outcome = await outcomeOf(() => Reflect.construct(LockManager, [given, settings]) as unknown);
      if ("value" in outcome) await (outcome.value as LockManager).close();
      else expectClear(outcome.error);
      expect(counted(), "listeners on the client").toBe(before);
    });
    await fc.assert(property, fuzzing(400));
    expect(client.sent, "commands sent").toBe(sent);
    expect(rejections.map(String)).toEqual([]);
  },
  FUZZ_TIMEOUT,
);

test("close() takes its timeout or refuses it in words, and the manager goes on", async () => {
  const property = fc.asyncProperty(options({ timeout: [0, 100] }), async (settings) => {
    const locks = new LockManager();
    const outcome = await outcomeOf(() => Reflect.apply(locks.close, locks, [settings]));
    if ("value" in outcome) return;
    expectClear(outcome.error);
    await (await locks.acquire(unique())).release();
    await locks.close();
  });
  await fc.assert(property, fuzzing(100));
});
