/** What the scheme `lua` sends, and what it listens to, in the common cases. */
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { acquire, take } from "../src/schemes/lua/scripts.generated.ts";
import { driverFor } from "../src/drivers/index.ts";
import type { Send } from "../src/drivers/driver.ts";
import { Clients } from "../src/schemes/clients.ts";
import { clientKey } from "../src/schemes/keys.ts";
import { ManualClock } from "../src/testing.ts";
import { unique } from "./support/locks.ts";
import { connections, type Finishing, openStage, type Stage } from "./support/stage.ts";
import { until } from "./support/until.ts";

/** Notes which of the two scripts are sent with which it asks for locks. */
class NotingRedis extends Redis {
  readonly scripts: ("take" | "acquire")[] = [];

  override sendCommand(...args: Parameters<Redis["sendCommand"]>): unknown {
    const [{ args: words }] = args;
    for (const { name, sha, source } of [take, acquire]) {
      if (words[0] === sha || words[0] === source) this.scripts.push(name as "take" | "acquire");
    }
    return super.sendCommand(...args);
  }
}

function notingClient(t: Finishing, { server }: Stage): NotingRedis {
  const client = new NotingRedis(server.url);
  t.onTestFinished(() => client.disconnect());
  return client;
}

test("a free lock is asked for by the short script, and by the long one if there is more to say", async (t) => {
  const stage = await openStage(t);
  const client = notingClient(t, stage);
  const locks = await stage.manager({ client });
  const scriptFor = async (grant: () => PromiseLike<{ release(): Promise<boolean> }>): Promise<unknown> => {
    client.scripts.length = 0;
    await (await grant()).release();
    return client.scripts;
  };
  await scriptFor(() => locks.acquire(unique()));
  expect(await scriptFor(() => locks.acquire(unique()))).toEqual(["take"]);
  for (const options of [{ label: "report" }, { mode: "shared" as const }, { maxQueue: 3 }]) {
    expect(await scriptFor(() => locks.acquire(unique(), options)), JSON.stringify(options)).toEqual(["acquire"]);
  }
  expect(await scriptFor(() => locks.semaphore(unique(), 3).acquire())).toEqual(["acquire"]);
});

test("locks that are asked for in one turn have each its own ttl", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  const ttls = [20_000, 90_000, 40_000, 90_000];
  const held = await Promise.all(ttls.map((ttl) => locks.acquire(unique(), { ttl, renew: false })));
  for (const [i, { name }] of held.entries()) {
    const left = await stage.redis.pttl(`lock:${name}`);
    expect([left > ttls[i]! - 10_000, left <= ttls[i]!], `${left} of ${ttls[i]}`).toEqual([true, true]);
  }
  await Promise.all(held.map((lock) => lock.release()));
});

test("a manager's label outlasts whatever it asks for, and is written again only when it would not", async (t) => {
  const stage = await openStage(t);
  const [clock, driver] = [new ManualClock(), driverFor(stage.client())];
  t.onTestFinished(() => driver.close());
  const sent: number[] = [];
  const send: Send = (command, key) => {
    sent.push(Number(command.at(-1)));
    return driver.send(command, key);
  };
  const clients = new Clients(send, clock, { prefix: "lock:", clientId: "me", label: "web" }, async () => []);
  clients.announce(30_000);
  clients.announce(30_000);
  await clock.advance(60_000);
  clients.announce(30_000);
  expect(sent).toEqual([90_000]);
  await clock.advance(1);
  clients.announce(30_000);
  expect(sent).toEqual([90_000, 90_000]);
  clients.announce(120_000);
  expect(sent).toEqual([90_000, 90_000, 180_000]);
  await until(() => stage.redis.get(clientKey("lock:", "me")), "it was written");
});

test("a manager that neither waits nor renews opens no connection for pushes", async (t) => {
  const stage = await openStage(t);
  const locks = await stage.manager();
  const name = unique();
  await using _ = (await locks.tryAcquire(name, { renew: false }))!;
  const before = (await connections(stage.redis)).length;
  // Enough round trips for a connection to be there if one is opened.
  for (let times = 0; times < 50; times++) expect(await locks.tryAcquire(name)).toBeNull();
  expect(await connections(stage.redis)).toHaveLength(before);
});
