/** The site as `npm run site` has built it: every link leads somewhere, and pages work in a browser. */
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createRequire } from "node:module";
import { extname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ENTRIES, SECTIONS } from "../../site/pages.mjs";
import { CODES } from "../../src/cli/failures.ts";
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
  expect(ANSWERS).toHaveLength(40);
  for (const [i, question] of questions.entries()) {
    const sections = [...linksOf("questions.html", question)].map(({ target, anchor }) => sectionOf(target, anchor));
    expect(sections.length, question).toBeGreaterThan(0);
    expect(`${textOf(question)} ${sections.join(" ")}`, question).toMatch(ANSWERS[i] as RegExp);
  }
});

/** What the answer to each question must speak of, in the order of the page. */
const ANSWERS = [
  /distributed locks for Node/i,
  /job queue/,
  /npm install holdfast ioredis/,
  /CommonJS/,
  /TypeScript 5\.2/,
  /fence < \$2/,
  /lock\.signal/,
  /waitTimeout/,
  /navigator\.locks/,
  /30 000/,
  /30 s/,
  /third of the ttl/,
  /frozen process/i,
  /two holders/,
  /first come, first served/,
  /remaining ttl/,
  /promoted/,
  /majority|minority/,
  /WAIT/,
  /noeviction/,
  /\+evalsha/,
  /:queue/,
  /--force/,
  /holdfast\.wait\.duration/,
  /locks\.close/,
  /atLeast/,
  /term\.signal/,
  /semaphore/,
  /computes/,
  /never deadlock/,
  /COMMIT/,
  /detach/,
  /@WithLock/,
  /TestLocks/,
  /Roll out/i,
  /redis-semaphore/,
  /µs/,
  /simulator/,
  /redis-py/,
  /privately/,
];

/** The text under a heading, down to the next of its level; of the whole page without an anchor. */
function sectionOf(target: string, anchor: string): string {
  const page = /<main[^]*<\/main>/.exec(html.get(target) ?? "")?.[0] ?? "";
  if (anchor === "") return textOf(page);
  const [, level = "", rest = ""] = new RegExp(`<h(\\d) id="${anchor}"([^]*)`).exec(page) ?? [];
  return textOf(rest.split(new RegExp(`<h[1-${level}] id=`))[0] ?? "");
}

function textOf(markup: string): string {
  return markup
    .replace(/<[^>]+>/g, "")
    .replaceAll("&lt;", "<")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&");
}

test("each page is in the sidebar once, and each entry of the package in the API reference", () => {
  const pages = SECTIONS.flatMap(({ items }) => items.map(({ page }) => page));
  expect(new Set(pages).size).toBe(pages.length);
  const { exports } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    exports: Record<string, unknown>;
  };
  const imports = Object.keys(exports).filter((path) => !/\.(lua|json)$/.test(path));
  expect([...ENTRIES.values()].toSorted()).toEqual(imports.map((path) => path.replace(/^\./, "holdfast")).toSorted());
  for (const module of ENTRIES.keys()) expect(files).toContain(`api/${module}/index.html`);
});

test("the API reference has every option with its default or unit, and every error's code", () => {
  const page = (path: string): string => /<main[^]*<\/main>/.exec(html.get(`api/index/${path}.html`) ?? "")?.[0] ?? "";
  const options = {
    LockOptions: ["ttl", "waitTimeout", "renew", "maxHold", "label", "reentrant", "maxQueue", "onWait", "durability"],
    ManagerOptions: ["prefix", "ttl", "scheme", "label", "nodeTimeout", "delayRestarted", "turn", "durability"],
    OnceOptions: ["atMost", "atLeast", "ttl", "label"],
  };
  for (const [name, members] of Object.entries(options)) {
    const rows = page(`interfaces/${name}`).replaceAll("</td>", " ").split("<tr>").map(textOf);
    expect(textOf(page(`interfaces/${name}`))).toContain("in milliseconds");
    for (const member of members) {
      const row = rows.find((each) => new RegExp(`^[\\s\u200b]*${member}\\b`).test(each)) ?? "";
      expect(row, `${name}.${member}`).toMatch(/default|manager's|at least|Called when|milliseconds|within/);
    }
  }
  const codes = textOf(page("type-aliases/LockErrorCode") + page("type-aliases/SchemeErrorCode"));
  for (const code of CODES) expect(codes).toContain(`"${code}"`);
});

test("llms.txt names the pages, and llms-full.txt has them", () => {
  const pages = SECTIONS.flatMap(({ items }) => items);
  // Each with a sentence.
  for (const { page } of pages) expect(read("llms.txt")).toMatch(new RegExp(`\\(/${page}\\.html\\): .{20,}`));
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

  test("the diagram works by keyboard, and a button that has done its part keeps the focus", async () => {
    const { page } = await open("index.html", desktop);
    const diagram = page.locator(".diagram");
    await diagram.getByText("Process A holds it").waitFor();
    await diagram.getByRole("button", { name: "Request the lock" }).focus();
    for (const key of ["Enter", "Tab", "Space", "Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await diagram.getByText("Process A has crashed", { exact: true }).waitFor();
    const focused = await page.evaluate("document.activeElement.textContent.trim()");
    expect(focused).toBe("Crash the holder");
    await diagram.getByText("Process B holds it").waitFor();
    expect(await diagram.locator(".box li").allTextContents()).toEqual(["Process C", "Process D"]);
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
