/** Turns over several nodes, where places that are dealt anew keep their tickets. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { enqueue, hold, unique } from "../support/locks.ts";
import { openNodes } from "../support/nodes.ts";
import { until } from "../support/until.ts";

test("everybody is served if the places of a turn that ends are dealt anew while a later one is being asked for", async (t) => {
  const nodes = await openNodes(t);
  const [locks, other] = [await nodes.manager(), await nodes.manager()];
  const name = unique();
  const waiting = async (): Promise<number> => (await other.query({ name })).pending.length;
  const before = await hold(other, name);
  const first = enqueue(locks, name);
  const requests = [enqueue(locks, name), enqueue(locks, name, { mode: "shared" })];
  await until(async () => (await waiting()) === 3, "they were in the queue");
  await before.end();
  await first.granted;
  // If the turn has ended by now, its other request waits there, too.
  await until(async () => [1, 2].includes(await waiting()), "the reader had its place");
  for (const proxy of nodes.proxies) proxy.delay(300);
  // The second must be in the queue by itself, and so must all before it.
  requests.push(enqueue(locks, name), enqueue(locks, name, { mode: "shared", onWait: () => {} }));
  // Longer than a turn hands on the lock: who waits for it at its place waits in the queue again.
  await sleep(100);
  await Promise.all(nodes.proxies.map((proxy) => proxy.heal()));
  const ended = requests.map(async ({ granted, end }) => {
    await granted;
    await end();
  });
  await first.end();
  await Promise.all(ended);
  expect((await locks.query({ name })).held).toEqual([]);
});
