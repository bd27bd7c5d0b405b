/** The package as it is published, in an empty folder: every way to load it. */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
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

  test.each(["import", "require"] as const)(
    "%s: every entry that is code, under its own names",
    { timeout: SLOW },
    async (how) => {
      const { exports, peerDependencies } = JSON.parse(
        await readFile(join(app, "node_modules/holdfast/package.json"), "utf8"),
      );
      const entries = Object.keys(exports).filter((entry) => !/[*]|\.json$/.test(entry));
      // Loaded with nothing installed that the application does not have; of those that need a framework, see test/nestjs.
      const NEEDS: Record<string, string> = {
        "./nestjs": "@nestjs/common",
        "./nestjs/terminus": "@nestjs/common",
        "./otel": "@opentelemetry/api",
      };
      const load = how === "import" ? "await import(name)" : "require(name)";
      const names = entries.map((entry) => `holdfast${entry.slice(1)}`);
      const file = await write(
        `entries.${how === "import" ? "mjs" : "cjs"}`,
        `(async () => {
         const loaded = {};
         for (const name of ${JSON.stringify(names)}) {
           try {
             const given = Object.entries(${load}).filter(([key]) => key !== "default");
             const misnamed = given.filter(([key, value]) => typeof value === "function" && value.name !== key);
             loaded[name] = misnamed.length > 0 ? String(misnamed) : "loaded";
           }
           catch (error) { loaded[name] = /'(@[^/']+\\/[^/']+|[^/']+)/.exec(error.message)?.[1] ?? error.message; }
         }
         console.log(JSON.stringify(loaded));
       })();`,
      );
      const expected = entries.map((entry) => [`holdfast${entry.slice(1)}`, NEEDS[entry] ?? "loaded"]);
      expect(JSON.parse(await node(file))).toEqual(Object.fromEntries(expected));
      for (const peer of Object.values(NEEDS)) expect(Object.keys(peerDependencies)).toContain(peer);
    },
  );

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

test("Rollup bundles it without a warning", { timeout: SLOW }, async () => {
  const entry = await write("entry.mjs", `${IMPORTS}(async () => {${use()}})();`);
  const file = join(app, "rollup/out.mjs");
  const script = `
    import { rollup } from "rollup";
    import commonjs from "@rollup/plugin-commonjs";
    import { nodeResolve } from "@rollup/plugin-node-resolve";
    const warnings = [];
    const plugins = [nodeResolve({ preferBuiltins: true }), commonjs()];
    const input = ${JSON.stringify(entry)};
    const bundle = await rollup({ input, plugins, external: ["ioredis"], onwarn: ({ message }) => warnings.push(message) });
    await bundle.write({ file: ${JSON.stringify(file)}, format: "es" });
    console.log(JSON.stringify(warnings));`;
  expect(await node(await write("rollup.mjs", script))).toBe("[]");
  expect(await node(file)).toBe(EXPECTED);
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

  test("and fake timers do not stop it", { timeout: SLOW }, async () => {
    const said = await jest(
      "timers.test.js",
      `const { Redis } = require("ioredis");
       const { LockManager } = require("holdfast");
       const { TestLocks } = require("holdfast/testing");
       afterEach(() => jest.useRealTimers());
       test("on a server, with what docs/testing.md says", async () => {
         const redis = new Redis("${server.url}");
         const locks = new LockManager(redis);
         await locks.request("warm", () => undefined);
         jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate"] });
         const lock = await locks.acquire("x");
         await jest.advanceTimersByTimeAsync(3_600_000);
         expect(lock.held).toBe(true);
         expect(await lock.release()).toBe(true);
         await locks.close();
         redis.disconnect();
       });
       test("in memory, with all of them faked", async () => {
         jest.useFakeTimers();
         const world = new TestLocks();
         const [a, b] = [world.manager(), world.manager()];
         const lock = await a.acquire("x", { ttl: 1_000, renew: false });
         expect(await b.tryAcquire("x")).toBe(null);
         await jest.advanceTimersByTimeAsync(3_600_000);
         expect(lock.held).toBe(true);
         await world.clock.advance(1_001);
         expect(lock.held).toBe(false);
         await b.request("x", () => undefined);
         await Promise.all([a.close(), b.close()]);
       });`,
    );
    expect(said).toContain("2 passed");
  });
});

/** Uses what is public, with types. */
const PROGRAM = `import { Redis } from "ioredis";
     import { LockManager, LockLostError } from "holdfast";
     import type { Lock, LockEvents } from "holdfast";
     import { RedisFence } from "holdfast/fence";
     import { TestLocks } from "holdfast/testing";
     import Redlock from "holdfast/redlock";
     export const locks: LockManager = new LockManager(new Redis());
     export const value: Promise<number> = locks.request("a", async (lock: Lock) => lock.fence);
     export const isLost = (error: unknown): boolean => error instanceof LockLostError && error.reason === "expired";
     export type Granted = LockEvents["holdfast:granted"]["fence"];
     export const all = [RedisFence, TestLocks, Redlock];
     export async function use(): Promise<boolean> {
       await using lock = await locks.acquire("b", { ttl: 1_000 });
       return lock.held;
     }
     // @ts-expect-error: so that the test can fail
     locks.request(1, () => 1);`;

/** What each version takes: old "node" is gone from 7. */
const resolutions = (compiler: string): string[] => [
  "node16",
  "nodenext",
  "bundler",
  ...(compiler === "typescript7" ? [] : ["node"]),
];

describe.each(["typescript54", "typescript59", "typescript6", "typescript7"])("%s", (compiler) => {
  test.each(resolutions(compiler))("with moduleResolution %s", { timeout: SLOW }, async (moduleResolution) => {
    const module = { node16: "node16", nodenext: "nodenext", bundler: "esnext", node: "commonjs" }[moduleResolution];
    const more = compiler === "typescript6" && moduleResolution === "node" ? { ignoreDeprecations: "6.0" } : {};
    // Of ours; the types of client libraries are not looked at.
    const compilerOptions = {
      target: "es2022",
      lib: ["es2023", "esnext.disposable"],
      types: ["node"],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      esModuleInterop: true,
      module,
      moduleResolution,
      ...more,
    };
    await write("program.ts", PROGRAM);
    const file = join(app, `tsconfig.${compiler}.${moduleResolution}.json`);
    await writeFile(file, JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    const { bin } = JSON.parse(await readFile(join(app, "node_modules", compiler, "package.json"), "utf8")) as {
      bin: { tsc: string };
    };
    const args = [join(app, "node_modules", compiler, bin.tsc), "-p", file];
    const { stdout } = await run(process.execPath, args, { cwd: app }).catch((error: { stdout: string }) => error);
    expect(stdout).toBe("");
  });
});
