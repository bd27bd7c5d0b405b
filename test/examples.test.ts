/** The examples are programs that end by themselves and say what they should. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type UsedServer, startServer } from "../scripts/servers.ts";
import { compile } from "./support/programs.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
let server: UsedServer;

beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server.stop());

test.concurrent.each([
  ["election", /^nobody leads\nmachine one leads\n(nobody leads\n)?machine two leads\n/],
  ["reentrancy", /^moved 30 under the fence (\d{16}), which is \1\n$/],
  ["several", /^from alice to bob: 30\nfrom bob to alice: 10\nalice 80, bob 120\n$/],
  [
    "fencing",
    new RegExp(
      [
        "^the later holder has the larger fence: true",
        "Redis refused the late write: true",
        "Postgres wrote",
        "Postgres refused the late UPDATE",
        "Postgres committed",
        "Postgres refused the late transaction\n$",
      ].join("\n"),
    ),
  ],
  ["hand-over", /^the front end has left\nthe worker holds order:7, with a larger fence: true\n.* is gone: /],
  [
    "semaphore",
    /^at most 4 of 4 permits were in use\nwaits as number 1\nthe line is full\nreaders are let in: true\n$/,
  ],
  ["share", /^refreshing\n301 callers, 1 token\none failed, and 2 were told: compute-failed\n$/],
  ["readiness", /^ready: 1 of 2\nthe other machine leads: true\nready: 1 of 1\n$/],
  ["once", /^a report, fence \d{16}\ndone by machine one\ndone by machine one\n$/],
])(
  "examples/%s.ts",
  async (name, says) => {
    const env = { ...process.env, REDIS_URL: server.url };
    const program = await compile(`${root}examples/${name}.ts`);
    const { stdout } = await run(process.execPath, [program], { env, cwd: root });
    expect(stdout).toMatch(says);
    // The Postgres of fencing.ts takes a while to start if the machine is busy.
  },
  60_000,
);

test("the code of the guide to fencing is an example", () => {
  const guide = readFileSync(`${root}docs/fencing.md`, "utf8");
  const code = [...guide.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, block]) => block).join("\n");
  expect(code).toBe(readFileSync(`${root}examples/fencing.ts`, "utf8"));
});
