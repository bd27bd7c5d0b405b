import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { idlePort, startServer } from "../../scripts/servers.ts";
import { failureOf } from "../../src/cli/failures.ts";
import { interpret } from "../../src/cli/program.ts";
import { ExitCode } from "../../src/cli/exit-codes.ts";
import { built, useCommandLine, installBeside } from "../support/cli.ts";

const cli = useCommandLine();

const root = dirname(dirname(dirname(built)));

/** How the command line ends, in this process: before anything is sent, so without a server. */
async function refusal(args: string[]): Promise<{ exitCode: number; message: string }> {
  const error: unknown = await interpret(args).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const { exitCode, message } = failureOf(error);
  return { exitCode, message };
}

describe("wrong usage exits 64 and is not sent", () => {
  test.each([
    ["no command", [], 'no command given; "holdfast help" lists the commands'],
    ["an unknown command", ["lock"], "unknown command 'lock'"],
    ["help for an unknown command", ["help", "lock"], 'unknown command "lock"'],
    ["an unknown option", ["ls", "--all"], "unknown option '--all'"],
    ["an option before the command", ["--redis", "a", "ls"], "options follow the command: holdfast COMMAND --redis"],
    ["a missing name", ["show"], "the lock's name is missing"],
    ["too many arguments", ["show", "a", "b"], "too many arguments"],
    ["no command to run", ["exec", "a"], 'no command to run. Write it after "--": holdfast exec a -- COMMAND'],
    ["no command behind --", ["once", "a", "--at-most", "1m", "--"], 'no command to run. Write it after "--"'],
    ["an option that another command has", ["elect", "a", "--wait", "1s", "--", "true"], "unknown option '--wait'"],
    [
      "a misspelt option",
      ["exec", "a", "--wiat", "1s", "--", "true"],
      "unknown option '--wiat' (did you mean --wait?)",
    ],
    ["a name that starts with -", ["exec", "-a", "--", "true"], "unknown option '-a'"],
    ["another name that starts with -", ["exec", "a", "--lock=-b", "--", "true"], 'must not start with "-": "-b"'],
    ["an empty name, as of a variable that is not set", ["exec", "", "--", "true"], "the lock's name is empty"],
    ["another empty name", ["exec", "a", "--lock", "", "--", "true"], "the lock's name is empty"],
    ["a name that is too long", ["show", "a".repeat(1025)], "at most 1024 bytes of UTF-8; this one has 1025"],
    ["a duration without unit", ["exec", "a", "--ttl", "30", "--", "true"], "Expected a duration with its unit"],
    ["a negative duration", ["exec", "a", "--wait=-1s", "--", "true"], "Expected a duration with its unit"],
    ["a word for a duration", ["exec", "a", "--grace", "soon", "--", "true"], "Expected a duration with its unit"],
    [
      "a ttl that is too short",
      ["exec", "a", "--ttl", "10ms", "--", "true"],
      '--ttl cannot be "10ms". Expected at least 50ms',
    ],
    [
      "--at-most that is too short",
      ["once", "a", "--at-most", "0", "--", "true"],
      '--at-most cannot be "0". Expected at least 50ms',
    ],
    [
      "--at-least that is longer than --at-most",
      ["once", "a", "--at-least", "1m", "--at-most", "30s", "--", "true"],
      "--at-least 1m must not be longer than --at-most 30s",
    ],
    ["a label that is too long", ["exec", "a", "--label", "a".repeat(257), "--", "true"], "Expected at most 256"],
    ["a prefix that cannot be one", ["ls", "--prefix", "a{b"], '--prefix cannot be "a{b". '],
    ["no replicas", ["exec", "a", "--replicas", "0", "--", "true"], "Expected a whole number from 1 to 1000"],
    ["half a replica", ["exec", "a", "--replicas", "0.5", "--", "true"], "Expected a whole number from 1 to 1000"],
    ["no exit code", ["exec", "a", "--conflict-exit-code", "256", "--", "true"], "a whole number from 0 to 255"],
    ["an unknown scheme", ["ls", "--scheme", "redlock"], '--scheme cannot be "redlock". Expected one of: lua, set.'],
    [
      "a mode that the scheme lacks",
      ["exec", "a", "--shared", "--scheme", "set", "--", "true"],
      "--scheme set has exclusive locks only; leave out --shared",
    ],
    [
      "permits that the scheme lacks",
      ["exec", "a", "--permits", "1/2", "--scheme", "set", "--", "true"],
      "--scheme set has exclusive locks only; leave out --permits",
    ],
    ["no address of a server", ["ls", "--redis", "localhost:6379"], "as redis://"],
    ["an empty address", ["ls", "--redis", ""], "as redis://"],
    ["an option without its value", ["ls", "--prefix"], "--prefix needs a value"],
  ])("%s", async (_, args, message) => {
    expect(await refusal(args)).toEqual({ exitCode: 64, message: expect.stringContaining(message) });
  });

  test("on stderr, and prints nothing", async () => {
    const { code, stdout, stderr } = await cli.run(["exec", "a", "--ttl", "10", "--", "true"]);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toMatch(/^holdfast: --ttl cannot be "10"\. Expected a duration .*\n$/);
  });

  test.each(["", "  "])("a REDIS_URL that says nothing (%j), instead of using this machine", async (REDIS_URL) => {
    for (const args of [["ls"], ["exec", "a", "--", "true"], ["once", "a", "--at-most", "1m", "--", "true"]]) {
      const { code, stderr } = await cli.run(args, { REDIS_URL });
      expect({ code, stderr }).toEqual({
        code: 64,
        stderr:
          "holdfast: REDIS_URL is empty. Set it to the server's URL, or unset it to use redis://127.0.0.1:6379.\n",
      });
    }
  });

  test.each([
    ["--permits", "1/2"],
    ["--replicas", "1"],
    ["--scheme", "set"],
  ])("%s over several servers", async (...option) => {
    const servers = ["--redis", "redis://a", "--redis", "redis://b", "--redis", "redis://c"];
    expect(await refusal(["exec", "a", ...servers, ...option, "--", "true"])).toEqual({
      exitCode: 64,
      message:
        `${option[0]} needs a single server, but --redis or REDIS_URL names 3. ` +
        "Several servers are Redlock, which has no permits, replicas or other schemes.",
    });
  });
});

