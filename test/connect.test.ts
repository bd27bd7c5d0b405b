/** URLs in place of clients: what they mean, and that the connections opened for them are ours to close. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { idlePort, startServer } from "../scripts/servers.ts";
import type { Server, ServerOptions } from "../scripts/servers.ts";
import { Connections, LIBRARIES } from "../src/drivers/url/connect.ts";
import { parseUrls } from "../src/drivers/url/url.ts";
import { RedisFence } from "../src/fence.ts";
import { LockManager } from "../src/index.ts";
import { installBeside, Run } from "./support/cli.ts";
import { enqueue, expectTypeError, hold, rejection, unique, waiting } from "./support/locks.ts";
import { managerOn } from "./support/opened.ts";
import { until } from "./support/until.ts";

/** What a URL leaves out. */
const REST = { tls: false, db: 0, username: undefined, password: undefined, path: undefined, master: undefined };

describe("a URL is read as", () => {
  const server = { ...REST, kind: "server" };
  test.each([
    ["redis://localhost", { ...server, addresses: [{ host: "localhost", port: 6379 }] }],
    ["valkey://Cache.Example:6380/", { ...server, addresses: [{ host: "cache.example", port: 6380 }] }],
    ["rediss://[::1]:7000/12", { ...server, tls: true, db: 12, addresses: [{ host: "::1", port: 7000 }] }],
    ["valkeys://h", { ...server, tls: true, addresses: [{ host: "h", port: 6379 }] }],
    ["REDIS://:p%40%2F%3A+s@h", { ...server, password: "p@/:+s", addresses: [{ host: "h", port: 6379 }] }],
    ["redis://a%20b:p:q@h", { ...server, username: "a b", password: "p:q", addresses: [{ host: "h", port: 6379 }] }],
    ["redis://user:@h", { ...server, username: "user", password: "", addresses: [{ host: "h", port: 6379 }] }],
    ["unix:///run/my%20redis.sock", { ...server, path: "/run/my redis.sock", addresses: [] }],
    ["unix://u:p@/run/r.sock?db=3", { ...server, path: "/run/r.sock", username: "u", password: "p", db: 3 }],
    ["/run/r?%.sock", { ...server, path: "/run/r?%.sock" }],
    [
      "redis+sentinel://u:p@a,b:1,[::1]/my%2Fmaster/2?sentinelUsername=s%26&sentinelPassword=t+",
      {
        ...REST,
        kind: "sentinel",
        addresses: [
          { host: "a", port: 26379 },
          { host: "b", port: 1 },
          { host: "::1", port: 26379 },
        ],
        username: "u",
        password: "p",
        master: "my/master",
        db: 2,
        sentinelUsername: "s&",
        sentinelPassword: "t+",
      },
    ],
    ["rediss+sentinel://a/m", { ...REST, kind: "sentinel", tls: true, master: "m" }],
    [
      "redis+cluster://:p@a,b:7001",
      {
        ...REST,
        kind: "cluster",
        password: "p",
        addresses: [
          { host: "a", port: 6379 },
          { host: "b", port: 7001 },
        ],
      },
    ],
    ["valkeys+cluster://a/0", { ...REST, kind: "cluster", tls: true }],
  ])("%s", (url, place) => {
    expect(parseUrls(url)).toMatchObject([place]);
  });

  test("a title that names the server and no secret", () => {
    const urls = [
      "redis://u:secret@a/1",
      "redis+sentinel://u:secret@a,[::1]/m/2?sentinelPassword=secret",
      "redis+cluster://u:secret@a,b",
      "unix://u:secret@/run/r.sock?db=1",
    ];
    expect(urls.map((url) => parseUrls(url)[0]?.title)).toEqual([
      "redis://…@a:6379/1",
      "redis+sentinel://…@a:26379,[::1]:26379/m/2",
      "redis+cluster://…@a:6379,b:6379",
      "unix://…@/run/r.sock",
    ]);
  });
});

