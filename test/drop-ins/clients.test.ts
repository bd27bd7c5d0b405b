/** The drop-ins on client libraries that the libraries they replace do not know, beside the true ones on ioredis. */
import { describe, test } from "vitest";
import type { RedisClient } from "../../src/index.ts";
import Redlock from "../../src/redlock.ts";
import { isOnBun } from "../support/bun.ts";
import { until } from "../support/until.ts";
import { type ClientName, openClient } from "../support/worlds.ts";
import { dropIns, takeTurns } from "./kinds.ts";
import { openMachines } from "./stage.ts";

/** In the long run all that the main suite does not test them on. */
const isLong = process.env["HOLDFAST_LONG"] !== undefined;
const others: ClientName[] = isLong ? ["ioredis 5", "iovalkey", "node-redis 6", "glide"] : ["node-redis 6"];
const names = isOnBun ? (["bun"] as const) : others;
const counts = isLong ? [1, 3] : [3];

describe.each(names)("on %s", (name) => {
  test.for(dropIns.flatMap((dropIn) => counts.map((count) => ({ ...dropIn, count }))))(
    "$title excludes the true one, and hears of releases, on $count servers",
    async ({ count, ...dropIn }, t) => {
      const machines = await openMachines(t, count);
      const lookers = machines.clients();
      const mine = async (): Promise<RedisClient[]> => {
        const opened = await Promise.all(machines.servers.map(({ url }) => openClient(name, url)));
        t.onTestFinished(() => opened.forEach(({ end }) => end()));
        return opened.map(({ client }) => client);
      };
      await takeTurns(dropIn, { ours: mine, theirs: () => machines.clients() }, async () => {
        const channels = await Promise.all(lookers.map((looker) => looker.pubsub("CHANNELS")));
        return Math.min(...channels.map(({ length }) => length));
      });
      for (const looker of lookers) {
        await until(async () => (await looker.keys("*")).length === 0, "nothing was left");
      }
    },
  );

  test("quit ends its clients", async (t) => {
    const machines = await openMachines(t, 2);
    const opened = await Promise.all(machines.servers.map(({ url }) => openClient(name, url)));
    t.onTestFinished(() => opened.forEach(({ end }) => end()));
    const redlock = new Redlock(opened.map(({ client }) => client));
    await (await redlock.acquire(["a"], 1_000)).release();
    await redlock.quit();
    const [looker] = machines.clients();
    await until(
      async () =>
        String(await looker!.client("LIST"))
          .trim()
          .split("\n").length === 1,
      "only the looker was left",
    );
  });
});
