/** What the drivers add to the clients of a Cluster: commands in order while a slot moves, and whom failures concern. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { Cluster, Redis } from "ioredis";
import { Cluster as ValkeyCluster } from "iovalkey";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Cluster as Nodes, startCluster } from "../../scripts/topologies.ts";
import { driverFor } from "../../src/drivers/index.ts";
import { LockManager, type SchemeError } from "../../src/index.ts";
import { rejection, unique } from "../support/locks.ts";
import { unhandledRejections } from "../support/stage.ts";
import { until } from "../support/until.ts";
import { clusterFinders, finders } from "../support/worlds.ts";

const LONG = { timeout: 60_000 };

let nodes: Nodes;
beforeAll(async () => {
  nodes = await startCluster({ replicasEach: 1 });
});
afterAll(() => nodes.stop());

/** How often each server has read from its connections. */
function reads(looks: readonly Redis[]): Promise<number[]> {
  return Promise.all(
    looks.map(async (look) => Number(/total_reads_processed:(\d+)/.exec(await look.info("stats"))?.[1])),
  );
}

describe.each([...clusterFinders, "an iovalkey Cluster" as const])("%s", (finder) => {
  test("sends commands of one turn to each server in one write", LONG, async () => {
    const { client, end } = finder === "an iovalkey Cluster" ? iovalkey() : await finders[finder](nodes.seeds);
    const driver = driverFor(client);
    const masters = (await nodes.masters()).map(({ server }) => new Redis(server.url));
    onTestFinished(() => {
      driver.close();
      end();
      for (const each of masters) each.disconnect();
    });
    const keys = Array.from({ length: 64 }, (_, i) => `together ${i}`);
    const known = async (): Promise<boolean> => {
      await Promise.all(keys.map((key) => driver.send(["EXISTS", key], key)));
      return keys.every((key) => !/^(slot |$)/.test(driver.ownerOf(key)));
    };
    await until(known, "the client knew all servers");
    // A client may ask its servers for something of its own meanwhile.
    const few = async (): Promise<boolean> => {
      const before = await reads(masters);
      const sent: Promise<unknown>[] = [];
      driver.together(() => {
        for (const key of keys) sent.push(driver.send(["SET", key, "1"], key));
      });
      expect(await Promise.all(sent)).toEqual(keys.map(() => "OK"));
      const after = await reads(masters);
      // One of them is for what looks.
      return after.every((count, i) => count === before[i]! + 2);
    };
    await until(few, "each server had it in one read");
  });
});

function iovalkey() {
  const client = new ValkeyCluster(nodes.seeds);
  client.on("error", () => {});
  return { client, end: () => client.disconnect() };
}

describe.each(clusterFinders)("%s", (finder) => {
  test(
    "sends commands in order where a key is that has gone ahead of its slot, and proves them there",
    LONG,
    async () => {
      const { client, end } = await finders[finder](nodes.seeds);
      const driver = driverFor(client);
      onTestFinished(() => {
        driver.close();
        end();
      });
      const key = unique("key");
      const commands = [
        ["INCR", key],
        ["WAIT", "1", "2000"],
      ];
      // While a client still connects, it closes connections as well.
      const first = await until(() => driver.inOrder(commands, key), "the client was connected");
      expect(first[1]).toBe(1);
      const count = Number(first[0]);
      const slot = await nodes.slotOf(key);
      const owner = await nodes.ownerOf(slot);
      const other = (await nodes.masters()).find(({ id }) => id !== owner.id)!;
      await nodes.moveSlot(slot, other, { halfWay: true });
      const transaction = [["MULTI"], ["INCR", key], ["GET", key], ["EXEC"], ["WAIT", "1", "2000"]];
      if (finder.includes("GLIDE")) {
        // It follows with each command by itself, so nobody could tell whose replicas the last one counted.
        expect(String(await rejection(driver.inOrder(commands, key)))).toContain("moved");
      } else {
        expect(await driver.inOrder(commands, key)).toEqual([count + 1, 1]);
        expect(await driver.inOrder(transaction, key)).toEqual([
          "OK",
          "QUEUED",
          "QUEUED",
          [count + 2, String(count + 2)],
          1,
        ]);
      }
      await nodes.moveSlot(slot, other);
      const later = await until(() => driver.inOrder(commands, key), "the client had followed", 10_000);
      expect(Number(later[0])).toBeGreaterThan(count + 1);
      expect(later[1]).toBe(1);
    },
  );
});

