/** What was sent has left when the driver says so: it arrives though the process is blocked from then on. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { createClient, createClientPool } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { startTls, type TlsServer } from "../scripts/topologies.ts";
import { driverFor } from "../src/drivers/index.ts";
import type { RedisClient } from "../src/index.ts";
import { expectWritten, type Reach } from "./support/arrived.ts";
import { openGlide } from "./support/glide.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

let server: Server;
let secure: TlsServer;
beforeAll(async () => {
  [server, secure] = await Promise.all([startServer(), startTls({ clientCertificates: true })]);
});
afterAll(() => Promise.all([server.stop(), secure.stop()]));

interface Opened {
  readonly client: RedisClient;
  end(): unknown;
}

const certificates = (): Required<Reach>["tls"] => ({ ca: secure.ca, cert: secure.cert, key: secure.key });

async function nodeRedis(settings: object): Promise<Opened> {
  const client = createClient(settings);
  await client.connect();
  return { client, end: () => client.destroy() };
}

function ioredis(client: Redis | Redis5 | Valkey): Opened {
  return { client, end: () => client.disconnect() };
}

const kinds: Record<string, () => Opened | Promise<Opened>> = {
  "ioredis 6": () => ioredis(new Redis(server.url)),
  "ioredis 5": () => ioredis(new Redis5(server.url)),
  iovalkey: () => ioredis(new Valkey(server.url)),
  "ioredis 6 with enableAutoPipelining": () => ioredis(new Redis(server.url, { enableAutoPipelining: true })),
  "iovalkey with enableAutoPipelining": () => ioredis(new Valkey(server.url, { enableAutoPipelining: true })),
  "node-redis 6": () => nodeRedis({ url: server.url }),
  "a pool of node-redis 6": async () => {
    const pool = createClientPool({ url: server.url });
    await pool.connect();
    return { client: pool, end: () => pool.destroy() };
  },
  glide: () => openGlide(server.url),
  "ioredis 6 over TLS": () => ioredis(new Redis(secure.url, { tls: certificates() })),
  "iovalkey over TLS": () => ioredis(new Valkey(secure.url, { tls: certificates() })),
  "node-redis 6 over TLS": () => nodeRedis({ url: secure.url, socket: { tls: true, ...certificates() } }),
};

test.for(Object.keys(kinds))("%s", { timeout: 30_000 }, async (kind, t) => {
  const { client, end } = await kinds[kind]!();
  const driver = driverFor(client);
  t.onTestFinished(() => {
    driver.close();
    void end();
  });
  await driver.send(["PING"]);
  const reach = kind.includes("TLS") ? { port: secure.server.port, tls: certificates() } : { port: server.port };
  await expectWritten(driver, () => reach);
});

test.for(["ioredis 6", "node-redis 6"] as const)(
  "nothing is written while the connection is down (%s)",
  async (on, t) => {
    const stage = await openStage(t);
    const proxy = await stage.proxy();
    const client =
      on === "ioredis 6"
        ? new Redis(proxy.url, { retryStrategy: () => 20 })
        : createClient({ url: proxy.url, socket: { reconnectStrategy: () => 20 } });
    client.on("error", () => {});
    if ("destroy" in client) await client.connect();
    t.onTestFinished(() => ("destroy" in client ? client.destroy() : client.disconnect()));
    const driver = driverFor(client);
    t.onTestFinished(() => driver.close());
    await driver.send(["PING"]);
    await proxy.refuse();
    await until(() => driver.drops > 0, "the connection was lost");
    let isWritten = false;
    const sent = driver.send(["SET", "later", "here"]);
    const written = driver.written("later").then(() => (isWritten = true));
    await until(() => driver.complaint !== undefined, "it had tried again");
    expect(isWritten).toBe(false);
    await proxy.heal();
    await written;
    // Not blocked meanwhile: this process is the proxy, too.
    await sent;
    expect(await stage.redis.get("later")).toBe("here");
  },
);
