/** What the driver of node-redis's Sentinel client adds to it: what may have been sent twice, and nobody held up. */
import { Redis } from "ioredis";
import { createSentinel } from "redis";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { type Sentinels, startSentinels } from "../../scripts/topologies.ts";
import { Followers } from "../../src/drivers/listening/followers.ts";
import { NodeRedisSentinelDriver } from "../../src/drivers/node-redis/sentinel.ts";
import type { NodeRedisClient } from "../../src/drivers/node-redis/library.ts";
import { schemeError } from "../../src/drivers/server-errors.ts";
import { rejection, unique } from "../support/locks.ts";
import { FAILOVER } from "../support/sentinels.ts";
import { until } from "../support/until.ts";

let sentinels: Sentinels;

beforeAll(async () => {
  // They fail over when they are told to, and not before.
  sentinels = await startSentinels({ replicas: 1, sentinels: 1, downAfter: 60_000 });
});
afterEach(async () => {
  for (const member of sentinels.members) member.thaw();
  await sentinels.settle();
});
afterAll(() => sentinels.stop());

async function open() {
  const client = createSentinel({ name: sentinels.name, sentinelRootNodes: sentinels.addresses });
  client.on("error", () => {}); // these tests break connections on purpose
  await client.connect();
  const driver = new NodeRedisSentinelDriver(client, "");
  onTestFinished(() => {
    driver.close();
    client.destroy().catch(() => {});
  });
  return { client, driver };
}

type Opened = Awaited<ReturnType<typeof open>>;

/** The connection that commands go over. */
function connectionOf({ client }: Opened): Promise<NodeRedisClient> {
  return client._execute(false, (primary) => Promise.resolve(primary as unknown as NodeRedisClient));
}

/** What is sent over the connection from now on. */
async function sentBy(opened: Opened): Promise<() => string[]> {
  const sendCommand = vi.spyOn(await connectionOf(opened), "sendCommand");
  return () => sendCommand.mock.calls.map(([args]) => args[0] ?? "");
}

/** @returns what has another promoted in its place */
async function freezeMaster(): Promise<() => Promise<void>> {
  const before = await sentinels.master();
  before.freeze();
  return async () => {
    const [address] = sentinels.addresses;
    const sentinel = new Redis(address!);
    onTestFinished(() => sentinel.disconnect());
    const begun = async (): Promise<boolean> => (await sentinel.call("SENTINEL", "FAILOVER", sentinels.name)) === "OK";
    await until(begun, "a failover had begun", FAILOVER);
    await sentinels.promoted(before);
  };
}

test("calls of one turn of the event loop are all on their way before one is answered", async () => {
  const opened = await open();
  const sent = await sentBy(opened);
  const master = await sentinels.master();
  master.freeze();
  const calls = ["PING", "TIME", "DBSIZE"].map((command) => opened.driver.send([command]));
  await until(() => sent().length === 3, "all had been sent");
  master.thaw();
  await Promise.all(calls);
  expect(sent()).toEqual(["PING", "TIME", "DBSIZE"]);
});

test("a server that lets nobody listen holds up no command of others", async () => {
  const opened = await open();
  const master = await sentinels.master();
  master.freeze();
  const listens = vi.spyOn(await connectionOf(opened), "duplicate");
  const subscription = opened.driver.subscribe(unique(), { message: () => {}, up: () => {} });
  onTestFinished(() => subscription.close());
  await until(() => listens.mock.calls.length > 0, "it had begun to listen");
  const lease = await until(() => opened.client.acquire(), "the connection could be leased");
  await lease.release();
});

test("a call that was out when its server was replaced is sent to the next, and may have been done twice", async () => {
  const { driver } = await open();
  const key = unique();
  const { drops } = driver;
  const replace = await freezeMaster();
  const call = driver.send(["INCR", key]);
  await replace();
  expect(await call).toBe(1);
  expect(driver.drops).toBeGreaterThan(drops);
});

test("commands in order that were out when their server was replaced all go to the next", async () => {
  const { driver } = await open();
  const key = unique();
  const replace = await freezeMaster();
  const call = driver.inOrder([
    ["INCR", key],
    ["INCR", key],
  ]);
  await replace();
  expect(await call).toEqual([1, 2]);
});

test("commands in order whose server has become a replica go to the one that writes", async () => {
  const opened = await open();
  const key = unique();
  const primary = await connectionOf(opened);
  const sendCommand = primary.sendCommand.bind(primary);
  let refusals = 0;
  // As a server does that was demoted, before its clients are told.
  vi.spyOn(primary, "sendCommand").mockImplementation((args) => {
    if (refusals > 0 || args[0] !== "INCR") return sendCommand(args);
    refusals++;
    return Promise.reject(new Error("READONLY You can't write against a read only replica."));
  });
  expect(await opened.driver.inOrder([["INCR", key], ["PING"]])).toEqual([1, "PONG"]);
});

test("a connection that was lost and came back counts, though no call was out", async () => {
  const { client, driver } = await open();
  await driver.send(["PING"]);
  const { drops } = driver;
  await client.sendCommand(false, ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  const id = String(await client.sendCommand(false, ["CLIENT", "ID"]));
  const other = await open();
  await other.driver.send(["CLIENT", "KILL", "ID", id]);
  await until(() => driver.drops > drops, "the loss had been counted");
});

test("subscriptions follow as soon as the client has found the next server", async () => {
  const { driver } = await open();
  await driver.send(["PING"]);
  const hurry = vi.spyOn(Followers.prototype, "hurry");
  onTestFinished(() => hurry.mockRestore());
  await sentinels.failover();
  await until(() => hurry.mock.calls.length > 0, "it was told", FAILOVER);
});

test("a call that is out when the client is closed fails as one of a closed client, and so does the next", async () => {
  const { client, driver } = await open();
  const master = await sentinels.master();
  master.freeze();
  const call = rejection(driver.send(["PING"]));
  await client.destroy();
  for (const error of [await call, await rejection(driver.send(["PING"]))]) {
    expect(schemeError(error)).toMatchObject({ code: "unreachable", transient: false });
    expect(schemeError(error).message).toContain("closed");
  }
});

test("nothing of the driver stays on the client, or on its connections, when it is closed", async () => {
  const opened = await open();
  const watched = [opened.client, await connectionOf(opened)] as unknown as NodeJS.EventEmitter[];
  const count = (): number[] =>
    watched.map((each) => each.eventNames().reduce((sum, event) => sum + each.listenerCount(event), 0));
  opened.driver.close();
  const before = count();
  const driver = new NodeRedisSentinelDriver(opened.client, "");
  await driver.send(["PING"]);
  expect(count()).not.toEqual(before);
  driver.close();
  expect(count()).toEqual(before);
});
