/** The code of the guides to moving is programs: each guide's blocks, one after the other, compile and run. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type UsedServer, startServer } from "../scripts/servers.ts";
import { compile } from "./support/programs.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const guides = readdirSync(join(root, "docs/moving"));

/** What each says when it runs. */
const says: Record<string, string[]> = {
  "from-redlock.md": ["held", "1 of 1 refused", "extended 0 times until true", "until true", "fence "],
  "from-redis-semaphore.md": ["a mutex", "one of three", "two permits", "over three servers", "fence "],
  "from-other-libraries.md": ["redlock-universal: ", "Verrou: ", "Redisson: ", "ShedLock: "],
};

function read(guide: string, language: string): string[] {
  const text = readFileSync(join(root, "docs/moving", guide), "utf8");
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map(([, code = ""]) => code);
}

let folder: string;
let server: UsedServer;
beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "moving-"));
  for (const guide of guides) writeFileSync(join(folder, guide.replace(".md", ".ts")), read(guide, "ts").join("\n"));
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
  server = await startServer();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
});

test("the guides' code compiles", async () => {
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]).catch(
    (error: { stdout: string }) => error,
  );
  expect(stdout).toBe("");
});

test.each(guides)("the code of %s runs and says what it should", async (guide) => {
  expect(read(guide, "ts").length).toBeGreaterThan(0);
  const env = { ...process.env, REDIS_URL: server.url };
  const file = join(folder, guide.replace(".md", ".ts"));
  const { stdout } = await run(process.execPath, [await compile(file)], { env, cwd: root });
  for (const line of says[guide] ?? ["?"]) expect(stdout).toContain(line);
});

test.each(guides)("what %s imports in place of another library is there", async (guide) => {
  for (const line of read(guide, "diff").join("\n").split("\n")) {
    const names = /^\+(?:import|const) (?:(\w+), )?(?:\{ ([^}]*) \}|(\w+)) (?:from|=) .*"(holdfast[^"]*)"/.exec(line);
    if (!names) continue;
    const [, first, list = "", alone, from = ""] = names;
    const module = (await import(from)) as Record<string, unknown>;
    const wanted = list.split(", ").flatMap((each) => (each ? [each.split(/:| as /)[0] as string] : []));
    for (const name of first || alone ? ["default", ...wanted] : wanted) expect(module).toHaveProperty(name);
  }
});