describe("refused with a TypeError that says what was expected and no secret:", () => {
  test.each([
    ["an empty string", "", "redis://[[user]:password@]host[:port][/db], rediss://… for TLS, unix:///path, redis+sent"],
    ["no scheme", "secret:secret@host:6379", 'got "…@host:6379"'],
    ["another scheme", "https://secret:secret@host/", 'got "https://…@host/"'],
    ["no host", "redis://:secret", "each host as name"],
    ["a port that is a word", "redis://user:secret@host:secret", "each host as name"],
    ["a port out of bounds", "redis://host:65536", "each host as name"],
    ["an empty host in a list", "redis+cluster://a,,b", "each host as name"],
    ["several hosts of one server", "redis://a,b", "one host in a redis:// URL"],
    ["several URLs in one string", "redis://a redis://b", "one URL, without spaces"],
    ["a password that is not encoded", "redis://:sec/ret@host", "Percent-encode"],
    ["a broken encoding", "redis://:secret%@host", "two hexadecimal digits"],
    ["a user alone", "redis://secret@host", "user:password, or :password alone"],
    ["a database that is a word", "redis://host/locks", "the database as a whole number"],
    ["an unknown parameter", "redis://host?password=secret", "no parameters in this URL"],
    ["a misspelt parameter", "redis+sentinel://h/m?sentinelpassword=secret@x", "sentinelUsername and sentinelPassword"],
    ["a Sentinel's user alone", "redis+sentinel://h/m?sentinelUsername=u", "sentinelPassword with sentinelUsername"],
    ["Sentinels without a master", "redis+sentinel://a,b", "the master's name"],
    ["a Cluster with a database", "redis+cluster://a/1", "no database"],
    ["a fragment", "redis://host#secret@x", "the server as"],
    ["the same server twice", ["redis://a", "redis://b", "redis://A:6379/1"], "got the same as node 1 and node 3"],
    ["the same socket twice", ["/run/a", "unix:///run/a"], "got the same as node 1 and node 2"],
    ["a Sentinel as a node", ["redis://a", "redis+sentinel://:secret@b/m"], "to lead to one server"],
    ["a Cluster as a node", ["redis+cluster://b"], "to lead to one server"],
    ["a URL and a client", ["redis://a", {} as never], "URLs or clients in the array, not both"],
    ["an empty array", [], "an array of one client or more"],
    ["an empty string among URLs", ["redis://a", ""], "the server as"],
  ])("%s", (_, given, message) => {
    let error: unknown;
    try {
      void new LockManager(given).close();
    } catch (thrown) {
      error = thrown;
    }
    expectTypeError(error);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).not.toMatch(/secret|sec\/|ret@/);
  });
});

/** A server, and a client to look at it with. */
async function stage(options: ServerOptions = {}, login = ""): Promise<{ server: Server; redis: Redis }> {
  const server = await startServer(options);
  const redis = new Redis(server.url.replace("//", `//${login}`));
  redis.on("error", () => {}); // some tests end the server
  onTestFinished(async () => {
    redis.disconnect();
    await server.stop();
  });
  return { server, redis };
}

function manager(...args: ConstructorParameters<typeof LockManager>): LockManager {
  const locks = new LockManager(...args);
  onTestFinished(() => locks.close());
  return locks;
}

/** How many connections there are but the one that asks. */
async function others(redis: Redis): Promise<number> {
  const list = String(await redis.client("LIST")).trim();
  return list.split("\n").length - 1;
}

async function deserted(redis: Redis): Promise<void> {
  await until(async () => (await others(redis)) === 0, "nobody was connected");
}

const withLogin = ({ url }: Server, login: string): string => url.replace("//", `//${login}@`);

