/** The package as it is published, on other runtimes than the one that runs the tests: npm run test:runtimes. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Server, startServer } from "../../scripts/servers.ts";
import { LockManager } from "../../src/index.ts";
import { viewWhere } from "../support/dashboards.ts";
import { hold } from "../support/locks.ts";
import { until } from "../support/until.ts";
import { UpstashServer } from "../support/upstash.ts";
import { WORKER_ANSWER, workerProgram } from "../support/worker.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));
const SLOW = 120_000;

let server: Server;
let rest: UpstashServer;
let folder: string;
let app: string;

beforeAll(async () => {
  server = await startServer();
  rest = await UpstashServer.start(server.url);
  folder = await mkdtemp(join(tmpdir(), "holdfast-runtimes-"));
  app = join(folder, "app");
  await cp(join(here, "app"), app, { recursive: true });
  await run("npm", ["pack", "--pack-destination", folder], { cwd: root });
  const [tarball = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  await run("npm", ["install", "--no-audit", "--no-fund", join(folder, tarball)], { cwd: app });
}, SLOW);
afterAll(async () => {
  await rest.stop();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

const RUNTIMES = {
  "Node 20": [process.execPath],
  "Node 22": [join(here, "node_modules/node22/bin/node")],
  "Node 24": [join(here, "node_modules/node24/bin/node")],
  "Node 26": [join(here, "node_modules/node26/bin/node")],
  Bun: [join(here, "node_modules/.bin/bun")],
  Deno: [join(here, "node_modules/.bin/deno"), "run", "--allow-all", "--quiet"],
} as const;

async function runs(runtime: keyof typeof RUNTIMES, ...args: string[]): Promise<string> {
  const [file, ...before] = RUNTIMES[runtime];
  const env = { ...process.env, NODE_OPTIONS: "", REDIS_URL: server.url, REST_URL: rest.url, REST_TOKEN: rest.token };
  const { stdout, stderr } = await run(file, [...before, ...args], { cwd: app, env, timeout: 30_000 });
  expect(stderr).toBe("");
  return stdout.trim();
}

describe.each(Object.keys(RUNTIMES) as (keyof typeof RUNTIMES)[])("on %s", (runtime) => {
  test.each(["ioredis", "redis", "upstash", "url", "memory"])(
    "locks work as promised with %s",
    { timeout: SLOW },
    async (on) => {
      expect(await runs(runtime, "use.mjs", on)).toBe("ok");
    },
  );

  test("require gives the same classes as import, if the runtime can", { timeout: SLOW }, async () => {
    expect(await runs(runtime, "require.cjs")).toMatch(/^function (true|false)$/);
  });

  test.runIf(["Node 24", "Node 26", "Bun", "Deno"].includes(runtime))(
    "await using releases, as JavaScript",
    { timeout: SLOW },
    async () => {
      await writeFile(
        join(app, "using.mjs"),
        `import { LockManager } from "holdfast";
         const locks = new LockManager(process.env.REDIS_URL);
         {
           await using lock = await locks.acquire("using");
           if (!lock.held) throw new Error("It is not held.");
         }
         console.log((await locks.query({ name: "using" })).held.length);
         await locks.close();`,
      );
      expect(await runs(runtime, "using.mjs")).toBe("0");
    },
  );

  test("the command runs another under a lock", { timeout: SLOW }, async () => {
    const main = join(app, "node_modules/holdfast/dist/cli/main.js");
    expect(await runs(runtime, main, "exec", "x", "--quiet", "--", "sh", "-c", "echo $HOLDFAST_LOCK")).toBe("x");
  });
});

describe("on Bun", () => {
  test("locks work as promised with its own client", { timeout: SLOW }, async () => {
    expect(await runs("Bun", "use.mjs", "bun")).toBe("ok");
  });

  test("its own client passes what every client has to: conformance, and faults", { timeout: SLOW }, async () => {
    const [bun] = RUNTIMES.Bun;
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const files = ["conformance", "fence", "faults/connections", "faults/leases", "faults/waiters", "faults/errors"];
    const paths = [...files, "faults/cleanup", "drop-ins/clients"].map((file) => `test/${file}.test.ts`);
    const args = ["--bun", vitest, "run", ...paths, "-t", "bun", "--reporter=json"];
    // Also what npm test leaves out because of its time.
    const env = { ...process.env, NODE_OPTIONS: "", HOLDFAST_LONG: "1" };
    const { stdout } = await run(bun, args, { cwd: root, env, maxBuffer: 2 ** 26 }).catch((error) => error);
    const { numPassedTests, testResults } = JSON.parse(stdout.slice(stdout.indexOf("{"))) as {
      numPassedTests: number;
      testResults: { assertionResults: { fullName: string; status: string }[] }[];
    };
    const failed = testResults.flatMap((each) => each.assertionResults).filter(({ status }) => status === "failed");
    expect(failed.map(({ fullName }) => fullName)).toEqual([]);
    expect(numPassedTests).toBeGreaterThan(110);
  });
});

describe.each(["Bun", "Deno"] as const)("on %s", (runtime) => {
  test("its own server serves the dashboard", { timeout: SLOW }, async (t) => {
    const [file, ...before] = RUNTIMES[runtime];
    const env = { ...process.env, NODE_OPTIONS: "", REDIS_URL: server.url };
    const child = spawn(file, [...before, "dashboard.mjs"], { cwd: app, env, stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(child, "exit");
    const locks = new LockManager(server.url, { label: "the holder" });
    t.onTestFinished(async () => {
      child.kill("SIGKILL");
      await Promise.all([exited, locks.close()]);
    });
    const [port] = (await once(createInterface(child.stdout), "line")) as [string];
    const url = `http://127.0.0.1:${port}`;
    const held = await hold(locks, `dashboard of ${runtime}`);
    const page = await fetch(`${url}/locks/`);
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    const view = await viewWhere(await fetch(`${url}/locks/events`), ({ rows }) =>
      rows.some(({ name }) => name === `dashboard of ${runtime}`),
    );
    expect(view.failure).toBeNull();
    const answer = await fetch(`${url}/locks/release`, {
      method: "POST",
      headers: { "content-type": "application/json", origin: url },
      body: JSON.stringify({ name: `dashboard of ${runtime}`, tokens: [held.lock.token] }),
    });
    expect(await answer.json()).toEqual({ freed: ["the holder"] });
    await until(() => !held.lock.held, "the holder was told");
    await held.end();
  });
});

test("on workerd, which Cloudflare runs, locks work over HTTP", { timeout: SLOW }, async () => {
  const { Miniflare } = (await import(join(here, "node_modules/miniflare/dist/src/index.js"))) as {
    Miniflare: new (options: object) => { dispatchFetch(url: string): Promise<Response>; dispose(): Promise<void> };
  };
  const worker = new Miniflare({
    modules: true,
    script: await workerProgram("esm"),
    compatibilityDate: "2026-01-01",
    bindings: { url: rest.url, token: rest.token },
  });
  try {
    const response = await worker.dispatchFetch("http://worker");
    const text = await response.text();
    expect(text.slice(0, 1), text).toBe("{");
    expect(JSON.parse(text)).toMatchObject(WORKER_ANSWER);
  } finally {
    await worker.dispose();
  }
});
