/** What a client tells a TLS endpoint in front of several servers (SNI): the name of the host that it wants. */
import { connect } from "node:net";
import { join } from "node:path";
import { createServer } from "node:tls";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { startTls, type TlsServer } from "../../scripts/topologies.ts";
import { LIBRARIES } from "../../src/drivers/url/connect.ts";
import type { Library } from "../../src/drivers/url/connect.ts";
import { built, Run } from "../support/cli.ts";
import { until } from "../support/until.ts";

let certified: TlsServer;
beforeAll(async () => {
  certified = await startTls(); // for its certificates
});
afterAll(() => certified.stop());

interface Endpoint {
  readonly port: number;
  /** Of each connection: the name that was asked for, or false. */
  readonly names: (string | false)[];
}

/** Speaks TLS, and passes on what comes to the server that is set, which does not. */
async function startEndpoint(server: { current: Server | undefined }): Promise<Endpoint> {
  const names: Endpoint["names"] = [];
  const { cert, key } = certified;
  const endpoint = createServer({ cert, key }, (socket) => {
    names.push((socket as unknown as { servername: string | false }).servername);
    const inner = connect(server.current?.port as number, "127.0.0.1");
    for (const end of [socket, inner]) end.on("error", () => {}).on("close", () => (socket.destroy(), inner.destroy()));
    socket.pipe(inner).pipe(socket);
  });
  await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void endpoint.close());
  return { port: (endpoint.address() as { port: number }).port, names };
}

async function run(library: Library, url: string): Promise<void> {
  const args = [built, "exec", "a", "--client", library, "--redis", url, "--", "true"];
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(certified.server.dir, "ca.crt") };
  expect(await new Run(process.execPath, args, env).ended).toMatchObject({ code: 0, stderr: "" });
}

test.each(LIBRARIES)(
  "%s asks one server for the host of its URL, and for none if that is an address",
  async (library) => {
    const server = await startServer();
    onTestFinished(() => server.stop());
    const endpoint = await startEndpoint({ current: server });
    await run(library, `rediss://localhost:${endpoint.port}`);
    expect(new Set(endpoint.names.splice(0))).toEqual(new Set(["localhost"]));
    await run(library, `rediss://127.0.0.1:${endpoint.port}`);
    expect(new Set(endpoint.names)).toEqual(new Set([false]));
  },
);

test.each(LIBRARIES)("%s asks the nodes of a Cluster for the hosts that it announces", async (library) => {
  const server: { current: Server | undefined } = { current: undefined };
  const endpoint = await startEndpoint(server);
  const announced = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
  const args = ["--cluster-enabled", "yes", ...announced, "--cluster-announce-port", `${endpoint.port}`];
  const node = await startServer({ args });
  onTestFinished(() => node.stop());
  server.current = node;
  const redis = new Redis(node.url);
  onTestFinished(() => redis.disconnect());
  await redis.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
  await until(async () => (await redis.cluster("INFO")).includes("cluster_state:ok"), "the cluster was well");
  await run(library, `rediss+cluster://localhost:${endpoint.port}`);
  expect(new Set(endpoint.names)).toEqual(new Set(["localhost"]));
});

// node-redis has no place for a name that only its Sentinels know.
test.each(LIBRARIES.filter((library) => library !== "redis"))(
  "%s asks for the host that Sentinels name",
  async (library) => {
    const server = await startServer();
    onTestFinished(() => server.stop());
    const endpoint = await startEndpoint({ current: server });
    const sentinel = await startServer({
      config: `sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel monitor mymaster localhost ${endpoint.port} 1\n`,
      args: ["--sentinel"],
    });
    onTestFinished(() => sentinel.stop());
    await run(library, `rediss+sentinel://localhost:${sentinel.port}/mymaster`);
    expect(new Set(endpoint.names)).toEqual(new Set(["localhost"]));
  },
);
