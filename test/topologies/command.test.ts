/** One server or several, and the ways to name them. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { idlePort, startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { type Cluster, type Sentinels, startCluster, startSentinels } from "../../scripts/topologies.ts";
import { LIBRARIES } from "../../src/drivers/url/connect.ts";
import { CommandLine } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { until } from "../support/until.ts";

let servers: Server[];
const cli = new CommandLine();

beforeAll(async () => {
  servers = await Promise.all(Array.from({ length: 5 }, () => startServer()));
  cli.open(urlOf(0));
});
afterEach(async () => {
  for (const server of servers) server.thaw();
  await cli.endAll();
});
afterAll(async () => {
  await cli.close();
  await Promise.all(servers.map((server) => server.stop()));
});

function urlOf(i: number): string {
  return (servers[i] as Server).url;
}

const nowhere = (): string => `redis://127.0.0.1:${idlePort()}`;

/** --redis for each. */
const over = (...urls: string[]): string[] => urls.flatMap((url) => ["--redis", url]);

/** The first so many servers, of which these are down. */
function some(count: number, ...down: number[]): string[] {
  return Array.from({ length: count }, (_, i) => (down.includes(i) ? nowhere() : urlOf(i)));
}

/** Under a prefix that they were never used with, so that none of them can have forgotten anything. */
function fresh(name: string, count: number, ...down: number[]): string[] {
  return ["--prefix", `${name}:`, ...over(...some(count, ...down))];
}

const HOLD = ["--", "sh", "-c", "echo held; exec sleep 60"];

describe("over several servers", () => {
  test.each([
    [3, [] as number[]],
    [3, [0]],
    [5, [1, 4]],
  ])("exec excludes others where of %i servers %j are down", async (count, down) => {
    const name = unique();
    const urls = fresh(name, count, ...down);
    const holder = cli.start(["exec", name, ...urls, ...HOLD]);
    await holder.hasPrinted("held");
    const other = await cli.run(["exec", name, "--wait", "0", ...urls, "--", "true"]);
    expect(other).toMatchObject({ code: 75, stderr: expect.stringContaining("was not free") });
    holder.signal("SIGTERM");
    expect((await holder.ended).code).toBe(143);
    const next = await cli.run(["exec", name, "--wait", "10s", ...urls, "--", "echo", "ran"]);
    expect(next).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });

  test.each(LIBRARIES)("exec continues while a server is frozen, with %s", async (client) => {
    servers[2]?.freeze();
    const run = cli.run(["exec", unique(), "--client", client, ...over(...some(3)), "--", "echo", "ran"]);
    expect(await run).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });

  test.each(LIBRARIES)(
    "without a majority it ends at once with 69, and says which and why, with %s",
    async (client) => {
      const urls = some(3, 0, 2);
      const { code, stderr } = await cli.run(["exec", unique(), "--client", client, ...over(...urls), "--", "true"]);
      expect(code).toBe(69);
      expect(stderr).toMatch(/^holdfast: a majority of the 3 servers is needed, and 2 cannot be used\. .*\n$/);
      for (const url of [urls[0], urls[2]]) expect(stderr).toMatch(new RegExp(`${url}: [^.]*ECONNREFUSED`));
      expect(stderr).not.toContain(String(urls[1]));
    },
  );

  test("without a majority that answers it ends with 69, and says which", async () => {
    for (const i of [0, 1, 2]) servers[i]?.freeze();
    const { code, stderr } = await cli.run(["ls", ...over(...some(5))]);
    expect(code).toBe(69);
    expect(stderr).toMatch(/^holdfast: a majority of the 5 servers is needed, and 3 cannot be used\. .*\n$/);
    expect(stderr.match(/no answer within 4s/g)).toHaveLength(3);
  });

  test("a server that comes later is used from then on", async () => {
    const name = unique();
    const port = idlePort();
    const run = cli.start([
      "exec",
      name,
      "--ttl",
      "2s",
      ...over(urlOf(0), urlOf(1), `redis://127.0.0.1:${port}`),
      ...HOLD,
    ]);
    await run.hasPrinted("held");
    const late = await startServer({ port });
    onTestFinished(() => late.stop());
    const holders = async (...urls: string[]): Promise<number> =>
      (await cli.show(name, ...over(...urls, `redis://127.0.0.1:${port}`))).holders.length;
    // It may have been restarted, as far as anybody can tell: it counts once the leases that it may have forgotten are over.
    await until(async () => (await holders()) === 1, "the late server had the lock, too", 15_000);
    servers[1]?.freeze();
    const { fence } = (await cli.show(name, ...over(`redis://127.0.0.1:${port}`))).holders[0] ?? {};
    await sleep(3_000); // longer than the lease, if it were not renewed
    expect(await holders(urlOf(0))).toBe(1);
    expect((await cli.show(name, ...over(`redis://127.0.0.1:${port}`))).holders[0]?.fence).toBe(fence);
    expect(run.over).toBe(false);
  });

  test("REDIS_URL holds them, separated by spaces", async () => {
    const name = unique();
    const env = { REDIS_URL: ` ${some(3).join("  ")} ` };
    const holder = cli.start(["exec", name, ...HOLD], env);
    await holder.hasPrinted("held");
    expect((await cli.show(name, ...over(urlOf(1)))).holders).toHaveLength(1);
    expect((await cli.run(["exec", name, "--wait", "0", "--", "true"], env)).code).toBe(75);
  });

  test("--redis is taken in place of REDIS_URL", async () => {
    const { code } = await cli.run(["ls", "--redis", urlOf(0)], { REDIS_URL: `${nowhere()} ${nowhere()}` });
    expect(code).toBe(0);
  });

  test("ls, show and release work, with one of three down", async () => {
    const name = unique();
    const urls = fresh(name, 3, 1);
    const holder = cli.start(["exec", name, ...urls, ...HOLD]);
    await holder.hasPrinted("held");
    expect((await cli.show(name, ...urls)).holders).toMatchObject([
      { label: expect.stringContaining(`:${holder.pid}:`) },
    ]);
    expect((await cli.run(["ls", "--json", ...urls])).stdout).toContain(name);
    expect(await cli.run(["release", name, "--force", ...urls])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("The holder finds out when it next renews its lease, within a third of its ttl"),
      stderr: "",
    });
    expect((await holder.ended).code).toBe(70);
  });

  test("elect runs the command on one machine, and on the next when that one leaves", async () => {
    const name = unique();
    const args = ["elect", name, ...fresh(name, 3, 0), "--quiet", "--", "sh", "-c", "echo leads; exec sleep 60"];
    const first = cli.start(args);
    await first.hasPrinted("leads");
    const second = cli.start(args);
    first.signal("SIGTERM");
    expect((await first.ended).code).toBe(143);
    await second.hasPrinted("leads");
  });
});