describe.each(LIBRARIES)("on a real server, with %s,", (library) => {
  test("a password alone is that of the default user", async () => {
    const { server } = await stage({ args: ["--requirepass", "p@/:ss"] }, ":p%40%2F%3Ass@");
    const locks = managerOn(library, withLogin(server, ":p%40%2F%3Ass"));
    expect(await locks.request(unique(), ({ held }) => held)).toBe(true);
  });

  test("user and password are those of the ACL", async () => {
    const { server, redis } = await stage();
    await redis.call("ACL", "SETUSER", "app", "on", ">pass word", "~*", "&*", "+@all");
    const { locks, name } = { locks: managerOn(library, withLogin(server, "app:pass%20word")), name: unique() };
    await locks.request(name, async () => {
      expect(String(await redis.client("LIST"))).toContain("user=app");
    });
  });

  test("locks are kept in the database that was asked for", async () => {
    const { server, redis } = await stage();
    const { locks, name } = { locks: managerOn(library, `${server.url}/3`), name: unique() };
    await redis.select(3);
    await locks.request(name, async () => {
      expect(await redis.exists(`lock:${name}`)).toBe(1);
    });
  });

  test("a socket leads there too", async () => {
    const { server, redis } = await stage();
    for (const url of [`unix://${server.socketPath}?db=2`, server.socketPath]) {
      const locks = managerOn(library, url);
      const held = await hold(locks, unique());
      expect(String(await redis.client("LIST"))).toContain(server.socketPath);
      await held.end();
    }
  });

  test("an array is Redlock over its servers", async () => {
    const nodes = await Promise.all([stage(), stage(), stage()]);
    const { locks, name } = {
      locks: managerOn(
        library,
        nodes.map(({ server }) => server.url),
      ),
      name: unique(),
    };
    await locks.request(name, async () => {
      const kept = await Promise.all(nodes.map(({ redis }) => redis.exists(`lock:${name}`)));
      expect(kept.filter(Boolean).length).toBeGreaterThanOrEqual(2);
    });
  });

  test("a server that is down is reported with the client's error, and found when it is up", async () => {
    const port = idlePort();
    const locks = managerOn(library, `redis://127.0.0.1:${port}`);
    const error = await rejection(locks.tryAcquire(unique()));
    expect(error).toMatchObject({ code: "unreachable", message: expect.stringContaining("ECONNREFUSED") });
    const server = await startServer({ port });
    onTestFinished(() => server.stop());
    expect(await locks.request(unique(), ({ held }) => held)).toBe(true);
    await locks.close();
  });

  test("a server that was restarted is found again", async () => {
    const { server } = await stage();
    const locks = managerOn(library, server.url);
    await locks.request(unique(), () => {});
    await server.restart();
    const again = async (): Promise<boolean> => locks.request(unique(), ({ held }) => held);
    expect(await until(again, "a lock could be had")).toBe(true);
  });

  test("Sentinels and a Cluster have clients of their kind, which are not connected before", () => {
    const sentinel = new Connections("redis+sentinel://127.0.0.1:1,127.0.0.1:2/m", library).client;
    const cluster = new Connections("redis+cluster://127.0.0.1:1,127.0.0.1:2", library).client;
    if (library === "redis") {
      expect(kindOfNodeRedis(sentinel)).toEqual({ name: "RedisSentinel", isOpen: false });
      expect(kindOfNodeRedis(cluster)).toEqual({ name: "RedisCluster", isOpen: false });
    } else {
      const addresses = [1, 2].map((port) => ({ host: "127.0.0.1", port }));
      expect(sentinel).toMatchObject({ status: "wait", options: { sentinels: addresses, failoverDetector: true } });
      expect(cluster).toMatchObject({ status: "wait", isCluster: true, startupNodes: addresses });
    }
  });
});

/** Its classes are made by factories; those of their parents say what they are. */
function kindOfNodeRedis(client: object): { name: string; isOpen: boolean } {
  const { name } = Object.getPrototypeOf(client.constructor) as { name: string };
  return { name, isOpen: (client as { isOpen: boolean }).isOpen };
}

describe("the connections of a manager", () => {
  test.each([{ scheme: undefined }, { scheme: "set" as const }])("are gone when it is closed (%o)", async (options) => {
    const { server, redis } = await stage();
    const locks = manager(server.url, options);
    const name = unique();
    const held = await hold(locks, name);
    const queued = enqueue(locks, name);
    if (!options.scheme) await waiting(locks, name, 1);
    await held.end();
    await queued.granted;
    expect(await others(redis)).toBeGreaterThan(0);
    await locks.close({ timeout: 0 });
    await deserted(redis);
  });

  test("are gone from every server when it is closed", async () => {
    const nodes = await Promise.all([stage(), stage(), stage()]);
    const locks = manager(nodes.map(({ server }) => server.url));
    await locks.request(unique(), () => {});
    for (const { redis } of nodes) expect(await others(redis)).toBeGreaterThan(0);
    await locks.close();
    for (const { redis } of nodes) await deserted(redis);
  });

  test("are gone also when it is closed at once", async () => {
    const { server, redis } = await stage();
    await manager(server.url).close();
    // Whatever was begun before this one has arrived by the time that this one is answered.
    const other = manager(server.url);
    await other.request(unique(), () => {});
    await other.close();
    await deserted(redis);
  });

  test("are never opened by a constructor that throws", async () => {
    const { server, redis } = await stage();
    const made = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await redis.info("stats"))?.[1]);
    const byOne = async (): Promise<number> => {
      const before = await made();
      await manager(server.url).request(unique(), () => {});
      return (await made()) - before;
    };
    const before = await made();
    const expected = await byOne();
    expect(() => new LockManager(server.url, { ttl: 1 })).toThrow(RangeError);
    expect(() => new LockManager(server.url, { scheme: "redlock" })).toThrow(TypeError);
    expect(() => new LockManager(server.url, { delayRestarted: true })).toThrow(TypeError);
    expect(() => new LockManager([server.url, server.url])).toThrow(TypeError);
    expect(() => new LockManager([server.url], { scheme: "lua" })).toThrow(TypeError);
    expect(() => new LockManager([server.url, "redis+cluster://127.0.0.1"])).toThrow(TypeError);
    // Whatever was begun before this one has arrived by the time that this one is answered.
    await byOne();
    expect((await made()) - before).toBe(2 * expected);
  });

  test("of a guard are gone when it is closed", async () => {
    const { server, redis } = await stage();
    const guard = new RedisFence(`${server.url}/1`);
    await guard.write({ fence: 1, token: "a:1" }, "SET", "key", "value");
    await redis.select(1);
    expect(await redis.get("key")).toBe("value");
    guard.close();
    await deserted(redis);
  });
});

