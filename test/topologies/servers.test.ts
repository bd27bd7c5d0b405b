import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { Place, Server } from "../../scripts/servers.ts";
import {
  type Cluster,
  type ClusterNode,
  startCluster,
  startReplicated,
  startSentinels,
  startTls,
  type TlsServer,
} from "../../scripts/topologies.ts";
import { until } from "../support/until.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

function client(port: number, options: object = {}): Redis {
  const redis = new Redis(port, "127.0.0.1", { retryStrategy: () => 20, maxRetriesPerRequest: null, ...options });
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

async function stops<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const topology = await starting;
  onTestFinished(() => topology.stop());
  return topology;
}

function expectGone(servers: readonly Pick<Server, "pid" | "dir">[]): void {
  expect(servers.filter(({ pid, dir }) => isAlive(pid) || existsSync(dir))).toEqual([]);
}

describe("a master with replicas", () => {
  test("has them in sync", async () => {
    const { master, replicas } = await stops(startReplicated(2));
    expect(replicas).toHaveLength(2);
    const redis = client(master.port);
    await redis.set("a", "1");
    expect(await redis.wait(2, 5_000)).toBe(2);
    for (const { port } of replicas) expect(await client(port).get("a")).toBe("1");
  });

  test("waits for what was written while a replica was frozen", async () => {
    const replicated = await stops(startReplicated(1));
    const [replica] = replicated.replicas as [Server];
    replica.freeze();
    await client(replicated.master.port).set("a", "1");
    const synced = replicated.inSync();
    replica.thaw();
    await synced;
    expect(await client(replica.port).get("a")).toBe("1");
  });
});

describe("Sentinels", () => {
  test("lead to the master, and by another name and number too", async () => {
    const sentinels = await stops(startSentinels({ replicas: 1, sentinels: 1, name: "locks" }));
    expect(sentinels.addresses).toHaveLength(1);
    const redis = client(0, { sentinels: sentinels.addresses, name: "locks" });
    await redis.set("a", "1");
    const master = await sentinels.master();
    expect(master).toBe(sentinels.members[0]);
    expect(await client(master.port).get("a")).toBe("1");
  });

  test("promote a replica when told to, and make the old master follow it", async () => {
    const sentinels = await stops(startSentinels());
    const before = await sentinels.master();
    const promoted = await sentinels.failover();
    expect(promoted).not.toBe(before);
    await client(promoted.port).set("a", "1");
    await sentinels.settle();
    expect(await sentinels.replicas()).toContain(before);
    const demoted = client(before.port);
    await until(async () => (await demoted.get("a")) === "1", "the old master had followed");
    await expect(demoted.set("a", "2")).rejects.toThrow("READONLY");
  });

  test("promote a replica when the master was killed", async () => {
    const sentinels = await stops(startSentinels());
    const before = await sentinels.master();
    await before.crash();
    const promoted = await sentinels.promoted(before);
    expect(await client(promoted.port).set("a", "1")).toBe("OK");
  });
});

describe("a cluster", () => {
  const firstSlot = (node: ClusterNode): number => node.slots[0]![0];

  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
    return () => cluster.stop();
  });

  /** The slot of a hash tag, who has it, another master, and clients of both. */
  async function around(tag: string) {
    const slot = await cluster.slotOf(tag);
    const from = await cluster.ownerOf(slot);
    const to = (await cluster.masters()).find(({ id }) => id !== from.id)!;
    return { slot, from, to, old: client(from.server.port), now: client(to.server.port) };
  }

  test("has each slot on one master, and a replica for each master", async () => {
    const nodes = await cluster.nodes();
    expect(nodes).toHaveLength(6);
    const masters = await cluster.masters();
    expect(masters).toHaveLength(3);
    const sizes = masters.flatMap(({ slots }) => slots.map(([from, to]) => to - from + 1));
    expect(sizes.reduce((sum, size) => sum + size)).toBe(16_384);
    for (const master of masters) {
      expect(await cluster.replicasOf(master)).toHaveLength(1);
      expect((await cluster.ownerOf(firstSlot(master))).id).toBe(master.id);
    }
    const redis = client(cluster.seeds[0]!.port);
    expect(await cluster.slotOf("{a}:b")).toBe(await redis.cluster("KEYSLOT", "a"));
  });

  test("moves a slot with its keys", async () => {
    const { slot, to, old, now } = await around("{a}");
    await old.set("{a}", "1", "PX", 60_000);
    await cluster.moveSlot(slot, to);
    expect((await cluster.ownerOf(slot)).id).toBe(to.id);
    await expect(old.get("{a}")).rejects.toThrow(`MOVED ${slot} 127.0.0.1:${to.server.port}`);
    expect(await now.get("{a}")).toBe("1");
    expect(await now.pttl("{a}")).toBeGreaterThan(0);
  });

  test("moves half a slot, so that some keys are asked for elsewhere, and the rest of it later", async () => {
    const { slot, to, old, now } = await around("{b}");
    await old.mset("{b}:stays", "1", "{b}:goes", "2");
    await cluster.moveSlot(slot, to, { halfWay: (key) => key.endsWith("goes") });
    expect(await old.get("{b}:stays")).toBe("1");
    await expect(old.get("{b}:goes")).rejects.toThrow(`ASK ${slot}`);
    await expect(old.mget("{b}:stays", "{b}:goes")).rejects.toThrow("TRYAGAIN");
    await cluster.moveSlot(slot, to, { halfWay: true });
    await expect(old.get("{b}:stays")).rejects.toThrow(`ASK ${slot}`);
    await cluster.moveSlot(slot, to);
    expect(await now.mget("{b}:stays", "{b}:goes")).toEqual(["1", "2"]);
  });

  test("promotes a replica when told to", async () => {
    const [master] = (await cluster.masters()) as [ClusterNode];
    const [replica] = (await cluster.replicasOf(master)) as [ClusterNode];
    await cluster.failover(replica);
    expect((await cluster.ownerOf(firstSlot(master))).id).toBe(replica.id);
    await cluster.settle();
    expect((await cluster.replicasOf(replica)).map(({ id }) => id)).toEqual([master.id]);
    await expect(cluster.failover({ ...replica, role: "master" })).rejects.toThrow("Expected a replica");
  });

  test("promotes a replica when its master was killed, and takes the master back as a replica", async () => {
    const [master] = (await cluster.masters()) as [ClusterNode];
    const [replica] = (await cluster.replicasOf(master)) as [ClusterNode];
    await master.server.crash();
    await cluster.promoted(replica);
    expect((await cluster.ownerOf(firstSlot(master))).id).toBe(replica.id);
    await master.server.start();
    await cluster.settle();
    expect((await cluster.replicasOf(replica)).map(({ id }) => id)).toEqual([master.id]);
  });

  test("may be as small as a single node", async () => {
    const small = await stops(startCluster({ masters: 1, replicasEach: 0 }));
    expect((await small.ownerOf(16_383)).slots).toEqual([[0, 16_383]]);
    await client(small.seeds[0]!.port).set("a", "1");
  });
});