const hostsOf = (addresses: readonly { host: string; port: number }[]): string =>
  addresses.map(({ host, port }) => `${host}:${port}`).join(",");

describe("over Sentinels", () => {
  let sentinels: Sentinels;

  beforeAll(async () => {
    sentinels = await startSentinels({ replicas: 1 });
  });
  afterAll(() => sentinels.stop());

  /** Of two of them, behind one that is down. */
  const urls = (): string[] =>
    over(`redis+sentinel://127.0.0.1:${idlePort()},${hostsOf(sentinels.addresses.slice(0, 2))}/mymaster`);

  async function look(): Promise<Redis> {
    const redis = new Redis((await sentinels.master()).url);
    onTestFinished(() => redis.disconnect());
    return redis;
  }

  test.each(LIBRARIES)("exec holds on the master that they name, and hands over, with %s", async (client) => {
    const name = unique();
    const holder = cli.start(["exec", name, "--client", client, ...urls(), ...HOLD]);
    await holder.hasPrinted("held");
    expect(await (await look()).exists(`lock:${name}`)).toBe(1);
    const next = cli.start(["exec", name, "--client", client, ...urls(), "--", "echo", "ran"]);
    const waits = async (): Promise<boolean> => (await cli.show(name, ...urls())).waiters.length === 1;
    await until(waits, "the next waited", 15_000);
    holder.signal("SIGTERM");
    expect(await holder.ended).toMatchObject({ code: 143, stderr: "" });
    expect(await next.ended).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test("exec continues over a failover that its lock survives, with each library", async () => {
    const names = LIBRARIES.map((client) => unique(client));
    const holders = LIBRARIES.map((client, i) =>
      cli.start(["exec", names[i]!, "--client", client, "--ttl", "6s", ...urls(), ...HOLD]),
    );
    for (const holder of holders) await holder.hasPrinted("held");
    const before = await look();
    // What is written here is on the replica no later than the locks are.
    await before.set("written last", "");
    expect(await before.wait(1, 5_000)).toBe(1);
    await sentinels.failover();
    const end = performance.now() + 6_500;
    await until(() => performance.now() > end, "the leases had ended without renewal", 8_000);
    expect(holders.map((each) => each.over)).toEqual(names.map(() => false));
    expect(await (await look()).exists(...names.map((name) => `lock:${name}`))).toBe(names.length);
    for (const holder of holders) holder.signal("SIGTERM");
    for (const holder of holders) expect(await holder.ended).toMatchObject({ code: 143, stderr: "" });
  }, 60_000);
});

test.each([
  ["Sentinel", "sentinel", "/mymaster", "?sentinelPassword=secret"],
  ["host of a Cluster", "cluster", "", ""],
])("where no %s is there it ends with 69 within seconds", async (_, kind, master, query) => {
  const down = idlePort();
  const nobody = over(`redis+${kind}://:secret@127.0.0.1:${down}${master}${query}`);
  const runs = LIBRARIES.map((client) => cli.run(["ls", "--client", client, ...nobody]));
  for (const { code, stderr } of await Promise.all(runs)) {
    expect(code, stderr).toBe(69);
    expect(stderr).toMatch(new RegExp(`^holdfast: redis\\+${kind}://…@127\\.0\\.0\\.1:${down}${master}: .*\\n$`));
    expect(stderr).not.toContain("secret");
  }
});

describe("on a Cluster", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await startCluster({ replicasEach: 0, password: "pass-word" });
  });
  afterAll(() => cluster.stop());

  test.each(LIBRARIES)("exec excludes others, whichever host they ask first, with %s", async (client) => {
    const name = unique();
    const by = (hosts: string): string[] => ["--client", client, ...over(`redis+cluster://:pass-word@${hosts}`)];
    const [first, second] = cluster.seeds.map((seed) => hostsOf([seed])) as [string, string];
    const holder = cli.start(["exec", name, ...by(first), ...HOLD]);
    await holder.hasPrinted("held");
    const others = by(`127.0.0.1:${idlePort()},${second}`);
    const other = await cli.run(["exec", name, "--wait", "0", ...others, "--", "true"]);
    expect(other).toMatchObject({ code: 75, stderr: expect.stringContaining(`:${holder.pid}:`) });
    expect((await cli.run(["ls", "--json", ...others])).stdout).toContain(name);
    holder.signal("SIGTERM");
    expect(await holder.ended).toMatchObject({ code: 143, stderr: "" });
    const next = await cli.run(["exec", name, "--wait", "10s", ...others, "--", "echo", "ran"]);
    expect(next).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });
});

describe("wrong usage exits 64 with one line", () => {
  const three = over("redis://a", "redis://b", "redis://c");
  test.each([
    ["a URL that is none", ["ls", "--redis", "localhost"], "--redis: Expected the server as redis://"],
    ["an empty URL", ["ls", "--redis", ""], "--redis: Expected the server as redis://"],
    ["one bad URL of three", ["ls", ...three, "--redis", "redis://"], "each host as name"],
    ["the same server twice", ["ls", ...three, "--redis", "redis://b"], "got the same as node 2 and node 4"],
    ["Sentinels among several", ["ls", ...three, "--redis", "redis+sentinel://a/m"], "to lead to one server"],
    ["replicas to look", ["ls", "--replicas", "1"], "unknown option '--replicas'"],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await cli.run(args);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toMatch(/^holdfast: .*\n$/);
    expect(stderr).toContain(message);
  });

  test("also in REDIS_URL, which is named", async () => {
    const { code, stderr } = await cli.run(["ls"], { REDIS_URL: "redis://a,redis://:secret@b" });
    expect(code).toBe(64);
    expect(stderr).toMatch(/^holdfast: REDIS_URL: Expected .*\n$/);
    expect(stderr).not.toContain("secret");
  });
});
