import { Injectable, Module } from "@nestjs/common";
import type { DynamicModule, INestApplication } from "@nestjs/common";
import { NestFactory, Reflector } from "@nestjs/core";
import { Test } from "@nestjs/testing";
import { LockManager } from "holdfast";
import {
  currentLock,
  getLocksToken,
  HoldfastModule,
  InjectLocks,
  RunOnce,
  WhileLeader,
  WithLock,
} from "holdfast/nestjs";
import { createDashboard, nodeHandler } from "holdfast/dashboard";
import { TestLocks } from "holdfast/testing";
import { Redis } from "ioredis";
import { adapter } from "../adapter";
import { Billing, Invoices, Reports, ROLE, Scheduler, Shop } from "./shop";

const url = process.env["SHOP_REDIS"] as string;
/** What listens nowhere. */
const NOBODY = "redis://127.0.0.1:1";

const redis = new Redis(url);
const apps: INestApplication[] = [];

beforeEach(async () => void (await redis.flushall()));
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});
afterAll(() => redis.disconnect());

async function until(condition: () => unknown): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function start(imports: DynamicModule[]): Promise<INestApplication> {
  @Module({ imports: [...imports, Shop] })
  class Root {}
  const app = await NestFactory.create(Root, adapter(), { logger: false, abortOnError: false });
  apps.push(app);
  return app;
}

/** The shop as one of several processes runs it, all on one server. */
async function openShop(): Promise<INestApplication> {
  const app = await start([
    HoldfastModule.forRoot({ redis: url, ttl: 2_000 }),
    HoldfastModule.forRootAsync({
      name: "stock",
      inject: [getLocksToken()],
      useFactory: async (locks: LockManager) => ({ redis: url, prefix: locks ? "stock:" : "" }),
    }),
  ]);
  await app.init();
  return app;
}

/** The same without a server. */
const testShop = async (): Promise<INestApplication> => {
  const app = await start([HoldfastModule.forTest(), HoldfastModule.forTest({ name: "stock" })]);
  await app.init();
  return app;
};

describe("@WithLock", () => {
  test("excludes all calls with the same key, in all applications, and leaves others alone", async () => {
    const [a, b] = [(await openShop()).get(Billing), (await openShop()).get(Billing)];
    const paid = await Promise.all([a, b, a, b].map((billing, i) => billing.pay("42", i)));
    expect(paid.map(({ id, amount }) => [id, amount])).toEqual([0, 1, 2, 3].map((amount) => ["42", amount]));
    expect(new Set(paid.map(({ fence }) => fence)).size).toBe(4);
    expect([a.most, b.most]).toEqual([1, 1]);
    await Promise.all([a.pay("1", 1), a.pay("2", 2)]);
    expect(a.most).toBe(2);
  });

  test("names locks as it was told, without the class", async () => {
    const billing = (await openShop()).get(Billing);
    const held: string[] = [];
    expect(await billing.close(async () => void held.push(...(await redis.keys("*"))))).toBe("ledger");
    expect(held).toContain("lock:ledger");
    expect(held.filter((key) => /billing/i.test(key))).toEqual([]);
  });

  test("rejects as a request does: with what the method throws, and with a timeout", async () => {
    const billing = (await openShop()).get(Billing);
    await expect(billing.close(() => Promise.reject(new Error("no paper")))).rejects.toThrow("no paper");
    await billing.close(async () => {
      await expect(billing.close(async () => {})).rejects.toMatchObject({ name: "LockTimeoutError" });
    });
  });

  test("takes the lock from the manager that it names", async () => {
    const app = await openShop();
    const billing = app.get(Billing);
    expect(billing.stock).toBe(app.get(getLocksToken("stock")));
    expect(billing.locks).toBe(app.get(LockManager));
    const held = await billing.stock.acquire("shelf");
    const counted = billing.count();
    await until(async () => (await billing.stock.query({ name: "shelf" })).pending.length === 1);
    await held.release();
    expect(await counted).not.toBe(held.token);
  });

  test("keeps the metadata of decorators above it and below it, its routes and its name", async () => {
    const app = await testShop();
    await app.listen(0);
    const port = (app.getHttpServer().address() as { port: number }).port;
    for (const order of ["above", "below"] as const) {
      const response = await fetch(`http://127.0.0.1:${port}/invoices/7/${order}`);
      expect([response.status, await response.text()]).toEqual([200, "7 route"]);
      expect(new Reflector().get(ROLE, Invoices.prototype[order])).toBe(order);
      expect(Invoices.prototype[order].name).toBe(order);
      expect(Invoices.prototype[order]).toHaveLength(1);
    }
  });

  test("works in a class that extends another", async () => {
    class Base {
      @WithLock("base")
      async name(): Promise<string> {
        return currentLock().name;
      }
    }
    @Injectable()
    class Derived extends Base {
      @WithLock("derived")
      override async name(): Promise<string> {
        return `${await super.name()} in ${currentLock().name}`;
      }
    }
    const app = await Test.createTestingModule({ imports: [HoldfastModule.forTest()], providers: [Derived] }).compile();
    expect(await app.get(Derived).name()).toBe("base in derived");
    await app.close();
  });

  test("says so if Nest has not made the instance, or knows no manager", async () => {
    const billing = new Billing(undefined as never, undefined as never);
    await expect(billing.pay("1", 1)).rejects.toThrow("Billing.pay has no LockManager");
    expect(() => currentLock()).toThrow("No lock is held here.");
    const alone = start([]);
    await expect(alone.then((app) => app.init())).rejects.toThrow("LockManager");
  });

  test("refuses where the class is defined what it could not do", () => {
    expect(() => WithLock(7 as never)).toThrow("Expected the lock's name to be a string; got 7.");
    expect(() => WithLock("a", { waitTimeot: 1 } as never)).toThrow("Did you mean waitTimeout?");
    expect(() => WithLock("a", { ifAvailable: true } as never)).toThrow("@WithLock always waits");
    expect(() => RunOnce("a", { atMost: 10 })).toThrow("Expected atMost to be a whole number of at least 50");
    expect(() => WhileLeader("a", { signal: AbortSignal.abort() } as never)).toThrow("cannot take signal");
    expect(() => WithLock("a")({}, "b", undefined as never)).toThrow("@WithLock belongs on a method");
  });
});

