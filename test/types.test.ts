import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

test("the types promise what test/types/*.test-d.ts says, beside those of lib.dom", async () => {
  const tsc = fileURLToPath(import.meta.resolve("typescript/bin/tsc"));
  const { stdout, code } = await run(process.execPath, [tsc, "-p", "test/types", "--pretty", "false"], {
    cwd: root,
  }).then(
    (done) => ({ stdout: done.stdout, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
  expect(stdout).toBe("");
  expect(code).toBe(0);
}, 60_000);
