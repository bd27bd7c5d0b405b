/** The recipes of docs/frameworks.md compile, and each does what it says, as two processes that run at the same time. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { compile } from "../support/programs.ts";
import { startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const SLOW = 60_000;

let folder: string;
let server: Server;
let postgres: PGLiteSocketServer;
let database: PGlite;

/** Those that begin with the name of their file. */
const recipes = [
  ...readFileSync(join(root, "docs/frameworks.md"), "utf8").matchAll(/^```ts\n\/\/ (\S+\.ts)\n([^]*?)^```$/gm),
];

const USE = `
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { Queue } from "bullmq";
import { LockManager } from "holdfast";
import * as fastify from "./fastify.ts";
import * as express from "./express.ts";
import * as hono from "./hono.ts";
import * as next from "./app/invoices/[id]/pay/route.ts";
import * as bullmq from "./bullmq.ts";
import * as croner from "./croner.ts";
import * as cron from "./cron.ts";
import * as nodeCron from "./node-cron.ts";
import * as pgBoss from "./pg-boss.ts";

const other = new LockManager(process.env["REDIS_URL"] as string, { label: "another machine" });
const say = (what: string, value: unknown): void => console.log(what + ": " + JSON.stringify(value));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function pays(name: string, pay: (path: string) => Promise<Response>): Promise<void> {
  const path = "/invoices/" + name + "/pay";
  const paid = await pay(path);
  const { paid: id, fence } = (await paid.json()) as { paid: string; fence: number };
  say(name, [paid.status, id, fence > 0]);
  const held = await other.acquire("invoice:" + name);
  say(name, (await pay(path)).status);
  await held.release();
}

await fastify.app.ready();
const server = createServer(express.app).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = "http://127.0.0.1:" + (server.address() as AddressInfo).port;
await Promise.all([
  pays("fastify", async (path) => {
    const { statusCode, body } = await fastify.app.inject({ method: "POST", url: path });
    return new Response(body, { status: statusCode });
  }),
  pays("express", (path) => fetch(url + path, { method: "POST" })),
  pays("hono", async (path) => hono.app.request(path, { method: "POST" })),
  pays("next", (path) => {
    const params = Promise.resolve({ id: path.split("/")[2] as string });
    return next.POST(new Request("http://localhost/", { method: "POST" }), { params });
  }),
]);
const held = await other.acquire("invoice:42");
const client = request(url + "/invoices/42/pay", { method: "POST" }).on("error", () => {});
client.end();
const waiting = async () => (await other.query({ name: "invoice:42" })).pending.length;
while ((await waiting()) === 0) await sleep(5);
client.destroy();
while ((await waiting()) > 0) await sleep(5);
say("express, whose client has gone, waits", await waiting());
await held.release();
const connection = bullmq.connection.duplicate();
const queue = new Queue<{ customer: string }>("invoices", { connection });
const customer = await other.acquire("customer:7");
const done: string[] = [];
bullmq.worker.on("completed", ({ data }) => void done.push(data.customer));
await queue.add("pay", { customer: "7" });
await queue.add("pay", { customer: "8" });
while (done.length < 1) await sleep(5);
await customer.release();
while (done.length < 2) await sleep(5);
say("bullmq", done);

const customer9 = await other.acquire("customer:9");
const ids = [await pgBoss.boss.send("invoices", { customer: "9" }), await pgBoss.boss.send("invoices", { customer: "10" })];
const jobs = async () => Promise.all(ids.map((id) => pgBoss.boss.getJobById("invoices", id as string)));
const states = async () => (await jobs()).map((job) => job?.state);
while ((await states()).join() !== "retry,completed") await sleep(50);
await customer9.release();
while ((await states()).join() !== "completed,completed") await sleep(50);
say("pg-boss", (await jobs()).map((job) => Number((job?.output as { fence: number }).fence) > 0));

await croner.job.trigger();
await croner.job.trigger();
await other.once("cron-report", { atMost: 60_000, atLeast: 60_000 }, () => {});
await cron.job.fireOnTick();
const fences = async () => (await other.query({ match: "cron:*" })).held.length;
while ((await fences()) === 0) await sleep(20);

croner.job.stop();
await cron.job.stop();
await nodeCron.task.destroy();
await bullmq.worker.close();
await queue.close();
await pgBoss.boss.stop({ graceful: false });
await fastify.app.close();
bullmq.connection.disconnect();
connection.disconnect();
const { locks } = globalThis as unknown as { locks: LockManager };
for (const each of [express.locks, hono.locks, locks, bullmq.locks, croner.locks, cron.locks, nodeCron.locks, pgBoss.locks, other]) await each.close();
server.closeAllConnections();
server.close();
`;

beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "recipes-"));
  for (const [, name = "", code = ""] of recipes) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), code);
  }
  writeFileSync(join(folder, "use.ts"), USE);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["."] }));
  server = await startServer();
  database = await PGlite.create();
  postgres = new PGLiteSocketServer({ db: database, port: 0, host: "127.0.0.1", maxConnections: 20 });
  await postgres.start();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server?.stop();
  await postgres?.stop();
  await database?.close();
});

test("they compile", { timeout: SLOW }, async () => {
  expect(recipes.map(([, name]) => name)).toHaveLength(9);
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await run(process.execPath, [tsc, "-p", folder]).catch((error) => error);
  expect(stdout).toBe("");
});

test("they hold, refuse, wait and skip as they say, and end", { timeout: SLOW }, async () => {
  const env = {
    ...process.env,
    REDIS_URL: server.url,
    DATABASE_URL: `postgres://postgres@${postgres.getServerConn()}/postgres`,
  };
  const program = [await compile(join(folder, "use.ts"))];
  const { stdout, stderr } = await run(process.execPath, program, { cwd: root, env, timeout: SLOW / 2 });
  expect(stderr).toBe("");
  for (const name of ["fastify", "express", "hono", "next"]) expect(stdout).toContain(`${name}: [200,"${name}",true]`);
  for (const name of ["express", "hono", "next"]) expect(stdout).toContain(`${name}: 409`);
  expect(stdout).toContain("fastify: 500");
  expect(stdout).toContain("express, whose client has gone, waits: 0");
  expect(stdout).toContain('bullmq: ["8","7"]');
  expect(stdout).toMatch(/croner: the report, fence \d{16}\ncroner: done by /);
  expect(stdout).toContain("cron: done by another machine");
  expect(stdout).toContain("pg-boss: [true,true]");
  expect(stdout).toMatch(/node-cron: 20/);
});