test("one server of it, given as if it were alone, is refused with what to give instead", async (t) => {
  const client = new Redis(nodes.servers[0]!.url);
  t.onTestFinished(() => client.disconnect());
  const durability = { replicas: 1, timeout: 100 };
  for (const options of [{}, { scheme: "set" as const }, { durability }]) {
    const locks = new LockManager(client, options);
    t.onTestFinished(() => locks.close());
    const names = Array.from({ length: 6 }, () => unique());
    const outcomes = await Promise.allSettled(names.map((name) => locks.tryAcquire(name)));
    const refused = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(refused.length).toBeGreaterThan(0);
    for (const { reason } of refused) {
      expect(reason).toMatchObject({ code: "server", transient: false });
      expect((reason as Error).message).toContain("Pass a Cluster client");
    }
  }
});

test("no rejection is unhandled if a connection breaks after ASKING for a key that moves", async (t) => {
  const rejections = unhandledRejections(t);
  const client = new Cluster(nodes.seeds);
  t.onTestFinished(() => client.disconnect());
  const driver = driverFor(client);
  await driver.send(["PING"]);
  const [node] = client.nodes("master");
  node!.disconnect();
  // As ioredis does it, which drops the promise.
  void node!.asking();
  await until(() => node!.status === "end", "the connection was gone");
  await new Promise((resolve) => setImmediate(resolve));
  expect(rejections).toEqual([]);
  driver.close();
  for (const each of client.nodes()) expect(Object.hasOwn(each, "asking")).toBe(false);
});

test.for(clusterFinders.filter((finder) => !finder.includes("GLIDE")))(
  "while a server is down, query says so and does not blame the client (%s)",
  LONG,
  async (finder, t) => {
    const own = await startCluster({ replicasEach: 0, args: ["--cluster-require-full-coverage", "no"] });
    t.onTestFinished(() => own.stop());
    const { client, end } = await finders[finder](own.seeds);
    const locks = new LockManager(client);
    t.onTestFinished(() => void locks.close().finally(end));
    await (await locks.acquire(unique())).release();
    await own.servers[0]!.crash();
    const seen: SchemeError[] = [];
    // node-redis takes 5 s for each; what ioredis says changes in the course of the first.
    const enough = finder.includes("node-redis") ? 1 : 3;
    const failed = async (): Promise<boolean> => {
      await locks.query().catch((error: unknown) => seen.push(error as SchemeError));
      return seen.length >= enough;
    };
    await until(failed, "query had failed", 20_000);
    for (const error of seen) {
      expect(error).toMatchObject({ code: "unreachable", transient: true });
      expect(error.message).not.toContain("passed in");
    }
  },
);

describe("a process that was frozen for longer than its sockets may be silent", () => {
  /** Says what it is asked to, of a lock that it takes. */
  const script = `
    import { createCluster } from "redis";
    import { LockManager } from ${JSON.stringify(new URL("../../dist/index.js", import.meta.url).pathname)};
    const [seeds, strategy] = JSON.parse(process.argv[1]);
    const socket = { socketTimeout: 1_500, ...(strategy && { reconnectStrategy: (n) => Math.min(25 * 2 ** n, 1_000) }) };
    const cluster = createCluster({ rootNodes: seeds.map((socket) => ({ socket })), defaults: { pingInterval: 500, socket } });
    await cluster.on("error", () => {}).connect();
    const locks = new LockManager(cluster);
    process.on("message", async () => {
      const names = ["a", "b", "c", "d", "e", "f"];
      const tell = (error) => error.code + ", transient " + error.transient + ": " + error.message;
      const said = await Promise.all(names.map((name) => locks.request(name, () => "held").catch(tell)));
      process.send([...new Set(said)]);
    });
    process.send("up");
  `;

  test.for([
    { strategy: true, title: "comes back, with a reconnectStrategy" },
    { strategy: false, title: "is told to set a reconnectStrategy, without one" },
  ])("$title", LONG, async ({ strategy }, t) => {
    const argument = JSON.stringify([nodes.seeds, strategy]);
    const child = fork("--input-type=module", ["--eval", script, argument], {
      execPath: process.execPath,
      execArgv: [],
    });
    t.onTestFinished(() => void child.kill("SIGKILL"));
    const answer = async (): Promise<unknown> => ((await once(child, "message")) as [unknown])[0];
    expect(await answer()).toBe("up");
    const ask = (): Promise<unknown> => {
      child.send("");
      return answer();
    };
    expect(await ask()).toEqual(["held"]);
    child.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    child.kill("SIGCONT");
    if (strategy) {
      await until(async () => ((await ask()) as string[])[0] === "held", "it had come back", 20_000);
    } else {
      const said = await until(
        async () => {
          const [first] = (await ask()) as [string];
          return first !== "held" && first;
        },
        "it had noticed",
        20_000,
      );
      expect(said).toMatch(/^unreachable, transient false: .*node-redis gave up .*reconnectStrategy/);
    }
  });
});
