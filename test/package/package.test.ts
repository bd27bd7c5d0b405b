/** The package as it is published, in an empty folder: every way to load it. */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Server, startServer } from "../../scripts/servers.ts";
import { Packed } from "../support/packed.ts";

const run = promisify(execFile);
/** The network, and a processor that has other work. */
const SLOW = 120_000;

let server: Server;
let packed: Packed;
let app: string;

beforeAll(async () => {
  server = await startServer();
  packed = await Packed.make();
  app = await packed.installIn(fileURLToPath(new URL("app", import.meta.url)), "app");
}, SLOW);

afterAll(async () => {
  await server?.stop();
  await packed?.remove();
});

/** Write a file of the app, and give its path. */
async function write(name: string, text: string): Promise<string> {
  await mkdir(join(app, name, ".."), { recursive: true });
  await writeFile(join(app, name), text);
  return join(app, name);
}

async function node(...args: string[]): Promise<string> {
  const { stdout, stderr } = await run(process.execPath, args, { cwd: app, env: { ...process.env, NODE_OPTIONS: "" } });
  expect(stderr).toBe("");
  return stdout.trim();
}

/** Takes a lock on the server, over a URL and with a client; and one in memory; and tells what an error is called. */
const use = (): string => `
  const held = [];
  for (const given of ["${server.url}", new Redis("${server.url}"), undefined]) {
    const locks = new LockManager(given);
    held.push(await locks.request("a", ({ held }) => held));
    await locks.close();
    given?.disconnect?.();
  }
  const locks = new TestLocks().manager();
  await locks.close();
  const error = await locks.acquire("a").catch((error) => error);
  console.log(held.join(), error.name, error.code, error instanceof LockError, typeof RedisFence);
`;
const EXPECTED = "true,true,true LockError closed true function";

describe("Node loads it with", () => {
  test("require", { timeout: SLOW }, async () => {
    const file = await write(
      "require.cjs",
      `const { Redis } = require("ioredis");
       const { LockManager, LockError } = require("holdfast");
       const { RedisFence } = require("holdfast/fence");
       const { TestLocks } = require("holdfast/testing");
       (async () => {${use()}})();`,
    );
    expect(await node(file)).toBe(EXPECTED);
  });

  test("import", { timeout: SLOW }, async () => {
    const file = await write("import.mjs", `${IMPORTS}${use()}`);
    expect(await node(file)).toBe(EXPECTED);
  });

  test("both at once, and has it once", async () => {
    const file = await write(
      "both.mjs",
      `import { createRequire } from "node:module";
       import { LockError } from "holdfast";
       console.log(createRequire(import.meta.url)("holdfast").LockError === LockError);`,
    );
    expect(await node(file)).toBe("true");
  });

  test("its command", async () => {
    const { stdout } = await run(join(app, "node_modules/.bin/holdfast"), ["--version"]);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
  });
});

const IMPORTS = `
  import { Redis } from "ioredis";
  import { LockManager, LockError } from "holdfast";
  import { RedisFence } from "holdfast/fence";
  import { TestLocks } from "holdfast/testing";
`;

describe("esbuild bundles it, minified, without a warning,", () => {
  test.each(["cjs", "esm"] as const)("as %s", { timeout: SLOW }, async (format) => {
    const entry = await write("entry.mjs", `${IMPORTS}(async () => {${use()}})();`);
    const outfile = join(app, "esbuild", `out.${format === "cjs" ? "cjs" : "mjs"}`);
    const options = {
      entryPoints: [entry],
      outfile,
      format,
      bundle: true,
      minify: true,
      platform: "node",
      external: ["ioredis"],
    };
    const script = `const built = await (await import("esbuild")).build(${JSON.stringify(options)});
                    console.log(JSON.stringify(built.warnings.map(({ text }) => text)));`;
    expect(await node("--input-type=module", "-e", script)).toBe("[]");
    expect(await node(outfile)).toBe(EXPECTED);
  });
});

test("webpack bundles it, minified, without a warning", { timeout: SLOW }, async () => {
  const entry = await write("entry.mjs", `${IMPORTS}(async () => {${use()}})();`);
  const options = {
    entry,
    mode: "production",
    target: "node",
    externals: { ioredis: "commonjs ioredis" },
    output: { path: join(app, "webpack"), filename: "out.cjs" },
  };
  const script = `
    const { default: webpack } = await import("webpack");
    const stats = await new Promise((done, fail) => webpack(${JSON.stringify(options)}, (e, s) => (e ? fail(e) : done(s))));
    const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
    console.log(JSON.stringify([...errors, ...warnings].map(({ message }) => message)));`;
  expect(await node("--input-type=module", "-e", script)).toBe("[]");
  expect(await node(join(app, "webpack/out.cjs"))).toBe(EXPECTED);
});

describe("Jest loads it", () => {
  async function jest(name: string, text: string, options = ""): Promise<string> {
    await write(`jest/${name}`, text);
    const env = { ...process.env, NODE_OPTIONS: options };
    const file = join(app, "node_modules/jest/bin/jest.js");
    const args = [file, "--rootDir", join(app, "jest"), "--testMatch", `**/${name}`];
    return (await run(process.execPath, args, { cwd: app, env })).stderr;
  }
  const body = (): string => `
    test("holdfast", async () => {
      const said = [];
      const console = { log: (...words) => said.push(words.join(" ")) };
      ${use()}
      expect(said).toEqual(["${EXPECTED}"]);
    });`;

  test("as CommonJS, with its default settings", { timeout: SLOW }, async () => {
    const said = await jest(
      "common.test.js",
      `const { Redis } = require("ioredis");
       const { LockManager, LockError } = require("holdfast");
       const { RedisFence } = require("holdfast/fence");
       const { TestLocks } = require("holdfast/testing");
       ${body()}`,
    );
    expect(said).toContain("1 passed");
  });

  test("as a module", { timeout: SLOW }, async () => {
    const said = await jest("module.test.mjs", `${IMPORTS}${body()}`, "--experimental-vm-modules");
    expect(said).toContain("1 passed");
  });
});
