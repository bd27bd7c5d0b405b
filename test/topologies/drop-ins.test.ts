/** The drop-ins on Clusters, with each client library's cluster client, beside the true ones on ioredis. */
import { Cluster, type Redis } from "ioredis";
import { test } from "vitest";
import { startCluster } from "../../scripts/topologies.ts";
import type { RedisClient } from "../../src/index.ts";
import { dropIns, takeTurns } from "../drop-ins/kinds.ts";
import { until } from "../support/until.ts";
import { finders } from "../support/worlds.ts";

test.for(["a node-redis 6 cluster", "a GLIDE cluster client", "an ioredis 5 Cluster"] as const)(
  "on %s, each excludes the true one on ioredis, and hears of releases",
  { timeout: 60_000 },
  async (finder, t) => {
    const cluster = await startCluster({ replicasEach: 0 });
    t.onTestFinished(() => cluster.stop());
    const theirs = (): Redis[] => {
      const client = new Cluster(cluster.seeds);
      client.on("error", () => {});
      t.onTestFinished(() => client.disconnect());
      return [client as unknown as Redis];
    };
    const mine = async (): Promise<RedisClient[]> => {
      const { client, end } = await finders[finder](cluster.seeds);
      t.onTestFinished(() => end());
      return [client];
    };
    const [looker] = theirs() as unknown as [Cluster];
    const listeners = async (): Promise<number> => {
      const all = await Promise.all(
        looker.nodes("master").map((node) => node.call("PUBSUB", "SHARDCHANNELS") as Promise<unknown[]>),
      );
      return all.flat().length;
    };
    for (const dropIn of dropIns) {
      await takeTurns(dropIn, { ours: mine, theirs }, listeners);
      // It lingers for a second; the next one's wait is looked for.
      await until(async () => (await listeners()) === 0, "nobody listened any more", 5_000);
    }
  },
);