describe("@RunOnce", () => {
  test("runs a job of @nestjs/schedule on one machine at a time", async () => {
    const all = [(await openShop()).get(Reports), (await openShop()).get(Reports)];
    await until(() => all.flatMap(({ runs }) => runs).length >= 2);
    const seconds = all.flatMap(({ runs }) => runs).map((fence) => Math.round(fence / 1e6));
    expect(new Set(seconds).size).toBe(seconds.length);
  });

  test("resolves to undefined where the job did not run", async () => {
    const all = [(await openShop()).get(Reports), (await openShop()).get(Reports)];
    expect([await all[0]?.runOnce(), await all[1]?.runOnce(), await all[0]?.runOnce()]).toEqual([
      1,
      undefined,
      undefined,
    ]);
  });
});

describe("@WhileLeader", () => {
  test("runs on one machine, and on the next one once that has ended", async () => {
    const [first, second] = [await openShop(), await openShop()];
    const [a, b] = [first.get(Scheduler), second.get(Scheduler)];
    await until(() => a.terms.length + b.terms.length >= 3);
    const [leading, following, leader] = a.terms.length > 0 ? [a, b, first] : [b, a, second];
    expect(following.terms).toEqual([]);
    expect(await leading.isLeading()).toBe(true);
    expect(await following.isLeading()).toBe(undefined);
    const served = leading.serve();
    await leader.close();
    expect(await served).toBe("stopped");
    await until(() => following.terms.length > 0);
    const [before, after] = [leading.terms.at(-1) as number, following.terms[0] as number];
    expect(after).toBeGreaterThan(before);
  });

  test("does not let others lead while a method still runs, though the application is being closed", async () => {
    const leading = await openShop();
    await until(() => leading.get(Scheduler).isLeading());
    const locks = leading.get(LockManager);
    const other = new LockManager(url);
    const served = leading.get(Scheduler).serve();
    const closing = leading.close();
    expect(await served).toBe("stopped");
    await closing;
    for await (const term of other.elect("scheduler")) {
      expect(term.held).toBe(true);
      break;
    }
    await expect(locks.query()).rejects.toMatchObject({ code: "closed" });
    await other.close();
  });
});

