/** The routes that the documentation shows, in an application on Next that is built for production and started. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Server, startServer } from "../../scripts/servers.ts";
import { LockManager } from "../../src/index.ts";
import { viewWhere } from "../support/dashboards.ts";
import { hold } from "../support/locks.ts";
import { Packed } from "../support/packed.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
/** The network, and a build on a processor that has other work. */
const SLOW = 240_000;

let server: Server;
let packed: Packed;
let locks: LockManager;
let app: string;
let env: NodeJS.ProcessEnv;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startServer();
  packed = await Packed.make();
  locks = new LockManager(server.url, { label: "another machine" });
  app = await packed.installIn(fileURLToPath(new URL("shop", import.meta.url)), "shop");
  // Next warns of a build without a cache if it sees a CI.
  env = { ...process.env, CI: undefined, NODE_OPTIONS: "", NEXT_TELEMETRY_DISABLED: "1", REDIS_URL: server.url };
  for (const page of ["frameworks.md", "dashboard.md"]) {
    const text = await readFile(join(docs, page), "utf8");
    for (const [, name = "", code = ""] of text.matchAll(/^```ts\n\/\/ (app\/\S+\.ts)\n([^]*?)^```$/gm)) {
      await mkdir(dirname(join(app, name)), { recursive: true });
      await writeFile(join(app, name), code);
    }
  }
}, SLOW);
afterAll(async () => {
  for (const end of ends) await end();
  await locks?.close();
  await packed?.remove();
  await server?.stop();
});

const next = (...args: string[]): string[] => [join(app, "node_modules/next/dist/bin/next"), ...args];

test("it is built without a warning", { timeout: SLOW }, async () => {
  const { stdout, stderr } = await run(process.execPath, next("build"), { cwd: app, env });
  expect(stderr).not.toMatch(/warn|⚠|error/i);
  expect(stdout).not.toMatch(/warn|⚠|error/i);
  expect(stdout).toContain("/invoices/[id]/pay");
  expect(stdout).toContain("/locks/[[...path]]");
});

test("its routes lock, refuse and show the locks", { timeout: SLOW }, async () => {
  const port = await freePort();
  const shop = spawn(process.execPath, next("start", "--port", String(port), "--hostname", "127.0.0.1"), {
    cwd: app,
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exited = once(shop, "exit");
  ends.push(() => {
    shop.kill("SIGTERM");
    return exited;
  });
  const url = `http://127.0.0.1:${port}`;
  const pay = (): Promise<Response> => fetch(`${url}/invoices/42/pay`, { method: "POST" });
  const paid = await until(() => pay(), "it answered", 30_000);
  expect(paid.status).toBe(200);
  expect(await paid.json()).toEqual({ paid: "42", fence: expect.any(Number) as number });

  const held = await hold(locks, "invoice:42", { label: "the holder" });
  expect((await pay()).status).toBe(409);

  const page = await fetch(`${url}/locks`);
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  const view = await viewWhere(await fetch(`${url}/locks/events`), ({ rows }) =>
    rows.some((row) => row.name === "invoice:42"),
  );
  expect(view.failure).toBeNull();
  const release = (tokens: string[]): Promise<Response> =>
    fetch(`${url}/locks/release`, {
      method: "POST",
      headers: { "content-type": "application/json", origin: url },
      body: JSON.stringify({ name: "invoice:42", tokens }),
    });
  expect((await release([held.lock.token])).status).toBe(403);
  expect(held.lock.held).toBe(true);
  await held.end();
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
