/** Whatever a server answers or publishes: requests end, with an error that is documented, and nothing is left. */
import { expect, test } from "vitest";
import { RedisFence } from "../../src/fence.ts";
import { LockManager } from "../../src/index.ts";
import { expectClear, FUZZ_TIMEOUT, Mine, outcomeOf } from "../support/hostile.ts";
import { LyingRedis, random } from "../support/lying.ts";
import { unique } from "../support/locks.ts";
import { cleared, dropSharedValues, openStage, unhandledRejections } from "../support/stage.ts";
import { until } from "../support/until.ts";

const seeds = Math.ceil(3 * Number(process.env["HOLDFAST_FUZZ"] ?? 1));
const first = Number(process.env["HOLDFAST_FUZZ_SEED"] ?? 1);

const TTL = 400;
const briefly = { ttl: TTL, waitTimeout: 300 };

/** A signal that aborts when nobody needs the answer any more. */
function soon(): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Mine("The time is up.")), 300).unref();
  return controller.signal;
}

async function untilFirst(iterable: AsyncGenerator<unknown, void, void>): Promise<void> {
  try {
    await iterable.next();
  } finally {
    await iterable.return();
  }
}

/** What a program does; each ends soon, whatever it is told. */
function programs(locks: LockManager, names: readonly string[], draw: () => number): (() => Promise<unknown>)[] {
  const pick = (): string => names[Math.floor(draw() * names.length)]!;
  return [
    () => locks.request(pick(), briefly, () => 1),
    () => locks.request(pick(), { ...briefly, mode: "shared" }, () => 1),
    () => locks.request(pick(), { ttl: TTL, ifAvailable: true }, () => 1),
    () => locks.request(pick(), { ttl: TTL, steal: true }, () => 1),
    () => locks.request([pick(), pick(), "third"], briefly, () => 1),
    async () => {
      const lock = await locks.acquire(pick(), briefly);
      await lock.extend(TTL).catch(expectClear);
      await lock.downgrade().catch(expectClear);
      return lock.release();
    },
    async () => {
      await using lock = await locks.acquire(pick(), briefly);
      await using taken = await locks.attach(await lock.detach(), { ttl: TTL });
      return taken.held;
    },
    () => locks.semaphore("permits", 3).request({ ...briefly, permits: 2 }, () => 1),
    () => locks.once(pick(), { atMost: TTL, ttl: 50 }, () => 1),
    () => locks.share(`shared ${pick()}`, { ttl: 50, signal: soon() }, () => ({ a: 1 })),
    () => locks.query(),
    () => locks.query({ name: pick() }),
    () => locks.forceRelease(pick()),
    () => untilFirst(locks.elect("leader", { ttl: TTL, signal: soon() })),
    () => untilFirst(locks.observe("leader", { interval: 50, signal: soon() })),
  ];
}

const schemes = ["lua", "set", "redlock"] as const;

