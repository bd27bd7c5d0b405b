/**
 * The code of the guides to moving is programs. What to write is one program per guide: its blocks, one after the other.
 * Each block that shows the code before the change is a program of its own, on the library that is left.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type UsedServer, startServer } from "../scripts/servers.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const guides = readdirSync(join(root, "docs/moving"));

/** What each says when it runs; `new` is what only blocks labelled so say. */
const says: Record<string, { readonly same: readonly (string | RegExp)[]; readonly new: readonly string[] }> = {
  "from-redlock.md": {
    same: ["held", "1 of 1 refused", "extended 0 times until true", "unlocked account:1"],
    new: ["until the end of the block: account:1", "until true", "fence "],
  },
  "from-redis-semaphore.md": {
    same: ["a mutex true", "one of three", "two permits", "over three servers"],
    new: ["fence "],
  },
  "from-other-libraries.md": {
    same: [
      "redlock-universal, after: paid\nVerrou, after: 42\n",
      /Redisson: pays with fence \d{16}\nRedisson: transfers\nRedisson: reads\nRedisson: one of four\n/,
      /ShedLock: a report\nShedLock: done by .*\n/,
    ],
    new: [],
  },
  "shared-keys.md": { same: ["nobody else runs the report"], new: [] },
};
/** What the blocks before the change say. */
const said: Record<string, string[]> = {
  "from-other-libraries.md": ["redlock-universal, before: paid\n", "Verrou, before: 42\n"],
};

/**
 * Guides whose code needs only another import: with the libraries that it replaces it says the same. What these lack
 * stands in blocks of its own, which name what they show.
 */
const replaced: Record<string, [from: string, to: string][]> = {
  "from-redlock.md": [
    [`import { Redlock as Fork } from "holdfast/redlock"`, `import { Redlock as Fork } from "@sesamecare-oss/redlock"`],
    [`from "holdfast/redlock"`, `from "redlock5"`],
    [`import Redlock4 from "holdfast/redlock4"`, `import Redlock4 from "redlock4"`],
  ],
  "from-redis-semaphore.md": [[`from "holdfast/redis-semaphore"`, `from "redis-semaphore"`]],
};

interface Block {
  readonly language: string;
  readonly label: string;
  readonly code: string;
}

function blocksOf(guide: string): Block[] {
  const text = readFileSync(join(root, "docs/moving", guide), "utf8");
  return [...text.matchAll(/^```(\w+)(?: \[(.*)\])?\n([^]*?)^```$/gm)].map(
    ([, language = "", label = "", code = ""]) => ({
      language,
      label,
      code,
    }),
  );
}

function codeOf(guide: string, isWanted: (block: Block) => boolean): string[] {
  return blocksOf(guide)
    .filter((block) => isWanted(block))
    .map(({ code }) => code);
}

let folder: string;
let server: UsedServer;
beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "moving-"));
  for (const guide of guides) {
    const name = guide.replace(".md", "");
    const program = codeOf(guide, ({ language, label }) => language === "ts" && label !== "before");
    writeFileSync(join(folder, `${name}.ts`), program.join("\n"));
    const before = codeOf(guide, ({ label }) => label === "before");
    for (const [i, code] of before.entries()) writeFileSync(join(folder, `${name}-before-${i}.ts`), code);
    const common = codeOf(guide, ({ language, label }) => language === "ts" && label === "").join("\n");
    const [same = "", rest] = common.split(/^(?=import .* from "holdfast";$)/m);
    if (!replaced[guide] || rest === undefined) continue;
    const old = replaced[guide].reduce((code, [from, to]) => code.replace(from, to), same);
    mkdirSync(join(folder, "old"), { recursive: true });
    writeFileSync(join(folder, "old", `${name}.ts`), `${old}\nprocess.exit();`);
  }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
  server = await startServer();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
});

async function runs(...files: string[]): Promise<string> {
  const env = { ...process.env, REDIS_URL: server.url };
  const imports = files.map((file) => `await import(${JSON.stringify(join(folder, file))});`).join("\n");
  const main = join(folder, `main-${files[0]?.replaceAll(/\W/g, "-")}.mjs`);
  writeFileSync(main, imports);
  const { stdout } = await run(process.execPath, ["--import", "tsx", main], { env, cwd: root });
  return stdout;
}

test("the guides' code compiles", async () => {
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]).catch(
    (error: { stdout: string }) => error,
  );
  expect(stdout).toBe("");
});

test.each(guides)("the code of %s runs and says what it should", async (guide) => {
  const stdout = await runs(guide.replace(".md", ".ts"));
  const { same = ["?"], new: only = [] } = says[guide] ?? {};
  for (const text of [...same, ...only]) expect(stdout).toMatch(text);
});

test.each(Object.keys(said))("the code before the change, in %s, runs and says the same", async (guide) => {
  const files = readdirSync(folder).filter((file) => file.startsWith(`${guide.replace(".md", "")}-before-`));
  const stdout = await runs(...files);
  expect(files).toHaveLength(said[guide]?.length ?? 0);
  for (const text of said[guide] ?? []) expect(stdout).toContain(text);
});

test.each(Object.keys(replaced))("with the imports as they were, the code of %s says the same", async (guide) => {
  const stdout = await runs(`old/${guide.replace(".md", ".ts")}`);
  for (const text of says[guide]?.same ?? ["?"]) expect(stdout).toMatch(text);
});

test.each(guides)("what %s imports in place of another library is there", async (guide) => {
  for (const line of codeOf(guide, ({ language }) => language === "diff")
    .join("\n")
    .split("\n")) {
    const names = /^\+(?:import|const) (?:(\w+), )?(?:\{ ([^}]*) \}|(\w+)) (?:from|=) .*"(holdfast[^"]*)"/.exec(line);
    if (!names) continue;
    const [, first, list = "", alone, from = ""] = names;
    const module = (await import(from)) as Record<string, unknown>;
    const wanted = list.split(", ").flatMap((each) => (each ? [each.split(/:| as /)[0] as string] : []));
    for (const name of first || alone ? ["default", ...wanted] : wanted) expect(module).toHaveProperty(name);
  }
});
