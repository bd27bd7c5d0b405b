/** The page in a real Chromium: what an operator sees, and does. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDashboard, nodeHandler } from "../../src/dashboard.ts";
import type { Dashboard, DashboardOptions } from "../../src/dashboard.ts";
import type { LockManager } from "../../src/index.ts";
import { hasBrowser, NO_BROWSER, openBrowser } from "../support/browser.ts";
import { serve, type Served } from "../support/dashboards.ts";
import { enqueue, hold } from "../support/locks.ts";
import { until } from "../support/until.ts";
import { openWorld, type World } from "../support/worlds.ts";

/** Twenty thousand requests, and a look at them, take a while on a machine that has other work. */
const [PATIENCE, SLOW] = [30_000, 90_000];

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

describe.skipIf(!hasBrowser)(hasBrowser ? "the page" : NO_BROWSER, () => {
  let world: World;
  let browser: Browser;
  let locks: LockManager;
  const open: { close(): unknown }[] = [];

  beforeAll(async () => {
    [world, browser] = await Promise.all([openWorld("lua", "ioredis 6"), openBrowser()]);
  });
  afterEach(async () => {
    for (const each of open.splice(0).toReversed()) await each.close();
    await world.redis.flushall();
  });
  afterAll(async () => {
    await browser?.close();
    await world?.close();
  });

  /** What the browser complained about: scripts that failed, and what the security policy refused. */
  const complaints: string[] = [];

  async function visit(
    options: DashboardOptions & { width?: number; dark?: boolean; path?: string; fragment?: string } = {},
  ): Promise<Page> {
    const { width = 1_280, dark = false, path = "/", fragment = "", ...rest } = options;
    locks = await world.manager({ label: "host:1:app" });
    const dashboard: Dashboard = createDashboard(locks, { poll: 100, ...rest });
    const served: Served = await serve(nodeHandler(dashboard));
    const page = await browser.newPage({
      viewport: { width, height: 900 },
      colorScheme: dark ? "dark" : "light",
    });
    open.push(locks, dashboard, served, page);
    complaints.length = 0;
    page.on("pageerror", ({ message }) => complaints.push(message));
    page.on("console", (message) => {
      if (message.type() === "error") complaints.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(served.url) && !request.url().startsWith("data:")) complaints.push(request.url());
    });
    await page.goto(`${served.url}${path}${fragment}`);
    return page;
  }

  const row = (page: Page, name: string) => page.locator("table.locks tbody tr", { hasText: name });

  test("shows a lock, its holder and its waiters as they come and go, and asks no other host", async () => {
    const page = await visit({ path: "/deep/below" });
    await page.getByText("Nobody holds a lock").waitFor();
    const held = await hold(locks, "invoice:42", { label: "the holder" });
    await row(page, "invoice:42").getByText("the holder").waitFor();
    const waiter = enqueue(locks, "invoice:42", { label: "the waiter" });
    await row(page, "invoice:42").locator("[data-term=Waiting]", { hasText: "1" }).waitFor();
    await page.getByRole("link", { name: "invoice:42" }).click();
    await page.locator("table.queue").getByText("the waiter").waitFor();
    await held.end();
    await page.locator("section[aria-labelledby=holders]").getByText("the waiter").waitFor();
    await page.locator("section[aria-labelledby=past]").getByText("the holder").waitFor();
    await waiter.end();
    await page.getByText("Nobody holds this lock").waitFor();
    expect(complaints).toEqual([]);
  });

  test("what never expires stands on top", async () => {
    const page = await visit();
    await locks.acquire("a");
    await world.redis.set("lock:legacy", "somebody else's");
    await page.getByRole("heading", { name: "1 lock is stuck" }).waitFor();
    expect(await page.locator(".stuck").innerText()).toContain("Never expires.");
    await page.waitForFunction('document.title === "(1) Locks"');
  });

  test("time left counts down between looks, and renewals are seen", async () => {
    const page = await visit({ fragment: "#lock=a" });
    await locks.acquire("a", { ttl: 600 });
    await page.getByText(/^\d+, last .* ago$/).waitFor();
    const lefts = new Set<string>();
    await until(async () => {
      lefts.add(await page.locator("[data-term='Time left'] .time").innerText());
      return lefts.size >= 3;
    }, "three times were read");
  });

  test("names and labels are text, however hostile, and what cannot be seen is shown", async () => {
    const page = await visit();
    const name = '<img src=x onerror="document.title=1">\u202egnp\n';
    await locks.acquire(name, { label: "</script><script>document.title=2</script>" });
    await page.getByRole("link", { name: /^"<img src=x onerror=.*\\u202egnp/ }).click();
    await page.getByText("</script><script>document.title=2</script>").waitFor();
    await page.waitForFunction('document.title.endsWith("– Locks")');
    expect(await page.locator("img, #page script").count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test(
    "10,000 locks and 10,000 waiters on one are searched, and the page keeps few rows",
    async () => {
      // There before the page is: a look at so many takes a while, and then the dashboard rests for nine times as long.
      const [holders, waiters] = [await world.manager(), await world.manager({ turn: 1 })];
      open.push(holders, waiters);
      await Promise.all(Array.from({ length: 10_000 }, (_, i) => holders.acquire(`order:${i}`, { ttl: 60_000 })));
      await holders.acquire("report");
      for (let i = 0; i < 10_000; i++) void waiters.acquire("report").catch(() => {});
      // Answered behind all that it was asked before.
      expect((await waiters.query({ name: "report" })).pending).toHaveLength(10_000);
      const page = await visit();
      await row(page, "report").locator("[data-term=Waiting]", { hasText: "10,000" }).waitFor();
      await page.keyboard.press("/");
      await page.locator(":focus").fill("ORDER:9876");
      await until(async () => (await page.locator("table.locks tbody tr").count()) === 1, "one row was left", PATIENCE);
      expect(await row(page, "order:9876").count()).toBe(1);
      await page.getByRole("searchbox").fill("");
      await page.getByText("100 of 10,001 shown.").waitFor();
      await page.getByRole("button", { name: "Show more" }).click();
      await until(
        async () => (await page.locator("table.locks tbody tr").count()) === 300,
        "300 rows were shown",
        PATIENCE,
      );
      await page.getByRole("link", { name: "report" }).click();
      await page.getByText("The first 300 of 10,000 are shown.").waitFor();
      expect(complaints).toEqual([]);
    },
    SLOW,
  );

  test("a lock is freed once its name is typed, by keyboard alone", async () => {
    const page = await visit({ readOnly: false, authorize: () => true, fragment: "#lock=a" });
    const held = await hold(locks, "a");
    const button = page.getByRole("button", { name: "Free by force…" });
    await button.focus();
    await page.keyboard.press("Enter");
    const free = page.getByRole("button", { name: "Free", exact: true });
    await page.getByLabel("Type the lock's name").fill("b");
    expect(await free.isDisabled()).toBe(true);
    await page.getByLabel("Type the lock's name").fill("a");
    await page.keyboard.press("Enter");
    await page.getByText("Freed from 1 holder.").waitFor();
    await until(() => !held.lock.held, "the holder was told");
    await held.end();
    await page.keyboard.press("Escape");
    await page.getByText("Nobody holds this lock").waitFor();
    expect(complaints).toEqual([]);
  });

  test("a page that only shows has no button to free", async () => {
    const page = await visit({ fragment: "#lock=a" });
    await locks.acquire("a");
    await page.getByRole("heading", { name: "Holder" }).waitFor();
    expect(await page.getByRole("button").count()).toBe(0);
    await page.getByText("read only").waitFor();
  });

  test("says so when the dashboard is gone", async () => {
    const page = await visit();
    await page.getByText("live").waitFor();
    await open.find((each): each is Served => "url" in each && typeof each.url === "string")?.close();
    await page.getByText("Connection lost; trying again.").waitFor();
  });

  test.each([
    ["light", 1_280],
    ["dark", 1_280],
    ["light", 390],
    ["dark", 390],
  ])("axe finds nothing: %s, %i pixels wide", async (scheme, width) => {
    const page = await visit({ width, dark: scheme === "dark", readOnly: false, authorize: () => true });
    await locks.acquire("a", { label: "the holder" });
    enqueue(locks, "a");
    await locks.semaphore("gpu", 4).acquire({ permits: 3 });
    await world.redis.set("lock:legacy", "somebody else's");
    await row(page, "gpu").waitFor();
    await page.getByRole("heading", { name: "1 lock is stuck" }).waitFor();
    const violations = async (): Promise<string[]> => {
      await page.evaluate(axe);
      return page.evaluate(async () => {
        const { run } = (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe;
        const found = await run();
        return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
      });
    };
    const isTooWide = () => page.evaluate("document.documentElement.scrollWidth > innerWidth");
    expect(await violations()).toEqual([]);
    expect(await isTooWide()).toBe(false);
    await row(page, "a").getByRole("link", { name: "a", exact: true }).click();
    await page.locator("table.queue").waitFor();
    expect(await violations()).toEqual([]);
    expect(await isTooWide()).toBe(false);
    await page.getByRole("button", { name: "Free by force…" }).click();
    expect(await violations()).toEqual([]);
  });
});

interface AxeResults {
  readonly violations: readonly { readonly id: string; readonly nodes: readonly { readonly html: string }[] }[];
}
