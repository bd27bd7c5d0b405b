/** The code of the README is a program: its blocks, one after the other, compile and run. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useServer, type UsedServer } from "../scripts/servers.ts";
import { compile } from "./support/programs.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let server: UsedServer;

beforeAll(async () => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "readme-"));
  const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)];
  expect(blocks.length).toBeGreaterThan(5);
  // What the first example calls, and the README leaves to its reader.
  const given = "const addUp = async (signal: AbortSignal) => (signal.aborted ? 0 : 42);";
  writeFileSync(join(folder, "tour.ts"), [given, ...blocks.map(([, code]) => code)].join("\n"));
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", include: ["tour.ts"] }),
  );
  server = await useServer();
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
});

test("the README's code compiles", async () => {
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder]);
  expect(stdout).toBe("");
});

test("the README's code runs and says what it should", async () => {
  const env = { ...process.env, REDIS_URL: server.url };
  const { stdout } = await run(process.execPath, [await compile(join(folder, "tour.ts"))], { env, cwd: root });
  expect(stdout).toMatch(/fence \d{16}, lost: false/);
  expect(stdout).toMatch(/true 29\d\d\d/);
  expect(stdout).toContain("I do it");
  expect(stdout).toContain("first come first served");
  expect(stdout).toContain("two of four permits");
  expect(stdout).toContain('Lock "busy" was not granted within 100 ms: this process itself holds it.');
  expect(stdout).toContain("1 holds, 0 wait");
  expect(stdout).toMatch(/leads with fence \d{16}\na report\n2 locks, all or none/);
});
