import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { randomPort, startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { built, CommandLine, installBeside } from "../support/cli.ts";

let server: Server;
let cli: CommandLine;

beforeAll(async () => {
  server = await startServer();
  cli = new CommandLine(server.url);
});
afterEach(() => cli.endAll());
afterAll(async () => {
  await cli.close();
  await server.stop();
});

const root = dirname(dirname(dirname(built)));

describe("wrong usage exits 64 with one line and is not sent", () => {
  test.each([
    ["an unknown command", ["lock"], "unknown command 'lock'"],
    ["an unknown option", ["ls", "--all"], "unknown option '--all'"],
    ["a missing name", ["show"], "missing required argument 'name'"],
    ["too many arguments", ["show", "a", "b"], "too many arguments"],
    ["no command to run", ["exec", "a"], 'no command to run. Write it after "--"'],
    ["a name that starts with -", ["exec", "-a", "--", "true"], "unknown option '-a'"],
    ["a name that is too long", ["show", "a".repeat(1025)], "at most 1024 bytes"],
    ["a duration without unit", ["exec", "a", "--ttl", "30", "--", "true"], "Expected a duration with its unit"],
    ["a negative duration", ["exec", "a", "--wait=-1s", "--", "true"], "Expected a duration with its unit"],
    ["a word for a duration", ["exec", "a", "--grace", "soon", "--", "true"], "Expected a duration with its unit"],
    [
      "a ttl that is too short",
      ["exec", "a", "--ttl", "10ms", "--", "true"],
      "argument '10ms' is invalid. Expected at least 50ms",
    ],
    ["an unknown scheme", ["ls", "--scheme", "redlock"], "Allowed choices are lua, set"],
    [
      "a mode that the scheme lacks",
      ["exec", "a", "--shared", "--scheme", "set", "--", "true"],
      "--scheme set has exclusive locks only; leave out --shared",
    ],
    ["no address of a server", ["ls", "--redis", "localhost:6379"], "as redis://"],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await cli.run(args);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toMatch(/^holdfast: .*\n$/);
    expect(stderr).toContain(message);
  });
});

describe("help", () => {
  test("stands on stdout, in 80 columns, with every exit code", async () => {
    for (const args of [["--help"], ["exec", "--help"], ["ls", "--help"], ["show", "--help"], ["release", "--help"]]) {
      const { code, stdout, stderr } = await cli.run(args);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
    }
    const { stdout } = await cli.run(["exec", "--help"]);
    for (const exitCode of [64, 69, 70, 71, 75, 126, 127]) expect(stdout).toContain(` ${exitCode}  `);
  });

  test("--version prints the version of the package", async () => {
    const { version } = createRequire(import.meta.url)(join(root, "package.json")) as { version: string };
    expect(await cli.run(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });
});

describe.each(["ioredis", "redis"])("with %s, a server that cannot be used exits 69 with one line", (client) => {
  test("when it is down, without telling the password", async () => {
    const redis = `redis://user:secret@127.0.0.1:${randomPort()}`;
    for (const args of [["ls"], ["exec", "a", "--", "true"]]) {
      const [command = "", ...rest] = args;
      const { code, stderr } = await cli.run([command, "--client", client, "--redis", redis, ...rest].flat());
      expect(code).toBe(69);
      expect(stderr).toMatch(/^holdfast: redis:\/\/…@127\.0\.0\.1:\d+: .*ECONNREFUSED.*\n$/);
    }
  });

  test("when it does not answer", async () => {
    const frozen = await startServer();
    onTestFinished(() => frozen.stop());
    frozen.freeze();
    const { code, stderr } = await cli.run(["ls", "--client", client, "--redis", frozen.url]);
    expect(code).toBe(69);
    expect(stderr).toMatch(/^holdfast: .*no answer within 4s.*\n$/);
  });

  test("when it wants a password", async () => {
    const guarded = await startServer({ args: ["--requirepass", "secret"] });
    onTestFinished(() => guarded.stop());
    const { code, stderr } = await cli.run(["ls", "--client", client, "--redis", guarded.url]);
    expect(code).toBe(69);
    expect(stderr).toMatch(/^holdfast: .*NOAUTH.*user and password.*\n$/);
  });

  test("when it has no scripting, and says which scheme needs none", async () => {
    const bare = await startServer({ args: ["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""] });
    onTestFinished(() => bare.stop());
    const args = ["exec", "a", "--client", client, "--redis", bare.url];
    const { code, stderr } = await cli.run([...args, "--", "true"]);
    expect(code).toBe(69);
    expect(stderr).toMatch(/^holdfast: .*--scheme set, which needs no scripts\.\n$/);
    expect((await cli.run([...args, "--scheme", "set", "--", "true"])).code).toBe(0);
  });
});

describe("client libraries", () => {
  const main = "dist/cli/main.js";

  test.each(["ioredis", "iovalkey", "redis"])("%s is enough", async (library) => {
    const folder = await installBeside(onTestFinished, library);
    const run = cli.startProgram(process.execPath, [join(folder, main), "exec", "a", "--", "echo", "ran"]);
    expect(await run.ended).toMatchObject({ code: 0, stdout: "ran\n", stderr: "" });
  });

  test("where there is none, it exits 69 and says what to install", async () => {
    const folder = await installBeside(onTestFinished);
    const { code, stderr } = await cli.startProgram(process.execPath, [join(folder, main), "ls"]).ended;
    expect(code).toBe(69);
    expect(stderr).toMatch(/^holdfast: .*npm install ioredis\n$/);
  });
});
