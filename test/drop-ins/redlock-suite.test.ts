/**
 * What redlock 5 tests of itself, case by case, on the drop-in: one server and three, single servers and Clusters. Its own
 * suite needs its own runner and addresses; these are its cases and what they assert, written anew.
 */
import { Cluster, Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { startCluster } from "../../scripts/topologies.ts";
import Redlock, { ExecutionError, ResourceLockedError } from "../../src/redlock.ts";
import { until, untilRisen } from "../support/until.ts";

type Client = Redis | Cluster;

interface Stage {
  readonly clients: Client[];
  close(): Promise<void>;
}

/** As long as no test takes. */
const long = Math.floor(Number.MAX_SAFE_INTEGER / 10);

async function servers(count: number): Promise<Stage> {
  const started = await Promise.all(Array.from({ length: count }, () => startServer()));
  const clients = started.map(({ url }) => new Redis(url));
  return {
    clients,
    close: async () => {
      for (const client of clients) client.disconnect();
      await Promise.all(started.map((server) => server.stop()));
    },
  };
}

async function clusters(count: number): Promise<Stage> {
  const started = await Promise.all(Array.from({ length: count }, () => startCluster({ replicasEach: 0 })));
  const clients = started.map(({ seeds }) => new Cluster(seeds));
  return {
    clients,
    close: async () => {
      for (const client of clients) client.disconnect();
      await Promise.all(started.map((cluster) => cluster.stop()));
    },
  };
}

async function expectHeld(clients: readonly Client[], keys: string[], value: string, duration?: number): Promise<void> {
  for (const client of clients) {
    for (const key of keys) {
      expect(await client.get(key)).toBe(value);
      if (duration !== undefined) expect(Math.abs((await client.pttl(key)) - duration)).toBeLessThan(5_000);
    }
  }
}

async function expectFree(clients: readonly Client[], keys: string[]): Promise<void> {
  for (const client of clients) for (const key of keys) expect(await client.get(key)).toBeNull();
}

async function failure(promise: Promise<unknown>): Promise<ExecutionError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ExecutionError);
  return error as ExecutionError;
}

/** All tries were made, and each server that voted against gave such a reason. */
async function expectTried({ attempts }: ExecutionError, isReason: (reason: Error) => void): Promise<void> {
  expect(attempts).toHaveLength(11);
  let votes = 0;
  const tries = await Promise.all(attempts);
  for (const { votesAgainst } of tries) {
    for (const reason of votesAgainst.values()) {
      isReason(reason);
      votes++;
    }
  }
  expect(votes).toBeGreaterThanOrEqual(11);
}

const isLocked = (reason: Error): void => {
  expect(reason).toBeInstanceOf(ResourceLockedError);
  expect(reason.message).toBe("The operation was applied to: 0 of the 1 requested resources.");
};

async function lifecycle(clients: Client[], keys: string[]): Promise<void> {
  const redlock = new Redlock(clients);
  let lock = await redlock.acquire(keys, long);
  await expectHeld(clients, keys, lock.value, long);
  lock = await lock.extend(3 * long);
  await expectHeld(clients, keys, lock.value, 3 * long);
  await lock.release();
  await expectFree(clients, keys);
}

const kinds: [string, typeof servers][] = [
  ["instance", servers],
  ["cluster", clusters],
];

