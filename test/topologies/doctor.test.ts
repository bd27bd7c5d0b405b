/** The doctor behind Sentinels, and in a Cluster. */
import { expect, test } from "vitest";
import { type Server } from "../../scripts/servers.ts";
import { startCluster, startSentinels } from "../../scripts/topologies.ts";
import { CommandLine } from "../support/cli.ts";

interface Printed {
  readonly topology: string;
  readonly servers: readonly { readonly title: string }[];
  readonly findings: readonly { readonly check: string; readonly severity: string; readonly server: string }[];
  readonly passed: readonly string[];
}

async function diagnose(url: string, client: string): Promise<Printed> {
  const cli = new CommandLine();
  cli.open(url);
  try {
    const { stdout, stderr } = await cli.run(["doctor", "--json", "--redis", url, "--client", client]);
    expect(stderr).toBe("");
    return JSON.parse(stdout) as Printed;
  } finally {
    await cli.close();
  }
}

const hosts = (servers: readonly Server[]): string => servers.map(({ port }) => `127.0.0.1:${port}`).join(",");

test.each(["ioredis", "redis"])("behind Sentinels it examines the primary, by %s", async (client) => {
  await using sentinels = await startSentinels({ replicas: 1 });
  const url = `redis+sentinel://${hosts(sentinels.sentinels)}/mymaster`;
  const { topology, findings, passed } = await diagnose(url, client);
  expect(topology).toBe("sentinel");
  expect(findings).toContainEqual(expect.objectContaining({ check: "replication", severity: "warning" }));
  expect(passed).toEqual(expect.arrayContaining(["rights", "pushes", "latency", "clock"]));
});

test.each(["ioredis", "redis"])("in a Cluster it examines each server that keeps slots, by %s", async (client) => {
  await using cluster = await startCluster({ replicasEach: 0 });
  const [first] = cluster.servers as [Server];
  const { topology, servers, findings, passed } = await diagnose(`redis+cluster://${hosts([first])}`, client);
  expect(topology).toBe("cluster");
  expect(servers.map(({ title }) => title).toSorted()).toEqual(
    cluster.servers.map(({ port }) => `127.0.0.1:${port}`).toSorted(),
  );
  const alone = findings.filter(({ check }) => check === "replication").map(({ server }) => server);
  expect(alone.toSorted()).toEqual(servers.map(({ title }) => title).toSorted());
  expect(passed).toEqual(expect.arrayContaining(["rights", "pushes", "cluster", "clock"]));
});
