/** TLS to servers that belong together, for those who give a URL. */
import { join } from "node:path";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { startTls } from "../../scripts/topologies.ts";
import { LIBRARIES } from "../../src/drivers/url/connect.ts";
import { built, Run } from "../support/cli.ts";
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
