/** TLS to servers that belong together, for those who give a URL. */
import { join } from "node:path";
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { startTls } from "../../scripts/topologies.ts";
import { LIBRARIES } from "../../src/drivers/url/connect.ts";
import { LockManager } from "../../src/index.ts";
import { built, Run } from "../support/cli.ts";
import { enqueue, hold, unique, waiting } from "../support/locks.ts";
import { until } from "../support/until.ts";

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

test.for(["ioredis 6", "ioredis 5"])(
  "behind Sentinels that name the server by its host name, pushes come over TLS too (%s)",
  async (on, t) => {
    const master = await startTls({ byNameOnly: true });
    t.onTestFinished(() => master.stop());
    const file = (name: string): string => join(master.server.dir, name);
    const files = ["--tls-ca-cert-file", file("ca.crt"), "--tls-cert-file", file("server.crt")];
    const names = "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n";
    const sentinel = await startServer({
      config: `${names}sentinel monitor mymaster localhost ${master.server.port} 1\n`,
      args: ["--sentinel", "--tls-replication", "yes", ...files, "--tls-key-file", file("server.key")],
    });
    t.onTestFinished(() => sentinel.stop());
    const settings = {
      sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
      name: "mymaster",
      enableTLSForSentinelMode: true,
      tls: { ca: master.ca },
    };
    const client = on === "ioredis 6" ? new Redis(settings) : new Redis5(settings);
    const locks = new LockManager(client);
    t.onTestFinished(() => locks.close().finally(() => client.disconnect()));
    const name = unique();
    const holder = await hold(locks, name);
    const waiter = enqueue(locks, name);
    await waiting(locks, name, 1);
    const look = new Redis({ host: "localhost", port: master.server.port, tls: { ca: master.ca } });
    t.onTestFinished(() => look.disconnect());
    // The Sentinel listens, too, to a channel of its own.
    await until(async () => (await look.pubsub("CHANNELS", "lock:*")).length > 0, "the manager listened");
    await holder.end();
    await waiter.granted;
    await waiter.end();
  },
);
