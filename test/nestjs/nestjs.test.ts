/** `holdfast/nestjs` as it is published, in an application on Nest 11 (CommonJS) and one on Nest 12 (ES modules). */
import { execFile } from "node:child_process";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { Packed } from "../support/packed.ts";

const run = promisify(execFile);
/** The network, and a processor that has other work. */
const SLOW = 120_000;

let server: Server;
let packed: Packed;

beforeAll(async () => {
  server = await startServer();
  packed = await Packed.make();
}, SLOW);
afterAll(async () => {
  await packed?.remove();
  await server?.stop();
});

const APPS = {
  nest11: { runner: "jest/bin/jest.js", args: [] },
  nest12: { runner: "vitest/vitest.mjs", args: ["run"] },
};

describe.each(["nest11", "nest12"] as const)("%s", (name) => {
  let app: string;

  beforeAll(async () => {
    app = await packed.installIn(fileURLToPath(new URL(name, import.meta.url)), name);
    await cp(fileURLToPath(new URL("app", import.meta.url)), join(app, "app"), { recursive: true });
  }, SLOW);

  async function node(module: string, ...args: string[]): Promise<string> {
    const env = { ...process.env, NODE_OPTIONS: "", SHOP_REDIS: server.url };
    // The runners of tests print to stderr.
    const { stdout, stderr } = await run(process.execPath, [join(app, "node_modules", module), ...args], {
      cwd: app,
      env,
    });
    return stdout + stderr;
  }

  test("its types fit the application", { timeout: SLOW }, async () => {
    expect(await node("typescript/bin/tsc", "--noEmit")).toBe("");
  });

  test("an application with it passes its own tests", { timeout: SLOW }, async () => {
    const { runner, args } = APPS[name];
    expect(await node(runner, ...args)).toMatch(/\d+ passed/);
  });
});
