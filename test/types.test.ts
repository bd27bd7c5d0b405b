import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

test("the types promise what test/types/*.test-d.ts says, beside those of lib.dom", async () => {
  const tsc = fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
  const args = [tsc, "-p", "test/types", "--pretty", "false"];
  const { stdout } = await run(process.execPath, args, { cwd: root }).catch((error: { stdout: string }) => error);
  // Our own source is written for Node.js; lib.dom need not like it.
  const errors = stdout.split("\n").filter((line) => /error TS/.test(line) && !line.startsWith("src/"));
  expect(errors).toEqual([]);
}, 60_000);
