/** What was sent has left when the driver says so, where a client first has to find the server. */
import slotOf from "cluster-key-slot";
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5 } from "ioredis5";
import { Cluster as ValkeyCluster } from "iovalkey";
import { createCluster, createSentinel } from "redis";
import { afterAll, beforeAll, test } from "vitest";
import { type Cluster as Nodes, type Sentinels, startCluster, startSentinels } from "../../scripts/topologies.ts";
import { driverFor } from "../../src/drivers/index.ts";
import type { RedisClient } from "../../src/index.ts";
import { expectWritten } from "../support/arrived.ts";
import { openGlideCluster } from "../support/glide.ts";

let nodes: Nodes;
let sentinels: Sentinels;
beforeAll(async () => {
  nodes = await startCluster({ replicasEach: 0 });
  sentinels = await startSentinels({ replicas: 1, sentinels: 1 });
});
afterAll(() => Promise.all([nodes.stop(), sentinels.stop()]));

interface Opened {
  readonly client: RedisClient;
  end(): unknown;
}

function ioredis(client: Redis | Cluster | Cluster5 | ValkeyCluster): Opened {
  return { client, end: () => client.disconnect() };
}

const clusters: Record<string, () => Opened | Promise<Opened>> = {
  "ioredis 6": () => ioredis(new Cluster(nodes.seeds)),
  "ioredis 6 with enableAutoPipelining": () => ioredis(new Cluster(nodes.seeds, { enableAutoPipelining: true })),
  "ioredis 5": () => ioredis(new Cluster5(nodes.seeds)),
  iovalkey: () => ioredis(new ValkeyCluster(nodes.seeds)),
  "node-redis 6": async () => {
    const client = createCluster({ rootNodes: nodes.urls.map((url) => ({ url })) });
    await client.connect();
    return { client: client as unknown as RedisClient, end: () => client.destroy() };
  },
  glide: () => openGlideCluster(nodes.seeds),
};

test.for(Object.keys(clusters))("a Cluster, with %s", { timeout: 30_000 }, async (on, t) => {
  const { client, end } = await clusters[on]!();
  const driver = driverFor(client);
  t.onTestFinished(() => {
    driver.close();
    void end();
  });
  await driver.send(["PING"]);
  const owners = await nodes.masters();
  await expectWritten(driver, (key) => {
    const slot = slotOf(key);
    const owner = owners.find(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to))!;
    return { port: owner.server.port };
  });
});

const bySentinels: Record<string, () => Opened | Promise<Opened>> = {
  "ioredis 6": () => ioredis(new Redis({ sentinels: sentinels.addresses, name: sentinels.name })),
  "node-redis 6": async () => {
    const client = createSentinel({ name: sentinels.name, sentinelRootNodes: sentinels.addresses });
    client.on("error", () => {});
    await client.connect();
    return { client: client as unknown as RedisClient, end: () => client.destroy() };
  },
};

test.for(Object.keys(bySentinels))("behind Sentinels, with %s", { timeout: 30_000 }, async (on, t) => {
  const { client, end } = await bySentinels[on]!();
  const driver = driverFor(client);
  t.onTestFinished(() => {
    driver.close();
    void end();
  });
  await driver.send(["PING"]);
  const { port } = await sentinels.master();
  await expectWritten(driver, () => ({ port }));
});
