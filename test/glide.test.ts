/** What GLIDE says and keeps to itself: errors in the server's words, losses, a WATCH that is never silently forgotten. */
import { fileURLToPath } from "node:url";
import type { Batch } from "@valkey/valkey-glide";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { type Driver } from "../src/drivers/driver.ts";
import { schemeError } from "../src/drivers/server-errors.ts";
import { driverFor, type DriverTerms } from "../src/drivers/index.ts";
import { batchOf, type OwnGlideClient, plain } from "../src/drivers/glide/library.ts";
import { GlideSession } from "../src/drivers/glide/session.ts";
import { Run } from "./support/cli.ts";
import { openGlide } from "./support/glide.ts";
import { rejection, unique } from "./support/locks.ts";
import { connections } from "./support/stage.ts";
import { until } from "./support/until.ts";

const library = fileURLToPath(new URL("../dist/index.js", import.meta.url));

let server: Server;
let redis: Redis;
beforeAll(async () => {
  server = await startServer();
  redis = new Redis(server.url, { retryStrategy: () => 20 });
  redis.on("error", () => {}); // these tests break connections on purpose
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

async function openDriver(settings: object = {}, terms?: DriverTerms): Promise<Driver> {
  const { client, end } = await openGlide(server.url, settings);
  const driver = driverFor(client, terms);
  onTestFinished(() => {
    driver.close();
    end();
  });
  return driver;
}

/** Connections of GLIDE, with what each sent last. */
async function glides(): Promise<Record<string, string>[]> {
  return (await connections(redis)).filter((each) => each["lib-name"] !== "ioredis" && each["id"] !== String(own));
}
let own = 0;
beforeAll(async () => {
  own = await redis.client("ID");
});

test("a process whose server knows none of our scripts is silent", async () => {
  const empty = await startServer();
  onTestFinished(() => empty.stop());
  const script = `
    const { GlideClient } = require("@valkey/valkey-glide");
    const { LockManager } = require(${JSON.stringify(library)});
    (async () => {
      const client = await GlideClient.createClient({ addresses: [{ host: "127.0.0.1", port: ${empty.port} }] });
      const locks = new LockManager(client);
      const held = await locks.acquire("a");
      await held.extend();
      const next = locks.acquire("a");
      await locks.query();
      await held.release();
      await (await next).release();
      await locks.close();
      client.close();
      console.log("done");
    })();`;
  const { stdout, stderr } = await new Run(process.execPath, ["-e", script], process.env).ended;
  expect({ stdout, stderr }).toEqual({ stdout: "done\n", stderr: "" });
});

describe("an error", () => {
  test.for([
    "NOSCRIPT No matching script.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOPERM this user has no permissions to run the 'eval' command",
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN Hash slot not served",
    "MISCONF Redis is configured to save RDB snapshots",
    "MASTERDOWN Link with MASTER is down",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script.",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "MOVED 3999 127.0.0.1:6381",
    "ASK 3999 127.0.0.1:6381",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "EXECABORT Transaction discarded because of previous errors.",
    "ERR value is not an integer or out of range",
  ])("reads as the server has it: %s", async (text) => {
    const driver = await openDriver();
    const error = await rejection(driver.send(["EVAL", "return redis.error_reply(ARGV[1])", "0", text]));
    // What only a Cluster says is explained to a client that knows of none.
    const wordsOf = (said: unknown): string =>
      /^(MOVED|ASK|CROSSSLOT)/.test(text) ? String((said as Error).cause) : String(said);
    expect(wordsOf(error)).toContain(`Error: ${text}`);
    const [inBatch] = await driver.inOrder([["EVAL", "return redis.error_reply(ARGV[1])", "0", text]], "");
    expect(wordsOf(inBatch)).toContain(`Error: ${text}`);
    expect(driver.drops).toBe(0);
  });

  test("of one command in MULTI is an element, and one that refuses all of them is that command's", async () => {
    const driver = await openDriver();
    const key = unique("list");
    await redis.rpush(key, "1");
    onTestFinished(() => void redis.del(key));
    const [done, failed] = (await driver.transaction([["PING"], ["INCR", key]])) ?? [];
    expect(done).toBe("PONG");
    expect((failed as Error).message).toMatch(/^WRONGTYPE/);
    const refused = await rejection(driver.transaction([["PING"], ["NOSUCH"]]));
    expect((refused as Error).message).toMatch(/^ERR unknown command/);
  });

  test("of a client that is closed says so", async () => {
    const { client, end } = await openGlide(server.url);
    const driver = driverFor(client);
    end();
    const error = await rejection(driver.send(["PING"]));
    expect(schemeError(error)).toMatchObject({ code: "unreachable", transient: false });
  });
});

test("replies are those of RESP2, whatever the client speaks and decodes", async () => {
  const { Decoder, ProtocolVersion } = await import("@valkey/valkey-glide");
  const script = "return {1, 'a', {2, 'b'}, false, redis.status_reply('OK'), 1764103672123456}";
  for (const protocol of [ProtocolVersion.RESP2, ProtocolVersion.RESP3]) {
    for (const defaultDecoder of [Decoder.Bytes, Decoder.String]) {
      const driver = await openDriver({ protocol, defaultDecoder });
      const nested = [1, "a", [2, "b"], null, "OK", 1_764_103_672_123_456];
      expect(await driver.send(["EVAL", script, "0"])).toEqual(nested);
      expect(await driver.inOrder([["EVAL", script, "0"]], "")).toEqual([nested]);
      expect(await driver.send(["EVAL", "return false", "0"])).toBeNull();
      expect(await driver.send(["CONFIG", "GET", "appendon*"])).toEqual(["appendonly", "no"]);
      expect(await driver.send(["PUBSUB", "NUMSUB", "nobody"])).toEqual(["nobody", 0]);
      expect(await driver.send(["TIME"])).toEqual([expect.stringMatching(/^\d+$/), expect.stringMatching(/^\d+$/)]);
      expect(await driver.send(["INFO", "server"])).toMatch(/^run_id:\w+/m);
      expect(await driver.send(["WAIT", "0", "10"])).toBe(0);
      expect(await driver.send(["SCAN", "0", "MATCH", "nothing"])).toEqual([expect.any(String), []]);
      expect(
        await driver.transaction([
          ["SET", "k", "v"],
          ["PEXPIRE", "k", "5000"],
          ["DEL", "k"],
        ]),
      ).toEqual(["OK", 1, 1]);
    }
  }
});

test("a command that waits may do so for longer than the client's time, alone and in order", async () => {
  const driver = await openDriver({ requestTimeout: 100 });
  const key = unique("key");
  expect(
    await driver.inOrder(
      [
        ["SET", key, "1", "PX", "1000"],
        ["WAIT", "1", "300"],
      ],
      key,
    ),
  ).toEqual(["OK", 0]);
  expect(await driver.send(["WAIT", "1", "300"])).toBe(0);
  expect(driver.drops).toBe(0);
});

test("a list of records that is not names and values stays a list", () => {
  expect(plain([])).toEqual([]);
  expect(plain([{ key: "a", value: 1 }])).toEqual(["a", 1]);
  expect(plain(["a", { key: "a", value: 1 }])).toEqual(["a", { key: "a", value: 1 }]);
});

test("our batch is what GLIDE's own class builds", async () => {
  const { Batch } = await import("@valkey/valkey-glide");
  for (const isAtomic of [true, false]) {
    const theirs = new Batch(isAtomic).customCommand(["SET", "k", "ü"]).customCommand(["GET", "k"]);
    const ours = batchOf(
      [
        ["SET", "k", "ü"],
        ["GET", "k"],
      ],
      isAtomic,
    );
    expect(JSON.parse(JSON.stringify(ours))).toEqual(JSON.parse(JSON.stringify(theirs)));
  }
});

describe("a loss", () => {
  test("is a command that was not answered in the client's time: it may run yet", async () => {
    const driver = await openDriver({ requestTimeout: 100 });
    const key = unique("late");
    server.freeze();
    const error = await rejection(driver.send(["SET", key, "1", "PX", "5000"])).finally(() => server.thaw());
    expect(schemeError(error)).toMatchObject({ code: "unreachable", transient: true });
    expect(driver.drops).toBe(1);
    expect(driver.complaint).toBe(error);
    await until(() => redis.exists(key), "it had run all the same");
    expect(await driver.send(["PING"])).toBe("PONG");
    expect(driver.complaint).toBeUndefined();
  });

  test("is a restart of the server between two commands, if that is watched for", async () => {
    const [watching, other] = [await openDriver({}, { watchServer: true }), await openDriver()];
    for (const driver of [watching, other]) await driver.send(["PING"]);
    await server.restart();
    own = await redis.client("ID");
    await until(async () => (await glides()).length >= 2, "both were connected again");
    for (const driver of [watching, other]) expect(await driver.send(["PING"])).toBe("PONG");
    expect([watching.drops, other.drops]).toEqual([1, 0]);
    expect(await watching.send(["PING"])).toBe("PONG");
    expect(watching.drops).toBe(1);
  });
});

describe("a session", () => {
  async function open(): Promise<Driver> {
    const session = await (await openDriver()).session("");
    onTestFinished(() => session.close());
    return session;
  }

  test("whose connection was replaced does not act on what it read before", async () => {
    const session = await open();
    const key = unique("key");
    await redis.set(key, "mine", "PX", 60_000);
    await session.send(["WATCH", key]);
    expect(await session.send(["GET", key])).toBe("mine");
    await redis.set(key, "theirs", "PX", 60_000);
    await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    // On the new connection, nothing is watched.
    const acted = session.transaction([["DEL", key]]);
    expect(await acted.catch(() => null)).toBeNull();
    expect(await redis.get(key)).toBe("theirs");
  });

  test("whose connection is replaced between MULTI and EXEC executes nothing, and is of no use any more", async () => {
    const { client, end } = await openGlide(server.url);
    onTestFinished(end);
    let batches = 0;
    const session = new GlideSession({
      customCommand: (command: string[], options?: object) => client.customCommand(command, options),
      exec: async (batch: Batch, raiseOnError: boolean, options?: object) => {
        if (++batches === 2) {
          const before = await glides();
          await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
          const again = async (): Promise<boolean> =>
            (await glides()).some(({ id }) => before.every((each) => each["id"] !== id));
          await until(again, "there was another connection");
        }
        return client.exec(batch, raiseOnError, options);
      },
      getSubscriptions: () => client.getSubscriptions(),
      close: () => {},
    } as unknown as OwnGlideClient);
    const key = unique("key");
    await redis.set(key, "mine", "PX", 60_000);
    await session.send(["WATCH", key]);
    expect(await session.send(["GET", key])).toBe("mine");
    expect(String(await rejection(session.transaction([["DEL", key]])))).toContain("between WATCH and EXEC");
    expect(await redis.get(key)).toBe("mine");
    expect(String(await rejection(session.send(["PING"])))).toContain("closed");
  });

  test("carries simultaneous commands one after another, and none into another's MULTI", async () => {
    const session = await open();
    const key = unique("key");
    await redis.set(key, "1", "PX", 60_000);
    const all = await Promise.all([
      session.send(["WATCH", key]),
      session.send(["GET", key]),
      session.transaction([
        ["INCR", key],
        ["INCR", key],
      ]),
      session.send(["GET", key]),
      session.send(["UNWATCH"]),
    ]);
    expect(all).toEqual(["OK", "1", [2, 3], "3", "OK"]);
  });
});

describe("a subscription", () => {
  test("comes back by itself after each kind of loss, says so each time, and not without reason", async () => {
    const driver = await openDriver();
    let ups = 0;
    const heard: string[] = [];
    const channel = unique("channel");
    const subscription = driver.subscribe(channel, { message: (text) => heard.push(text), up: () => ups++ });
    onTestFinished(() => subscription.close());
    await until(() => subscription.up, "it was up");
    expect(ups).toBe(1);
    const losses: Record<string, () => Promise<unknown>> = {
      "killed connections": () => redis.call("CLIENT", "KILL", "TYPE", "pubsub"),
      "a restart": () => server.restart(),
      "a freeze": async () => {
        server.freeze();
        await until(() => !subscription.up, "it was seen to be down");
        server.thaw();
      },
      "an outage": async () => {
        await server.crash();
        await until(() => !subscription.up, "it was seen to be down");
        await server.start();
      },
    };
    for (const [name, lose] of Object.entries(losses)) {
      const before = ups;
      await lose();
      await until(() => ups > before && subscription.up, `it was up again after ${name}`, 8_000);
      const text = unique(name);
      await until(async () => {
        await redis.publish(channel, text).catch(() => {});
        return heard.includes(text);
      }, `a message came after ${name}`);
    }
    const before = ups;
    const later = performance.now() + 1_200;
    await until(() => performance.now() > later, "it was looked at twice");
    expect(ups).toBe(before);
  }, 40_000);

  test("listens at the primary even if the user reads from replicas", async () => {
    const replica = await startServer({ args: ["--replicaof", "127.0.0.1", String(server.port)] });
    onTestFinished(() => replica.stop());
    await until(async () => /state=online/.test(await redis.info("replication")), "the replica was there", 10_000);
    const ports = [replica.port, server.port];
    const addresses = ports.map((port) => ({ host: "127.0.0.1", port }));
    const driver = await openDriver({ addresses, readFrom: "preferReplica" });
    const channel = unique("channel");
    const subscription = driver.subscribe(channel, { message: () => {}, up: () => {} });
    onTestFinished(() => subscription.close());
    await until(() => subscription.up, "it was up");
    expect(await redis.pubsub("NUMSUB", channel)).toEqual([channel, 1]);
    expect(await driver.send(["INFO", "replication"])).toContain("role:master");
  });
});
