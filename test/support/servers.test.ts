import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Server, startServer } from "../../scripts/servers.ts";
import { type Proxy, reset, startProxy } from "./proxy.ts";
import { until } from "./until.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

function client(port: number): Redis {
  const redis = new Redis(port, "127.0.0.1", { retryStrategy: () => 10, maxRetriesPerRequest: null });
  redis.on("error", () => {}); // these tests break connections on purpose
  onTestFinished(() => redis.disconnect());
  return redis;
}

/** Signal 0 also finds a process that ended and was not waited for; of those, Linux says Z. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(existsSync("/proc") ? readFileSync(`/proc/${pid}/status`, "utf8") : "");
  } catch {
    return false;
  }
}

describe("a server", () => {
  test("leaves neither a process nor a folder when it is stopped", async () => {
    const server = await startServer();
    expect(await client(server.port).ping()).toBe("PONG");
    expect(existsSync(server.dir)).toBe(true);
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(existsSync(server.dir)).toBe(false);
    await server.stop(); // a second time is harmless
  });

  test("is stopped also when it is frozen", async () => {
    const server = await startServer();
    server.freeze();
    await server.stop();
    expect(isAlive(server.pid)).toBe(false);
    expect(existsSync(server.dir)).toBe(false);
  });

  test("answers nothing while frozen and goes on when thawed", async () => {
    await using server = await startServer();
    const redis = client(server.port);
    await redis.ping();
    server.freeze();
    let answered = false;
    const reply = redis.set("a", "1").then(() => (answered = true));
    await expect(until(() => answered, "a frozen server answered", 200)).rejects.toThrow("a frozen server answered");
    server.thaw();
    await reply;
  });

  test("restarts without its memory and on its port", async () => {
    await using server = await startServer();
    const redis = client(server.port);
    await redis.set("a", "1");
    const { pid, port } = server;
    await server.restart();
    expect(server.port).toBe(port);
    expect(server.pid).not.toBe(pid);
    expect(isAlive(pid)).toBe(false);
    expect(await redis.get("a")).toBe(null);
  });

  test("restarts after it was killed or frozen", async () => {
    await using server = await startServer();
    server.kill("SIGKILL");
    await server.restart();
    server.freeze();
    await server.restart();
    expect(await client(server.port).ping()).toBe("PONG");
  });

  test("allows DEBUG, and takes arguments that win over the usual ones", async () => {
    await using server = await startServer({ args: ["--maxmemory", "7mb", "--appendonly", "yes"] });
    const redis = client(server.port);
    expect(await redis.call("DEBUG", "SLEEP", "0")).toBe("OK");
    expect(await redis.config("GET", "maxmemory")).toEqual(["maxmemory", `${7 * 1024 * 1024}`]);
    expect(await redis.config("GET", "appendonly")).toEqual(["appendonly", "yes"]);
  });

  test("says so when the wanted port is taken, and what the server said about a bad argument", async () => {
    await using server = await startServer();
    await expect(startServer({ port: server.port })).rejects.toThrow(`Port ${server.port} of 127.0.0.1 is in use.`);
    await expect(startServer({ args: ["--no-such-option", "1"] })).rejects.toThrow("no-such-option");
  });

  test.for(["SIGTERM", "SIGINT", "SIGKILL", "exit", "throw"])("goes when its process ends by %s", async (way) => {
    const program = `
      import { startServer } from "./scripts/servers.ts";
      const server = await startServer();
      server.freeze();
      process.stdout.write(JSON.stringify({ pid: server.pid, dir: server.dir }));
      process.stdin.once("data", (way) => {
        if (\`\${way}\` === "exit") process.exit(0);
        throw new Error("on purpose");
      });`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
      cwd: root,
      stdio: ["pipe", "pipe", "ignore"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    const { pid, dir } = JSON.parse(output.toString()) as { pid: number; dir: string };
    expect(isAlive(pid)).toBe(true);
    if (way.startsWith("SIG")) child.kill(way as NodeJS.Signals);
    else child.stdin.write(way);
    await until(() => !isAlive(pid) && !existsSync(dir), `the server left by ${way} was gone`);
  });
});

describe("the proxy", () => {
  async function behindProxy(): Promise<{ server: Server; proxy: Proxy; direct: Redis; proxied: Redis }> {
    const server = await startServer();
    onTestFinished(() => server.stop());
    const proxy = await startProxy(server.port);
    onTestFinished(() => proxy.close());
    const direct = client(server.port);
    const proxied = client(proxy.port);
    expect(await proxied.ping()).toBe("PONG");
    return { server, proxy, direct, proxied };
  }

  test("drops replies of commands that have run, and resets such a connection when healed", async () => {
    const { proxy, direct, proxied } = await behindProxy();
    proxy.dropReplies();
    const reply = proxied.incr("n"); // ioredis sends it again on the next connection, since it never saw a reply
    await until(() => direct.get("n"), "the command had run behind the proxy");
    await until(() => proxy.swallowed > 0, "the proxy had swallowed the reply");
    await proxy.heal();
    expect(await reply).toBe(2);
  });

  test("black hole: nothing runs, nothing is told, and new connections are taken", async () => {
    const { proxy, direct, proxied } = await behindProxy();
    proxy.blackHole();
    const reply = proxied.incr("n");
    await until(() => proxy.swallowed > 0, "the proxy had swallowed the command");
    const late = client(proxy.port);
    await until(() => late.status === "connect" && proxy.connections === 2, "the black hole had taken a connection");
    expect(await direct.get("n")).toBe(null);
    await proxy.heal();
    expect(await reply).toBe(1);
    expect(await late.ping()).toBe("PONG");
  });

  test("black hole: the server does not learn that the client is gone until it heals", async () => {
    const { proxy, direct, proxied } = await behindProxy();
    await proxied.subscribe("news");
    proxy.blackHole();
    proxied.disconnect();
    await until(() => proxy.swallowed > 0, "the proxy had swallowed the end of the connection");
    expect(await direct.pubsub("NUMSUB", "news")).toEqual(["news", 1]);
    await proxy.heal();
    await until(async () => (await direct.pubsub("NUMSUB", "news"))[1] === 0, "the server saw the client go");
  });

  test("a reset closes a socket also while its end is being sent", async () => {
    const { server } = await behindProxy();
    const socket = connect(server.port, "127.0.0.1");
    const errors: Error[] = [];
    socket.on("error", (error) => errors.push(error));
    await once(socket, "connect");
    socket.end();
    reset(socket);
    await once(socket, "close");
    expect(errors).toEqual([]);
  });

  test("delays in both directions, and keeps the order when the delay ends", async () => {
    const { proxy, proxied } = await behindProxy();
    proxy.delay(30);
    const started = performance.now();
    await proxied.ping();
    expect(performance.now() - started).toBeGreaterThanOrEqual(59);
    const slow = proxied.rpush("list", "slow");
    await new Promise((resolve) => setImmediate(resolve));
    proxy.delay(0);
    const fast = proxied.rpush("list", "fast");
    expect(await Promise.all([slow, fast])).toEqual([1, 2]);
    expect(await proxied.lrange("list", 0, -1)).toEqual(["slow", "fast"]);
  });

  test("refuses, resets and heals on the same port", async () => {
    const { proxy, proxied } = await behindProxy();
    const closes: string[] = [];
    proxied.on("close", () => closes.push("closed"));
    proxy.reset();
    await until(() => closes.length === 1, "the client saw the reset");
    expect(await proxied.ping()).toBe("PONG");
    await proxy.refuse();
    await until(() => closes.length >= 4, "the client was refused twice");
    expect(proxy.connections).toBe(0);
    await proxy.heal();
    expect(await proxied.ping()).toBe("PONG");
  });

  test("passes much data unharmed, with a delay too, and closes both ends when one closes", async () => {
    const { proxy, direct, proxied } = await behindProxy();
    proxy.delay(5);
    const value = Buffer.alloc(8 * 1024 * 1024, "holdfast");
    await proxied.set("big", value);
    expect(value.equals((await proxied.getBuffer("big"))!)).toBe(true);
    await proxied.quit();
    await until(() => proxy.connections === 0, "the proxy let both ends go");
    await until(async () => !/id=.*id=/s.test(String(await direct.client("LIST"))), "the server saw the client go");
  });

  test("resets a client whose server crashed", async () => {
    const { server, proxied } = await behindProxy();
    const closed = once(proxied, "close");
    await server.restart();
    await closed;
    expect(await proxied.ping()).toBe("PONG");
  });
});

describe("until", () => {
  test("returns what the condition gave, and names what it waited for when it fails", async () => {
    let asked = 0;
    expect(await until(() => (++asked === 3 ? "third" : ""), "asked thrice")).toBe("third");
    await expect(until(() => false, "pigs flew", 20)).rejects.toThrow(
      "Waited 20 ms until pigs flew; it did not happen.",
    );
    await expect(until(() => new Promise(() => {}), "it answered", 20)).rejects.toThrow("until it answered");
    const failure = new Error("not yet");
    const failing = until(() => Promise.reject(failure), "it worked", 20);
    await expect(failing).rejects.toMatchObject({ cause: failure });
  });
});
