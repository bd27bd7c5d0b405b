/** Takes the screenshots of docs/dashboard.md, with a server and locks of its own: `npm run screenshots`. */
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { createDashboard, nodeHandler } from "../src/dashboard.ts";
import { LockManager } from "../src/index.ts";
import { openBrowser } from "../test/support/browser.ts";
import { startServer } from "./servers.ts";

const folder = fileURLToPath(new URL("../docs/images/", import.meta.url));
/** So that charts have something to show. */
const HISTORY = 40_000;

const SHOTS = [
  { file: "dashboard-light", width: 1_280, height: 940, colorScheme: "light", fragment: "" },
  { file: "dashboard-dark", width: 1_280, height: 940, colorScheme: "dark", fragment: "" },
  { file: "dashboard-lock-dark", width: 1_280, height: 940, colorScheme: "dark", fragment: "#lock=ledger" },
  { file: "dashboard-lock-light", width: 1_280, height: 940, colorScheme: "light", fragment: "#lock=ledger" },
  { file: "dashboard-phone", width: 390, height: 1_400, colorScheme: "light", fragment: "" },
] as const;

const server = await startServer();
const redis = new Redis(server.url);
const [api, worker] = ["api-3:412:server.js", "worker-7:88:jobs.js"].map(
  (label) => new LockManager(redis, { label, turn: 1 }),
) as [LockManager, LockManager];
const dashboard = createDashboard(api, { title: "Locks of the shop", stuckAfter: 20_000 });
const http = createServer(nodeHandler(dashboard)).listen(0, "127.0.0.1");

/** A shop on an ordinary day, and two things that went wrong. */
async function work(): Promise<void> {
  const forever = new Promise<never>(() => {});
  for (let i = 0; i < 120; i++) await api.acquire(`order:${1_000 + i}`, { ttl: 60_000 });
  await redis.set("lock:legacy:import", "0c1f5f3e");
  await api.acquire("invoice:monthly", { label: "monthly close" });
  for (let i = 0; i < 312; i++) worker.acquire("invoice:monthly", { label: `invoice ${i}` }).catch(() => {});
  for (let i = 0; i < 6; i++) await worker.semaphore("gpu", 8).acquire({ label: `training ${i}` });
  for (const each of [api, worker]) {
    void (async () => {
      for await (const _ of each.elect("scheduler")) await forever;
    })();
  }
  await worker.once("nightly-report", { atMost: 600_000, atLeast: 600_000 }, () => {});
  for (let i = 0; i < 7; i++) {
    void (async () => {
      const pause = (longest: number): Promise<void> => sleep(Math.random() * longest);
      for (;;) {
        await (i % 2 ? api : worker).request("ledger", { label: `booking ${i}` }, () => pause(5_000));
        await pause(6_000);
      }
    })().catch(() => {});
  }
}

try {
  mkdirSync(folder, { recursive: true });
  await work();
  const browser = await openBrowser();
  const { port } = http.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}/`;
  const viewer = await browser.newPage();
  await viewer.goto(url); // somebody watches, so that the history is fine-grained
  await sleep(HISTORY);
  for (const { file, width, height, colorScheme, fragment } of SHOTS) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    await page.goto(url + fragment);
    await page.waitForSelector("table");
    await page.waitForSelector("figure canvas");
    await sleep(1_500);
    await page.screenshot({ path: `${folder}${file}.png` });
    await page.close();
  }
  await browser.close();
} finally {
  await server.stop();
}
process.exit(0);
