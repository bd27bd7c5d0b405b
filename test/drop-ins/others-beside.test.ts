/** What the guide to moving from other libraries says of exclusion, with the true package. */
import { Verrou } from "@verrou/core";
import { redisStore } from "@verrou/core/drivers/redis";
import { expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { openMachines } from "./stage.ts";

test("Verrou and a LockManager without a prefix exclude one another", async (t) => {
  const machines = await openMachines(t, 1);
  const [connection, client] = [machines.clients()[0]!, machines.clients()[0]!];
  const verrou = new Verrou({
    default: "redis",
    stores: { redis: { driver: redisStore({ connection }) } },
  });
  const locks = new LockManager(client, { prefix: "" });
  t.onTestFinished(() => locks.close());
  const theirs = verrou.createLock("report", "10s");
  expect(await theirs.acquireImmediately()).toBe(true);
  expect(await locks.tryAcquire("report")).toBeNull();
  await theirs.release();
  const ours = await locks.tryAcquire("report");
  expect(await verrou.createLock("report", "10s").acquireImmediately()).toBe(false);
  await ours!.release();
});