describe("a process", () => {
  const project = new URL("..", import.meta.url).pathname;

  function run(script: string): Run {
    const source = `import { LockManager } from ${JSON.stringify(join(project, "dist/index.js"))};\n${script}`;
    return new Run(process.execPath, ["--input-type=module", "--eval", source], process.env);
  }

  /** A program in a folder of its own. @param holdfast where that is installed */
  async function runIn(folder: string, script: string, holdfast = folder): Promise<Run> {
    const file = join(folder, "program.mjs");
    const source = `import { LockManager } from ${JSON.stringify(join(holdfast, "dist/index.js"))};\n${script}`;
    await writeFile(file, source);
    return new Run(process.execPath, [file], process.env);
  }

  test("lives until its manager is closed, and ends then, without a word, though no server is there", async () => {
    const urls = Array.from({ length: 3 }, () => `redis://127.0.0.1:${idlePort()}`);
    const { code, stdout, stderr } = await run(`
      const locks = new LockManager(${JSON.stringify(urls)});
      process.once("SIGTERM", () => (console.log("closes"), locks.close()));
      process.once("beforeExit", () => console.log("nothing more to do"));
      setTimeout(() => process.kill(process.pid, "SIGTERM"), 700).unref();
    `).ended;
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "closes\nnothing more to do\n", stderr: "" });
  });

  /** What the code of an error is, and its message. */
  const attempt = `
    try { new LockManager("redis://127.0.0.1"); } catch ({ code, message }) { console.log(code, message); }
  `;

  test.each(LIBRARIES)("needs no other client library than %s", async (name) => {
    const { server } = await stage();
    const folder = await installBeside(onTestFinished, name);
    const script = `
      const locks = new LockManager(${JSON.stringify(server.url)});
      console.log(await locks.request("a", ({ held }) => held));
      await locks.close();
    `;
    expect(await (await runIn(folder, script)).ended).toMatchObject({ code: 0, stdout: "true\n", stderr: "" });
  });

  test("finds a client library that is installed beside it, with holdfast elsewhere", async () => {
    const { server } = await stage();
    const [program, holdfast] = [await installBeside(onTestFinished, "redis"), await installBeside(onTestFinished)];
    const script = `
      const locks = new LockManager(${JSON.stringify(server.url)});
      console.log(await locks.request("a", ({ held }) => held));
      await locks.close();
    `;
    expect(await (await runIn(program, script, holdfast)).ended).toMatchObject({ code: 0, stdout: "true\n" });
  });

  test("takes no client library from the folder that it happens to be started in", async () => {
    const [program, elsewhere] = [await installBeside(onTestFinished), await installBeside(onTestFinished, "redis")];
    await writeFile(join(program, "program.mjs"), `import { LockManager } from "./dist/index.js";\n${attempt}`);
    const start = ['cd "$0" && exec "$@"', elsewhere, process.execPath, join(program, "program.mjs")];
    expect((await new Run("sh", ["-c", ...start], process.env).ended).stdout).toMatch(/^no-client /);
  });

  test("without a client library says what to install", async () => {
    const { stdout } = await (await runIn(await installBeside(onTestFinished), attempt)).ended;
    expect(stdout).toMatch(
      /^no-client To connect to a URL, holdfast needs .* none is installed\. .*install ioredis \(.*#no-client\)\n$/,
    );
  });

  test("with a client library that does not load says so, and takes no other", async () => {
    const folder = await installBeside(onTestFinished, "redis");
    await mkdir(join(folder, "node_modules/ioredis"));
    await writeFile(join(folder, "node_modules/ioredis/index.js"), 'require("what-it-needs");');
    const { stdout } = await (await runIn(folder, attempt)).ended;
    expect(stdout).toMatch(/^no-client ioredis is installed, but could not be loaded: .*'what-it-needs'\. /);
  });
});