test.for(schemes)(
  "%s: replies of any shape fail what was asked for, with a documented error, and nothing else",
  { timeout: FUZZ_TIMEOUT },
  async (scheme, t) => {
    const { server, redis } = await openStage(t);
    const rejections = unhandledRejections(t);
    for (let seed = first; seed < first + seeds; seed++) {
      const draw = random(seed);
      const names = [unique("a"), unique("b")];
      const clients = [1, 2].map(() => new LyingRedis(server.url, { retryStrategy: () => 20 }));
      t.onTestFinished(() => clients.forEach((client) => client.disconnect()));
      const managers = clients.map((client) =>
        scheme === "redlock" ? new LockManager([client], { ttl: TTL }) : new LockManager(client, { scheme, ttl: TTL }),
      );
      for (const client of clients) Object.assign(client, { draw, lies: 0.25 });
      const users = managers.flatMap((locks) => [locks, locks, locks]);
      const run = async (locks: LockManager): Promise<void> => {
        const all = programs(locks, names, draw);
        for (let i = 0; i < 15; i++) {
          const program = all[Math.floor(draw() * all.length)]!;
          const outcome = await outcomeOf(program).catch((error: unknown) => {
            throw new Error(`${String(program)}: ${String(error)}`, { cause: error });
          });
          if ("error" in outcome) expectClear(outcome.error);
        }
      };
      await Promise.all(users.map(run)).catch((error: unknown) => {
        throw new Error(`Seed ${seed}: ${String(error)}`, { cause: error });
      });
      for (const client of clients) {
        expect(client.sent, `commands sent with seed ${seed}`).toBeLessThan(5_000);
        await client.repent();
      }
      // Those that were lied to still serve, though a node that failed is asked only once a second how it is.
      const serves = (locks: LockManager, name = names[0]!): Promise<boolean> =>
        locks.request(name, { ttl: TTL, waitTimeout: 5_000 }, () => true).catch(() => false);
      for (const locks of managers) await until(() => serves(locks), "it served");
      // Who was told that it was refused, and stands in line, leaves when it is its turn.
      for (const name of [...names, "third", "leader"])
        await until(() => serves(managers[0]!, name), `${name} was free`);
      for (const locks of managers) await locks.close();
    }
    await dropSharedValues(redis);
    await cleared(redis);
    expect(rejections.map(String)).toEqual([]);
  },
);

test("a guard whose server lies fails with a documented error", async (t) => {
  const { server } = await openStage(t);
  const client = new LyingRedis(server.url);
  t.onTestFinished(() => client.disconnect());
  const guard = new RedisFence(client);
  Object.assign(client, { draw: random(first), lies: 0.7 });
  for (let i = 1; i < 200 * seeds; i++) {
    const outcome = await outcomeOf(() => guard.write({ fence: i, token: "a:1" }, "SET", "key", i));
    if ("error" in outcome) expectClear(outcome.error);
  }
  guard.close();
});

test.for(["lua", "redlock"] as const)(
  "%s: messages that strangers publish on a manager's channel neither grant, nor end, nor break anything",
  { timeout: FUZZ_TIMEOUT },
  async (scheme, t) => {
    const { redis, client } = await openStage(t);
    const rejections = unhandledRejections(t);
    const open = (): LockManager => (scheme === "redlock" ? new LockManager([client()]) : new LockManager(client()));
    const [locks, other] = [open(), open()];
    const name = unique();
    const held = await other.acquire(name);
    let isGranted = false;
    const waiter = locks.acquire(name).then((lock) => {
      isGranted = true;
      return lock;
    });
    await until(async () => (await other.query({ name })).pending.length === 1, "it waited");
    const channels = (await redis.pubsub("CHANNELS", "*")) as string[];
    expect(channels.length).toBeGreaterThan(0);
    const draw = random(first);
    const [mine] = (await other.query({ name })).pending;
    const words = ["granted", "next", "lost", "0", "-1", "1", "1e9", "NaN", held.token, mine?.token ?? "", "no:token"];
    const key = `lock:${name}`;
    for (let i = 0; i < 300 * seeds; i++) {
      const length = Math.floor(draw() * 7);
      const parts = Array.from({ length }, () => words[Math.floor(draw() * words.length)]);
      // What names both the token and the key could be a push of ours; `next` only makes it ask.
      const text = draw() < 0.1 ? "\0\ud800\r\n".repeat(1_000) : [...parts, draw() < 0.5 ? "" : "lock:other"].join(" ");
      for (const channel of channels) await redis.publish(channel, text);
      await redis.publish(channels[0]!, `next 1 0 0 ${held.token} ${key}`);
    }
    expect(isGranted, "granted while another holds").toBe(false);
    expect(held.held).toBe(true);
    await held.release();
    await (await waiter).release();
    await Promise.all([locks.close(), other.close()]);
    await cleared(redis, 10_000);
    expect(rejections.map(String)).toEqual([]);
  },
);
