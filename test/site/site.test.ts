/** The site as `npm run site` has built it: every link leads somewhere, and pages work in a browser. */
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createRequire } from "node:module";
import { extname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SECTIONS } from "../../site/pages.mjs";
import { hasBrowser, NO_BROWSER, openBrowser } from "../support/browser.ts";

const site = fileURLToPath(new URL("../../site/dist/", import.meta.url));
const files = new Set(
  readdirSync(site, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => posix.join(parentPath, name).slice(site.length)),
);
const html = new Map([...files].filter((file) => file.endsWith(".html")).map((file) => [file, read(file)]));

function read(file: string): string {
  return readFileSync(join(site, file), "utf8");
}

/** What the file's links lead to on the site: the file, and the heading in it. */
function* linksOf(file: string, text: string): Generator<{ href: string; target: string; anchor: string }> {
  for (const [, href = ""] of text.matchAll(/ (?:href|src)="([^"]*)"/g)) {
    if (/^(https?:|data:|mailto:)/.test(href)) continue;
    const { pathname, hash } = new URL(href.replaceAll("&amp;", "&"), `http://site/${file}`);
    const path = decodeURIComponent(pathname).slice(1);
    const target = [path, `${path}.html`, posix.join(path, "index.html")].find((each) => files.has(each)) ?? "";
    yield { href, target, anchor: decodeURIComponent(hash.slice(1)) };
  }
}

test("every internal link leads to a page, and to a heading that is there", () => {
  const broken: string[] = [];
  let followed = 0;
  for (const [file, text] of html) {
    for (const { href, target, anchor } of linksOf(file, text)) {
      followed++;
      const isThere = target !== "" && (anchor === "" || html.get(target)?.includes(` id="${anchor}"`));
      if (!isThere) broken.push(`${file}: ${href}`);
    }
  }
  expect(followed).toBeGreaterThan(5_000);
  expect(broken).toEqual([]);
});

test("each of the forty questions leads to its answers within two clicks from the home page", () => {
  expect([...linksOf("index.html", html.get("index.html") as string)].map(({ target }) => target)).toContain(
    "questions.html",
  );
  const page = /<main[^]*<\/main>/.exec(html.get("questions.html") as string)?.[0] ?? "";
  const answers = [...page.matchAll(/<li>([^]*?)<\/li>/g)].map(([, answer = ""]) => answer);
  const questions = answers.filter((answer) => answer.startsWith("<strong>"));
  expect(questions).toHaveLength(40);
  for (const question of questions)
    expect([...linksOf("questions.html", question)].length, question).toBeGreaterThan(0);
});

test("llms.txt names the pages, and llms-full.txt has them", () => {
  const pages = SECTIONS.flatMap(({ items }) => items);
  for (const { page } of pages) expect(read("llms.txt")).toContain(`(/${page}.html)`);
  expect(read("llms-full.txt").length).toBeGreaterThan(100_000);
});

describe.skipIf(!hasBrowser)(hasBrowser ? "in a browser" : NO_BROWSER, () => {
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://site").pathname).slice(1);
    const file = [path, `${path}.html`, posix.join(path, "index.html")].find((each) => files.has(each));
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream");
    response.end(readFileSync(join(site, file)));
  });
  let browser: Browser;
  let origin: string;
  beforeAll(async () => {
    browser = await openBrowser();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await browser.close();
    server.close();
  });

  /** @returns what goes wrong on the page */
  async function open(path: string, options: BrowserContextOptions): Promise<{ page: Page; wrong: string[] }> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const wrong: string[] = [];
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    page.on("response", (response) => response.status() >= 400 && wrong.push(`${response.status()} ${response.url()}`));
    await page.goto(`${origin}/${path}`);
    return { page, wrong };
  }

  const phone = { viewport: { width: 390, height: 844 } };
  const desktop = { viewport: { width: 1280, height: 900 } };

  test.each([
    ["a phone", phone],
    ["a desktop", desktop],
  ])(
    "each page of the sidebar fits %s and has no errors",
    async (_, options) => {
      const { page, wrong } = await open("index.html", options);
      for (const path of [
        "index",
        "help",
        "api/index",
        ...SECTIONS.flatMap(({ items }) => items).map((each) => each.page),
      ]) {
        await page.goto(`${origin}/${path}.html`);
        expect(await page.title()).toContain("holdfast");
        const overflow = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        expect(overflow, path).toBeLessThanOrEqual(0);
      }
      expect(wrong).toEqual([]);
      await page.context().close();
    },
    120_000,
  );

  test.each(["light", "dark"] as const)(
    "home, a guide and a reference have no accessibility faults (%s)",
    async (colorScheme) => {
      const script = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
      for (const path of ["index", "guarantees", "quick-start", "api/index/interfaces/LockOptions"]) {
        const { page } = await open(`${path}.html`, { ...desktop, colorScheme });
        await page.addScriptTag({ path: script });
        const found = await page.evaluate(async () => {
          const { axe } = globalThis as unknown as { axe: { run(of: string): Promise<{ violations: Violation[] }> } };
          return (await axe.run("main, .VPContent")).violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
        });
        expect(found, path).toEqual([]);
        await page.context().close();
      }
    },
    60_000,
  );

  test("the diagram shows a queue, a crash and a fence that refuses a late write", async () => {
    const { page, wrong } = await open("index.html", desktop);
    const diagram = page.locator(".diagram");
    const press = (name: string) => diagram.getByRole("button", { name }).click();
    const latest = diagram.locator(".log li").first();
    await diagram.getByText("Process A holds it").waitFor();
    await press("Crash the holder");
    await diagram.getByText("Process B holds it").waitFor(); // when the lease of A has ended
    await press("Freeze the holder");
    await diagram.getByText("Process C holds it").waitFor();
    await press("Write");
    expect(await latest.textContent()).toContain("accepts");
    await press("Wake the frozen one");
    expect(await latest.textContent()).toMatch(/fence 42\. The database has seen 43 and refuses/);
    await press("Release");
    await diagram.getByText("Free.").waitFor();
    expect(wrong).toEqual([]);
    await page.context().close();
  }, 60_000);

  test("search finds the page that answers", async () => {
    const { page } = await open("index.html", desktop);
    await page.locator(".VPNavBarSearch button").first().click();
    await page.locator(".VPLocalSearchBox input").fill("eviction");
    await page.locator(".VPLocalSearchBox .result", { hasText: "Memory and eviction" }).first().waitFor();
    await page.context().close();
  }, 60_000);
});

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string }[];
}