describe.each(kinds)("one %s", (_, open) => {
  let stage: Stage;
  let client: Client;
  beforeAll(async () => {
    stage = await open(1);
    client = stage.clients[0] as Client;
  });
  afterAll(() => stage.close());

  test("acquires, extends and releases one resource", () => lifecycle([client], ["{redlock}a"]));

  test("acquires, extends and releases several resources", () => lifecycle([client], ["{redlock}a1", "{redlock}a2"]));

  test.concurrent("fails when the server is unreachable", async () => {
    const away = new Redis({
      port: 1,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => null,
      reconnectOnError: () => false,
    });
    away.on("error", () => {});
    const error = await failure(new Redlock([away]).acquire(["{redlock}b"], long));
    await expectTried(error, ({ message }) => expect(message).toBe("Connection is closed."));
  });

  test.concurrent("a lock expires by itself", async () => {
    const redlock = new Redlock([client]);
    const first = await redlock.acquire(["{redlock}d"], 1_000);
    await expectHeld([client], ["{redlock}d"], first.value);
    await until(async () => (await client.exists("{redlock}d")) === 0, "it had expired");
    const second = await redlock.acquire(["{redlock}d"], long);
    await expectHeld([client], ["{redlock}d"], second.value);
    await second.release();
    await expectFree([client], ["{redlock}d"]);
  });

  test.concurrent("a lock is exclusive", async () => {
    const redlock = new Redlock([client]);
    const lock = await redlock.acquire(["{redlock}c"], long);
    await expectTried(await failure(redlock.acquire(["{redlock}c"], long)), isLocked);
    await expectHeld([client], ["{redlock}c"], lock.value, long);
    await lock.release();
    await expectFree([client], ["{redlock}c"]);
  });

  test.concurrent("locks of several resources that overlap are exclusive", async () => {
    const redlock = new Redlock([client]);
    const lock = await redlock.acquire(["{redlock}c1", "{redlock}c2"], long);
    const error = await failure(redlock.acquire(["{redlock}c2", "{redlock}c3"], long));
    await expectHeld([client], ["{redlock}c1", "{redlock}c2"], lock.value, long);
    await expectFree([client], ["{redlock}c3"]);
    await expectTried(error, (reason) => expect(reason).toBeInstanceOf(ResourceLockedError));
    await lock.release();
    await expectFree([client], ["{redlock}c1", "{redlock}c2", "{redlock}c3"]);
  });

  test.concurrent("using acquires, extends and releases", async () => {
    const value = await new Redlock([client]).using(
      ["{redlock}x"],
      5_000,
      { automaticExtensionThreshold: 4_800 },
      async (signal) => {
        const held = await client.get("{redlock}x");
        expect(held).toBeTypeOf("string");
        await untilRisen(() => client.pttl("{redlock}x"), "it was extended");
        expect(signal.aborted).toBe(false);
        expect(signal.error).toBeUndefined();
        expect(await client.get("{redlock}x")).toBe(held);
        return held;
      },
    );
    expect(value).toBeTypeOf("string");
    await expectFree([client], ["{redlock}x"]);
  });

  test.concurrent("using is exclusive", async () => {
    const redlock = new Redlock([client]);
    let locked = false;
    const hold = (): Promise<string | null> =>
      redlock.using(["{redlock}y"], 5_000, { automaticExtensionThreshold: 4_800 }, async (signal) => {
        expect(locked).toBe(false);
        locked = true;
        const held = await client.get("{redlock}y");
        expect(held).toBeTypeOf("string");
        await untilRisen(() => client.pttl("{redlock}y"), "it was extended");
        expect(signal.aborted).toBe(false);
        expect(await client.get("{redlock}y")).toBe(held);
        locked = false;
        return held;
      });
    const [one, other] = await Promise.all([hold(), hold()]);
    expect(one).not.toBe(other);
    await expectFree([client], ["{redlock}y"]);
  });
});

describe.each(kinds)("three of kind %s", (_, open) => {
  let stage: Stage;
  let clients: [Client, Client, Client];
  beforeAll(async () => {
    stage = await open(3);
    clients = stage.clients as [Client, Client, Client];
  });
  afterAll(() => stage.close());

  test("acquires, extends and releases one resource", () => lifecycle(clients, ["{redlock}a"]));

  test("acquires, extends and releases several resources", () => lifecycle(clients, ["{redlock}a1", "{redlock}a2"]));

  test("succeeds when a minority fails", async () => {
    const [a, b, c] = clients;
    await c.set("{redlock}b", "other");
    let lock = await new Redlock(clients).acquire(["{redlock}b"], long);
    await expectHeld([a, b], ["{redlock}b"], lock.value, long);
    lock = await lock.extend(3 * long);
    await expectHeld([a, b], ["{redlock}b"], lock.value, 3 * long);
    await lock.release();
    await expectFree([a, b], ["{redlock}b"]);
    expect(await c.get("{redlock}b")).toBe("other");
    expect(await c.pttl("{redlock}b")).toBe(-1);
  });

  test("fails when a majority fails", async () => {
    const [a, b, c] = clients;
    await b.set("{redlock}c", "other1");
    await c.set("{redlock}c", "other2");
    const error = await failure(new Redlock(clients).acquire(["{redlock}c"], long));
    expect(await a.get("{redlock}c")).toBeNull();
    expect(await b.get("{redlock}c")).toBe("other1");
    expect(await c.get("{redlock}c")).toBe("other2");
    await expectTried(error, isLocked);
  });
});
