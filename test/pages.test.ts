/** The code of the guides is programs: each page's blocks, one after the other, compile and run. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type UsedServer, startServer } from "../scripts/servers.ts";
import { compile } from "./support/programs.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

/** What each says when it runs. */
const says: Record<string, (string | RegExp)[]> = {
  "troubleshooting.md": ["busy: try later\nholdfast/docs/troubleshooting.md#timeout\n"],
  "testing.md": ["null\nfalse\n"],
  "production.md": ["balance 70\n"],
  "recipes.md": [
    "report written\nskipped: done\n",
    /leads: true, fence \d{16}\nleads: false\n/,
    "1 value, computed 1 time\n",
    "refreshed 1 time\n",
    "202 accepted | 409 already in progress\nworks on order:7\n",
    "at most 3 at once\n",
    "migrates: true\n",
    "invoice 42: true\n{ statusCode: 200 }\n",
    "held: true free: false\nheld: false free: true\n",
  ],
  "article.md": [
    "SET: plain SET gets a lock that is held: OK OK\n",
    "SET: A gets it: true and B does not: false\nSET: B gets it: true\nSET: C gets it while B works: true\n",
    "set: A knows: false true\nset: A's release releases nothing: false and B still holds: true\n",
    "so a guard refuses A's late write: true\n",
    /Lua, as printed: .*global variable/,
    /Lua, release without a key: .*must be strings or integers/,
    "Lua: A gets it: OK B: null\n",
    "lua: the test says who: 1 holds, others wait\nlua: the others waited for the release, in order: B, C\n",
    "redlock: two grants over 3 servers, fences grow: true\n",
  ],
};
const pages = Object.keys(says);

/** The page whose program begins in several ways, one for each client: its blocks with labels. */
const quickStart = "quick-start.md";
const clients = ["ioredis", "node-redis", "Valkey GLIDE", "iovalkey", "a URL"];

function blocksOf(page: string, label = ""): string[] {
  const text = readFileSync(join(root, "docs", page), "utf8");
  const blocks = [...text.matchAll(/^```ts(?: \[(.*)\])?\n([^]*?)^```$/gm)];
  return blocks.flatMap(([, of = "", code = ""]) => (of === "" || of === label ? [code] : []));
}

function fileOf(client: string): string {
  return `quick-start-${client.replace(" ", "-")}.ts`;
}

let folder: string;
let servers: UsedServer[];
beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "pages-"));
  for (const page of pages) {
    writeFileSync(join(folder, page.replace(".md", ".ts")), blocksOf(page).join("\n"));
  }
  // It leaves its client open, as programs do.
  for (const client of clients)
    writeFileSync(join(folder, fileOf(client)), [...blocksOf(quickStart, client), "process.exit();"].join("\n"));
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
  servers = await Promise.all([startServer(), startServer(), startServer()]);
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await Promise.all(servers.map((server) => server.stop()));
});

test("the pages' code compiles", async () => {
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]).catch(
    (error: { stdout: string }) => error,
  );
  expect(stdout).toBe("");
});

test.each(pages)(
  "the code of %s runs and says what it should",
  async (page) => {
    const urls = servers.map(({ url }) => url);
    const env = { ...process.env, REDIS_URL: urls[0], REDIS_NODES: urls.join(" ") };
    const file = join(folder, page.replace(".md", ".ts"));
    const { stdout } = await run(process.execPath, [await compile(file)], { env, cwd: root });
    for (const text of says[page] ?? []) expect(stdout).toMatch(text);
  },
  60_000,
);

test("each way to begin that docs/quick-start.md shows is known here", () => {
  const labels = readFileSync(join(root, "docs", quickStart), "utf8").matchAll(/^```ts \[(.*)\]$/gm);
  expect([...labels].map(([, label]) => label)).toEqual(clients);
});

test.each(clients)(
  "the quick start runs with %s",
  async (client) => {
    const env = { ...process.env, REDIS_URL: servers[0]?.url };
    const file = join(folder, fileOf(client));
    const { stdout } = await run(process.execPath, [await compile(file)], { env, cwd: root });
    expect(stdout).toMatch(/^held: true, fence \d{16}\ntotal 42\nheld: true\n$/);
  },
  60_000,
);

/** The members of a union of strings in src/errors.ts. */
function codes(type: string): string[] {
  const source = readFileSync(join(root, "src/errors.ts"), "utf8");
  const union = new RegExp(`export type ${type} =([^]*?);`).exec(source)?.[1] ?? "";
  return [...union.matchAll(/\| "([a-z-]+)"/g)].map(([, code = ""]) => code);
}

test("each code of an error has a heading in docs/troubleshooting.md, which error.help names", () => {
  const all = [...codes("LockErrorCode"), ...codes("SchemeErrorCode")];
  expect(all.length).toBeGreaterThan(20);
  const headings = readFileSync(join(root, "docs/troubleshooting.md"), "utf8").match(/^### .*$/gm);
  for (const code of all) expect(headings).toContain(`### ${code}`);
});

test("each reason of a loss is explained there", () => {
  const page = readFileSync(join(root, "docs/troubleshooting.md"), "utf8");
  const reasons = codes("LossReason");
  expect(reasons.length).toBe(4);
  for (const reason of reasons) expect(page).toMatch(new RegExp(`^\\| \`${reason}\` \\|`, "m"));
});