describe('a forgotten "--" is explained, with the line that was meant', () => {
  test.each([
    [["exec", "a", "true"], "holdfast exec a -- true"],
    [["exec", "a", "--wait", "5s", "make", "build"], "holdfast exec a --wait 5s -- make build"],
    [["exec", "a", "--wait=5s", "make", "-j8", "--wait"], "holdfast exec a --wait=5s -- make -j8 --wait"],
    [["exec", "--shared", "a", "sh", "-c", "it's"], "holdfast exec --shared a -- sh -c 'it'\\''s'"],
    [["elect", "a", "--quiet", "run", "me"], "holdfast elect a --quiet -- run me"],
    [["once", "a", "--at-most", "1h", "report"], "holdfast once a --at-most 1h -- report"],
  ])("%j", async (args, meant) => {
    const message = `"--" is missing before the command. Try: ${meant}`;
    expect(await refusal(args)).toEqual({ exitCode: 64, message });
  });

  test("and a name with a space that was not quoted is no command", async () => {
    const message = `expected one name before "--", got my lock. Put quotes around a name with spaces`;
    expect(await refusal(["exec", "my", "lock", "--wait", "1s", "--", "true"])).toEqual({
      exitCode: 64,
      message: expect.stringContaining(message),
    });
  });
});

describe("help", () => {
  const commands = ["exec", "elect", "once", "ls", "show", "release"];
  const texts = new Map<string, string>();
  const textOf = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await cli.run(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };

  beforeAll(async () => {
    for (const command of commands) texts.set(command, await textOf(command, "--help"));
    texts.set("", await textOf("--help"));
  });

  test.each(["", ...commands])("holdfast %s --help is on stdout, in 80 columns, with examples", (command) => {
    const text = texts.get(command) ?? "";
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(text).toMatch(/\nExamples:\n {2}holdfast /);
  });

  test.each(["", "exec", "elect", "once"])("holdfast %s --help has every exit code", (command) => {
    for (const exitCode of Object.values(ExitCode)) expect(texts.get(command)).toContain(` ${exitCode}  `);
  });

  test("is the same by every name", async () => {
    for (const args of [["-h"], ["help"]]) expect(await textOf(...args)).toBe(texts.get(""));
    for (const args of [
      ["exec", "-h"],
      ["help", "exec"],
    ]) {
      expect(await textOf(...args)).toBe(texts.get("exec"));
    }
  });

  test("is not given for an option of the command to run", async () => {
    const { stdout } = await cli.run(["exec", "a", "--", "echo", "-h", "--help", "--version"]);
    expect(stdout).toBe("-h --help --version\n");
  });

  test.each(["-V", "--version"])("%s prints the version of the package", async (option) => {
    const { version } = createRequire(import.meta.url)(join(root, "package.json")) as { version: string };
    expect(await cli.run([option])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });
});

describe.each(["ioredis", "redis"])("with %s, a server that cannot be used exits 69 with one line", (client) => {
  test("when it is down, without telling the password", async () => {
    const redis = `redis://user:secret@127.0.0.1:${idlePort()}`;
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
    expect(stderr).toMatch(/^holdfast: .*--scheme set, which needs no scripts\. \(holdfast explain no-scripting\)\n$/);
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
    expect(stderr).toMatch(/^holdfast: .*npm install ioredis \(holdfast explain no-client\)\n$/);
  });
});
