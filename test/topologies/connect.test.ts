/** URLs of Sentinels and of Clusters: locks are shared, what hangs is left, and nobody stays connected. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { idlePort } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { type Cluster, type Sentinels, startCluster, startSentinels } from "../../scripts/topologies.ts";
import { LIBRARIES } from "../../src/drivers/url/connect.ts";
import type { Connections } from "../../src/drivers/url/connect.ts";
import type { LockManager } from "../../src/index.ts";
import { enqueue, unique, waiting } from "../support/locks.ts";
import { managerOn, ownedManager } from "../support/opened.ts";
import { until } from "../support/until.ts";

/** What both sides of a test of several servers need. */
interface Topology {
  readonly servers: readonly Server[];
  stop(): Promise<void>;
}

/** All that is connected to these servers, but themselves and who looks. */
class Visitors {
  readonly #lookers: readonly Redis[];

  constructor(topology: Topology, passwordOf: (server: Server) => string) {
    this.#lookers = topology.servers.map((server) => {
      const options = { port: server.port, connectionName: "looker", enableReadyCheck: false };
      return new Redis({ ...options, password: passwordOf(server) });
    });
    for (const looker of this.#lookers) looker.on("error", () => {});
  }

  async count(): Promise<number> {
    const lists = await Promise.all(this.#lookers.map(async (looker) => String(await looker.client("LIST"))));
    const own = /\bname=(looker|sentinel-\S+) |\bflags=[MS] /;
    return lists.flatMap((list) => list.trim().split("\n")).filter((line) => !own.test(line)).length;
  }

  end(): void {
    for (const looker of this.#lookers) looker.disconnect();
  }
}

/** Two managers share a lock in every way, are closed, and leave nobody connected. */
async function useAndLeave(open: () => LockManager, visitors: Visitors): Promise<void> {
  const [one, other] = [open(), open()];
  const name = unique();
  const first = await one.acquire(name);
  const waiter = enqueue(other, name);
  await waiting(one, name, 1);
  expect(await one.tryAcquire(name)).toBeNull();
  expect(await first.release()).toBe(true);
  expect((await waiter.granted).fence).toBeGreaterThan(first.fence);
  await waiter.end();
  const detached = await (await one.acquire(name)).detach();
  const attached = await other.attach(detached);
  expect(await attached.release()).toBe(true);
  expect(await visitors.count()).toBeGreaterThan(0);
  await Promise.all([one.close(), other.close()]);
}

const hostsOf = (addresses: readonly { host: string; port: number }[]): string =>
  addresses.map(({ host, port }) => `${host}:${port}`).join(",");

describe("behind Sentinels", () => {
  let sentinels: Sentinels;
  let visitors: Visitors;

  beforeAll(async () => {
    sentinels = await startSentinels({ replicas: 1, password: "pass-word", sentinelPassword: "sentinel-secret" });
    const isSentinel = (server: Server): boolean => sentinels.sentinels.includes(server);
    visitors = new Visitors(sentinels, (server) => (isSentinel(server) ? "sentinel-secret" : "pass-word"));
  });
  afterAll(async () => {
    visitors.end();
    await sentinels.stop();
  });

  const url = (hosts = hostsOf(sentinels.addresses), db = 0): string =>
    `redis+sentinel://:pass-word@${hosts}/mymaster/${db}?sentinelPassword=sentinel-secret`;

  test.each(LIBRARIES)("locks are shared, and nobody stays connected to any server, with %s", async (library) => {
    const opened: Connections[] = [];
    await useAndLeave(() => ownedManager(library, url(), opened), visitors);
    for (const connections of opened) connections.close();
    await until(async () => (await visitors.count()) === 0, "nobody was connected");
  });

  test.each(LIBRARIES)("a Sentinel that is down is passed over, and nothing is printed, with %s", async (library) => {
    const printed = vi.spyOn(console, "error");
    onTestFinished(() => printed.mockRestore());
    const hosts = `127.0.0.1:${idlePort()},${hostsOf(sentinels.addresses.slice(0, 1))}`;
    const locks = managerOn(library, url(hosts, 1));
    const master = await sentinels.master();
    const redis = new Redis({ port: master.port, password: "pass-word", db: 1 });
    onTestFinished(() => redis.disconnect());
    const name = unique();
    await locks.request(name, async () => {
      expect(await redis.exists(`lock:${name}`)).toBe(1);
    });
    expect(printed).not.toHaveBeenCalled();
  });

  test.each(LIBRARIES)(
    "a master that hangs at first is left for the promoted one, with %s",
    async (library) => {
      await sentinels.settle();
      const master = await sentinels.master();
      master.freeze();
      onTestFinished(async () => {
        master.thaw();
        await sentinels.settle();
      });
      const locks = managerOn(library, url());
      await sentinels.promoted(master);
      const taken = async (): Promise<boolean> => locks.request(unique(), ({ held }) => held);
      expect(await until(taken, "a lock could be had", 30_000)).toBe(true);
    },
    60_000,
  );

  // The last, for a Sentinel that wakes up takes part in no failover for half a minute.
  test.each(LIBRARIES)("a Sentinel that hangs is passed over, with %s", async (library) => {
    const [first] = sentinels.sentinels as [Server];
    first.freeze();
    onTestFinished(() => first.thaw());
    const locks = managerOn(library, url());
    const taken = async (): Promise<boolean> => locks.request(unique(), ({ held }) => held);
    expect(await until(taken, "a lock could be had", 15_000)).toBe(true);
  });
});

describe("on a Cluster", () => {
  let cluster: Cluster;
  let visitors: Visitors;

  beforeAll(async () => {
    cluster = await startCluster({ replicasEach: 0, password: "pass-word" });
    visitors = new Visitors(cluster, () => "pass-word");
  });
  afterAll(async () => {
    visitors.end();
    await cluster.stop();
  });

  test.each(LIBRARIES)("locks are shared, and nobody stays connected to any server, with %s", async (library) => {
    const opened: Connections[] = [];
    const url = `redis+cluster://:pass-word@${hostsOf(cluster.seeds)}`;
    await useAndLeave(() => ownedManager(library, url, opened), visitors);
    for (const connections of opened) connections.close();
    await until(async () => (await visitors.count()) === 0, "nobody was connected");
  });

  test.each(LIBRARIES)("the first host of the URL may be down, with %s", async (library) => {
    const hosts = `127.0.0.1:${idlePort()},${hostsOf(cluster.seeds.slice(1, 2))}`;
    const locks = managerOn(library, `redis+cluster://:pass-word@${hosts}`);
    const names = Array.from({ length: 8 }, () => unique());
    const held = await Promise.all(names.map((name) => locks.request(name, (lock) => lock.held)));
    expect(held).toEqual(names.map(() => true));
  });
});

test("on a Cluster a server that hangs is left for its replica, with ioredis and iovalkey", async () => {
  const cluster = await startCluster();
  onTestFinished(() => cluster.stop());
  const both = (["ioredis", "iovalkey"] as const).map((each) =>
    managerOn(each, `redis+cluster://${hostsOf(cluster.seeds)}`),
  );
  const name = unique();
  for (const locks of both) await locks.request(name, () => {});
  const owner = await cluster.ownerOf(await cluster.slotOf(`lock:${name}`));
  owner.server.freeze();
  const taken = (locks: LockManager) => async () => locks.request(name, ({ held }) => held);
  await Promise.all(both.map((locks) => until(taken(locks), "a lock could be had", 40_000)));
}, 60_000);
