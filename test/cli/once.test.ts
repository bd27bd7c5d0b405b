import { hostname } from "node:os";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import type { Server } from "../../scripts/servers.ts";
import { CommandLine } from "../support/cli.ts";
import { unique } from "../support/locks.ts";

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

const once = (name: string, ...options: string[]) => ["once", name, "--at-most", "1h", ...options];

test("of several machines one runs the command, and the others end with 0 and say who did", async () => {
  const name = unique();
  const args = [...once(name, "--at-least", "30s"), "--", "echo", "ran"];
  const ended = await Promise.all([cli.run(args), cli.run(args), cli.run(args)]);
  expect(ended.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(ended.map(({ stdout }) => stdout).sort()).toEqual(["", "", "ran\n"]);
  const others = ended.filter(({ stdout }) => stdout === "");
  for (const { stderr } of others) {
    expect(stderr).toMatch(/^holdfast: skipped ".*": (already done by \S+|\S+ is running it) \(started 20\S+Z\)/);
    expect(stderr).toContain(` ${hostname()}:`);
  }
});

test("a command that fails has its exit code passed on, has run, and is told as failed", async () => {
  const name = unique();
  const args = once(name, "--at-least", "30s");
  expect((await cli.run([...args, "--", "sh", "-c", "exit 3"])).code).toBe(3);
  const { code, stdout, stderr } = await cli.run([...args, "--", "echo", "ran"]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  expect(stderr).toMatch(/: it failed on \S+ \(started \S+\); can run again in \d+s\n$/);
  expect((await cli.run([...args, "--quiet", "--", "echo", "ran"])).stderr).toBe("");
});

test("without --at-least the command can be run again at once", async () => {
  const name = unique();
  for (let i = 0; i < 2; i++) expect((await cli.run([...once(name), "--", "echo", "ran"])).stdout).toBe("ran\n");
});

test("a command that takes longer than --at-most is stopped, with exit code 70", async () => {
  const args = ["once", unique(), "--at-most", "1500ms", "--", "sh", "-c", "echo runs; exec sleep 60"];
  expect(await cli.run(args)).toMatchObject({ code: 70, stdout: "runs\n" });
});

test("SIGTERM reaches the command, and the lock stays kept", async () => {
  const name = unique();
  const run = cli.start([...once(name, "--at-least", "30s"), "--", "sh", "-c", "echo runs; exec sleep 60"]);
  await run.hasPrinted("runs");
  run.signal("SIGTERM");
  expect((await run.ended).code).toBe(143);
  expect((await cli.stateOf(name)).held).toHaveLength(1);
});

test.each([
  [["once", "a", "--", "true"], "required option '--at-most <time>' not specified"],
  [["once", "a", "--at-most", "1s", "--at-least", "2s", "--", "true"], "--at-least 2s is longer than --at-most 1s"],
  [["once", "a", "--at-most", "1", "--", "true"], "duration with its unit"],
])("%j is wrong usage", async (args, message) => {
  const { code, stderr } = await cli.run(args);
  expect(code).toBe(64);
  expect(stderr).toContain(message);
});