describe("a server with TLS", () => {
  const trusting = ({ ca }: TlsServer): object => ({ tls: { ca } });

  test("is reached by a client that trusts its authority, and not without TLS", async () => {
    const tls = await stops(startTls());
    const redis = new Redis(tls.url, trusting(tls));
    onTestFinished(() => redis.disconnect());
    expect(await redis.ping()).toBe("PONG");
    await expect(refusalOf(tls.url, {})).resolves.toMatch(/self.signed certificate/);
    await expect(refusalOf(tls.url.replace("rediss", "redis"), {})).resolves.toBeTruthy();
  });

  test("may want its clients' certificates", async () => {
    const tls = await stops(startTls({ clientCertificates: true }));
    const { ca, cert, key } = tls;
    const redis = new Redis(tls.url, { tls: { ca, cert, key } });
    onTestFinished(() => redis.disconnect());
    expect(await redis.ping()).toBe("PONG");
    await expect(refusalOf(tls.url, trusting(tls))).resolves.toBeTruthy();
  });

  test("says so when the server was built without TLS", async () => {
    const dir = await mkdtemp(join(tmpdir(), "holdfast-test-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const binary = join(dir, "redis-server");
    // What Redis says of options that it was built without.
    const script = `#!/bin/sh
      case "$*" in
        --version) echo "Redis server v=7.0.15" ;;
        *) echo ">>> 'tls-port \\"1\\"'"; echo "Bad directive or wrong number of arguments"; exit 1 ;;
      esac\n`;
    await writeFile(binary, script);
    await chmod(binary, 0o755);
    await expect(startTls({ binary })).rejects.toThrow(`${binary} has no TLS built in.`);
  });

  /** Why a connection fails, once it has. */
  async function refusalOf(url: string, options: object): Promise<string> {
    const redis = new Redis(url, { lazyConnect: true, retryStrategy: () => null, ...options });
    let why: Error | undefined;
    redis.on("error", (error) => (why ??= error));
    onTestFinished(() => redis.disconnect());
    await redis.connect().then(
      () => redis.ping(),
      (error: Error) => (why ??= error),
    );
    return why ? why.message : "";
  }
});

describe("nothing is left", () => {
  test("of a topology that was stopped while a server of it was frozen and another had crashed", async () => {
    const cluster = await startCluster({ masters: 3, replicasEach: 0 });
    onTestFinished(() => cluster.stop());
    const seen = cluster.servers.map(({ pid, dir }) => ({ pid, dir }));
    cluster.servers[0]!.freeze();
    await cluster.servers[1]!.crash();
    await cluster.stop();
    await cluster.stop(); // a second time is harmless
    expectGone(seen);
  });

  test("of a topology of which one server cannot start", async () => {
    const places: Place[] = [];
    const args = (place: Place): string[] => {
      places.push(place);
      return places.length === 3 ? ["--no-such-option", "1"] : [];
    };
    await expect(startReplicated(2, { args })).rejects.toThrow("no-such-option");
    // A server whose port was taken by then is started once more.
    expect(places.length).toBeGreaterThanOrEqual(3);
    expect(places.filter(({ dir }) => existsSync(dir))).toEqual([]);
  });

  test("of a topology whose process was killed", async () => {
    const program = `
      import { startSentinels } from "./scripts/topologies/sentinels.ts";
      const { servers } = await startSentinels();
      process.stdout.write(JSON.stringify(servers.map(({ pid, dir }) => ({ pid, dir }))));
      setInterval(() => {}, 1_000);`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
      cwd: root,
      stdio: ["ignore", "pipe", "ignore"],
    });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    const seen = JSON.parse(output.toString()) as { pid: number; dir: string }[];
    expect(seen).toHaveLength(6);
    expect(seen.every(({ pid }) => isAlive(pid))).toBe(true);
    child.kill("SIGKILL");
    await until(() => seen.every(({ pid, dir }) => !isAlive(pid) && !existsSync(dir)), "all of it was gone");
  });
});
