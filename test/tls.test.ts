/** TLS, and clients that show a certificate: on every client library, for commands and for what is listened to. */
import { join } from "node:path";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startServer } from "../scripts/servers.ts";
import { startTls, type TlsServer } from "../scripts/topologies.ts";
import { LIBRARIES } from "../src/drivers/connect.ts";
import { LockManager, type RedisClient } from "../src/index.ts";
import { built, Run } from "./support/cli.ts";
import { hold, unique, waiting } from "./support/locks.ts";
import { until } from "./support/until.ts";

let server: TlsServer;
beforeAll(async () => {
  server = await startTls({ clientCertificates: true });
});
afterAll(() => server.stop());

const kinds: Record<string, () => Promise<{ client: RedisClient; end(): void }>> = {
  "ioredis 6": async () => {
    const { ca, cert, key } = server;
    const client = new Redis(server.url, { tls: { ca, cert, key } });
    return { client, end: () => client.disconnect() };
  },
  "ioredis 5": async () => {
    const { ca, cert, key } = server;
    const client = new Redis5(server.url, { tls: { ca, cert, key } });
    return { client: client as RedisClient, end: () => client.disconnect() };
  },
  "node-redis 6": async () => {
    const { ca, cert, key } = server;
    const client = createClient({ url: server.url, socket: { tls: true, ca, cert, key } });
    await client.connect();
    return { client, end: () => client.destroy() };
  },
};

test.for(Object.keys(kinds).flatMap((on) => (["lua", "set"] as const).map((scheme) => ({ on, scheme }))))(
  "a lock is taken, waited for, handed on and released over TLS with certificates ($scheme on $on)",
  async ({ on, scheme }, t) => {
    const connect = async (): Promise<LockManager> => {
      const { client, end } = await kinds[on]!();
      const locks = new LockManager(client, { scheme });
      t.onTestFinished(() => locks.close().finally(end));
      return locks;
    };
    const [a, b] = [await connect(), await connect()];
    const name = unique();
    const holder = await hold(a, name);
    const next = b.acquire(name);
    if (scheme === "lua") await waiting(a, name, 1);
    await holder.end();
    const lock = await next;
    await lock.extend();
    expect(lock.fence).toBeGreaterThan(holder.lock.fence);
    expect(await lock.release()).toBe(true);
  },
);

test("a URL leads over TLS to a Cluster, and to what Sentinels watch, with each library", async (t) => {
  const master = await startTls();
  t.onTestFinished(() => master.stop());
  const asOne = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--tls-cluster", "yes"];
  const node = await startTls({ args: asOne });
  t.onTestFinished(() => node.stop());
  const redis = new Redis(node.url, { tls: { ca: node.ca } });
  t.onTestFinished(() => redis.disconnect());
  // Redis 6 knows no ranges.
  await redis.call("CLUSTER", "ADDSLOTS", ...Array.from({ length: 16_384 }, (_, slot) => slot));
  await until(async () => (await redis.cluster("INFO")).includes("cluster_state:ok"), "the cluster was well");
  const file = (name: string): string => join(master.server.dir, name);
  const files = ["--tls-ca-cert-file", file("ca.crt"), "--tls-cert-file", file("server.crt")];
  const sentinel = await startServer({
    config: `sentinel monitor mymaster 127.0.0.1 ${master.server.port} 1\n`,
    args: ["--sentinel", "--tls-replication", "yes", ...files, "--tls-key-file", file("server.key")],
  });
  t.onTestFinished(() => sentinel.stop());
  const places = [
    { url: `rediss+sentinel://127.0.0.1:${sentinel.port}/mymaster`, dir: master.server.dir },
    { url: `rediss+cluster://127.0.0.1:${node.server.port}`, dir: node.server.dir },
  ];
  for (const library of LIBRARIES) {
    for (const { url, dir } of places) {
      const args = [built, "exec", "a", "--client", library, "--redis", url, "--", "echo", "ran"];
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(dir, "ca.crt") };
      const ended = await new Run(process.execPath, args, env).ended;
      expect(ended, `${library} at ${url}`).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
    }
  }
});