describe("the module", () => {
  test("closes its managers, and their connections, when the application is shut down", async () => {
    const clients = async (): Promise<number> => ((await redis.client("LIST")) as string).trim().split("\n").length;
    // Those of earlier tests are on their way.
    await until(async () => (await clients()) === 1);
    const app = await openShop();
    const billing = app.get(Billing);
    await billing.pay("1", 1);
    const held = await billing.locks.acquire("kept");
    expect(await clients()).toBeGreaterThan(1);
    await app.close();
    expect(held.held).toBe(false);
    expect(await redis.exists("lock:kept")).toBe(0);
    await expect(billing.pay("1", 1)).rejects.toMatchObject({ code: "closed" });
    await until(async () => (await clients()) === 1);
  });

  test("leaves a client that it was given open", async () => {
    const app = await start([HoldfastModule.forRoot({ redis }), HoldfastModule.forRoot({ name: "stock", redis })]);
    await app.init();
    expect((await app.get(Billing).pay("1", 1)).fence).toBeGreaterThan(0);
    await app.close();
    expect(await redis.ping()).toBe("PONG");
  });

  test("refuses to start without a server, because locks would be kept in the process", async () => {
    const stock = HoldfastModule.forTest({ name: "stock" });
    const refused = start([stock, HoldfastModule.forRoot({ redis: process.env["NOT_SET"] as string })]);
    await expect(refused).rejects.toThrow("HoldfastModule.forRoot() needs redis: a URL or a client; got undefined.");
    const misspelt = start([stock, HoldfastModule.forRoot({ redis: url, prefx: "a" } as never)]);
    await expect(misspelt).rejects.toThrow("Did you mean prefix?");
  });

  test("forTest needs no server, and several applications can share its locks", async () => {
    const locks = new TestLocks("real time");
    const shared = async (): Promise<INestApplication> => {
      const app = await start([HoldfastModule.forTest({ locks }), HoldfastModule.forTest({ name: "stock", locks })]);
      await app.init();
      return app;
    };
    const [a, b] = [(await shared()).get(Reports), (await shared()).get(Reports)];
    expect([await a.runOnce(), await b.runOnce()]).toEqual([1, undefined]);
    expect(await (await testShop()).get(Reports).runOnce()).toBe(1);
  });

  test("can be given another manager in a test, which it closes", async () => {
    @Injectable()
    class Uses {
      constructor(@InjectLocks() readonly locks: LockManager) {}
      @WithLock("a")
      async name(): Promise<string> {
        return currentLock().name;
      }
    }
    const locks = new TestLocks("real time").manager();
    const app = await Test.createTestingModule({
      imports: [HoldfastModule.forRoot({ redis: NOBODY })],
      providers: [Uses],
    })
      .overrideProvider(LockManager)
      .useValue(locks)
      .compile();
    expect(await app.get(Uses).name()).toBe("a");
    expect(app.get(Uses).locks).toBe(locks);
    await app.close();
    await expect(locks.query()).rejects.toMatchObject({ code: "closed" });
  });
});

test("the health indicator asks the server", async () => {
  const app = await start([
    HoldfastModule.forRoot({ redis: url }),
    HoldfastModule.forRoot({ name: "stock", redis: NOBODY }),
  ]);
  await app.listen(0);
  const port = (app.getHttpServer().address() as { port: number }).port;
  const up = await fetch(`http://127.0.0.1:${port}/health`);
  expect([up.status, await up.json()]).toMatchObject([200, { status: "ok", details: { locks: { status: "up" } } }]);
  const down = await fetch(`http://127.0.0.1:${port}/health/stock`);
  const said = (await down.json()) as { error: { stock: { status: string; message: string } } };
  expect([down.status, said.error.stock.status]).toEqual([503, "down"]);
  expect(said.error.stock.message).toMatch(/did not answer within 200 ms|127\.0\.0\.1:1/);
});

test("the dashboard is mounted beside the routes, before body parsers", async () => {
  const app = await start([HoldfastModule.forTest(), HoldfastModule.forTest({ name: "stock" })]);
  const locks = app.get(LockManager);
  app.use("/locks", nodeHandler(createDashboard(locks, { readOnly: false, authorize: () => true })));
  await app.listen(0);
  const url = `http://127.0.0.1:${(app.getHttpServer().address() as { port: number }).port}`;
  const page = await fetch(`${url}/locks/`);
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining("<title>Locks</title>")]);
  const held = await locks.acquire("a", { label: "the holder" });
  const released = await fetch(`${url}/locks/release`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: url },
    body: JSON.stringify({ name: "a", tokens: [held.token] }),
  });
  expect(await released.json()).toEqual({ freed: ["the holder"] });
  expect((await fetch(`${url}/invoices/7/above`)).status).toBe(200);
});
