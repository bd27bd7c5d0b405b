/** The code of docs/observability.md compiles, and runs as one program whose locks it reports. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
let folder: string;
let files: string[];

const USE = `
import { LockManager } from "holdfast";
import { register } from "prom-client";
import { BLOCKS } from "./blocks.ts";
for (const block of BLOCKS) await import(block);
const locks = new LockManager();
const lock = await locks.acquire("invoice:42");
await locks.forceRelease("invoice:42");
if (lock.held) throw new Error("It was to be lost.");
process.stdout.write((await register.metrics()) + "\\n", () => process.exit());
`;

beforeAll(() => {
  mkdirSync(join(root, ".cache"), { recursive: true });
  folder = mkdtempSync(join(root, ".cache", "observability-"));
  const text = readFileSync(join(root, "docs/observability.md"), "utf8");
  const blocks = [...text.matchAll(/^```ts\n([^]*?)^```$/gm)];
  files = blocks.map((_, i) => `./block${i}.ts`);
  for (const [i, [, code = ""]] of blocks.entries()) writeFileSync(join(folder, files[i]!), code);
  writeFileSync(join(folder, "blocks.ts"), `export const BLOCKS: string[] = ${JSON.stringify(files)};\n`);
  writeFileSync(join(folder, "use.ts"), USE);
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the code compiles", async () => {
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const options = ["--allowImportingTsExtensions", "--rewriteRelativeImportExtensions", "false"];
  const { stdout } = await run(process.execPath, [tsc, "-p", folder, ...options]).catch((error) => error);
  expect(stdout).toBe("");
});

test("each recipe reports a lock that was taken by force", async () => {
  expect(files).toHaveLength(6);
  const program = ["--import", "tsx", join(folder, "use.ts")];
  const { stdout, stderr } = await run(process.execPath, program, {
    cwd: root,
    env: { ...process.env, METRICS_PORT: "0" },
  });
  expect(stderr).toMatch(/^lost invoice:42 after [\d.]+ ms: stolen/);
  expect(stdout).toMatch(
    /^invoice:42: granted after [\d.]+ ms; began as number undefined in the queue, 0 ahead here$/m,
  );
  expect(stdout).toContain('lock_wait_seconds_count{group="invoice:*"} 1');
  expect(stdout).toContain('lock_losses_total{reason="stolen"} 1');
  expect(stdout).toMatch(/"name":"invoice:42".*"reason":"stolen".*"msg":"lost a lock"/);
  expect(stdout).toMatch(/"by":".*"msg":"a lock was taken by force"/);
});
