/** The code of docs/choosing.md compiles, and finds its servers. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { type Cluster, type Sentinels, startCluster, startSentinels } from "../scripts/topologies.ts";
import { UpstashServer } from "./support/upstash.ts";
import { compile } from "./support/programs.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let server: Server;
let sentinels: Sentinels;
let cluster: Cluster;
let upstash: UpstashServer;

beforeAll(async () => {
  [server, sentinels, cluster] = await Promise.all([
    startServer(),
    startSentinels({ replicas: 1, sentinels: 1 }),
    startCluster({ replicasEach: 0 }),
  ]);
  upstash = await UpstashServer.start(server.url);
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "choosing-"));
  writeFileSync(join(folder, "choosing.ts"), program());
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", include: ["choosing.ts"] }),
  );
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await upstash.stop();
  await Promise.all([server, sentinels, cluster].map((each) => each.stop()));
});

/** What the page takes for granted, its code with addresses of here, and a lock from each of its managers. */
function program(): string {
  const blocks = [...readFileSync(join(root, "docs/choosing.md"), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)];
  expect(blocks).toHaveLength(3);
  const code = blocks.map(([, block]) => block).join("\n");
  return `
    import { LockManager } from "holdfast";
    import { Cluster, Redis } from "ioredis";
    import { Redis as Upstash } from "@upstash/redis";
    import { createCluster, createSentinel } from "redis";
    const sentinels = ${JSON.stringify(sentinels.addresses)};
    const seeds = ${JSON.stringify(cluster.seeds)};
    const [a, b, c, d, e] = Array.from({ length: 5 }, () => new Redis({ lazyConnect: true })) as
      [Redis, Redis, Redis, Redis, Redis];
    const { url, token } = ${JSON.stringify({ url: upstash.url, token: upstash.token })};
    const managers: LockManager[] = [];
    ${code
      .replace("redis://one", server.url)
      .replace(/^import .*upstash.*$/m, "")
      .replace("new Redis({ url, token })", "new Upstash({ url, token })")
      .replaceAll(/^new LockManager\((.*)\);/gm, "managers.push(new LockManager($1));")}
    // The five are nobody; the others say whether their lock was held.
    for (const locks of managers.filter((_, i) => i !== 3)) {
      console.log(await locks.request("a", ({ held }) => held));
    }
    process.exit();
  `;
}

test("the code compiles", async () => {
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]);
  expect(stdout).toBe("");
});

test("each of its clients has the manager take a lock", async () => {
  const { stdout } = await run(process.execPath, [await compile(join(folder, "choosing.ts"))], { cwd: root });
  expect(stdout.trim().split("\n")).toEqual(Array.from({ length: 6 }, () => "true"));
});
