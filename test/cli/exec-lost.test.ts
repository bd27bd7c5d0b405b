import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { built, useCommandLine, hasGone, stateOf, useFolder } from "../support/cli.ts";
import type { Run } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine("test");

/** A shell with a child, both with the same trap for SIGTERM; it prints both pids. */
async function startFamily(trap: string, options: string[]): Promise<{ run: Run; pids: number[] }> {
  const loop = "while :; do sleep 0.05; done";
  const script = `trap ${trap} TERM; (${loop}) & echo pids $$ $!.; ${loop}`;
  const run = cli.start(["exec", unique(), ...options, "--", "sh", "-c", script]);
  await run.hasPrinted(".");
  const [, ...pids] = /pids (\d+) (\d+)/.exec(run.stdout) ?? [];
  return { run, pids: pids.map(Number) };
}

test("a lock that is released by force stops the command with SIGTERM, and gives 70", async () => {
  const name = unique();
  const script = "trap 'echo stopped; exit 0' TERM; echo held; while :; do sleep 0.05; done";
  const run = cli.start(["exec", name, "--", "sh", "-c", script]);
  await run.hasPrinted("held");
  expect((await cli.run(["release", name, "--force"])).code).toBe(0);
  const { code, stdout, stderr } = await run.ended;
  expect({ code, stdout }).toEqual({ code: 70, stdout: "held\nstopped\n" });
  expect(stderr).toContain(`holdfast: lost "${name}" (fence `);
  expect(stderr).toContain("): it was taken by force; stopping the command");
});

test.each(["ioredis", "redis"])(
  "a server that does not answer does not keep the command alive (%s)",
  async (client) => {
    const { run, pids } = await startFamily("''", ["--ttl", "1s", "--grace", "200ms", "--client", client]);
    cli.server.freeze();
    const { code, stderr } = await run.ended;
    expect(code).toBe(70);
    expect(stderr).toContain("): the server could not be reached to renew it");
    for (const pid of pids) await hasGone(pid);
  },
);

test("a server that is gone does not keep the command alive", async () => {
  const { run, pids } = await startFamily("-", ["--ttl", "1s"]);
  await cli.server.crash();
  const { code, stderr } = await run.ended;
  expect(code).toBe(70);
  expect(stderr).toMatch(/^holdfast: lost .*: the server could not be reached to renew it; .*\n$/);
  for (const pid of pids) await hasGone(pid);
});

test("a suspended command is stopped too, with SIGTERM", async () => {
  const name = unique();
  const script = "trap 'echo stopped; exit' TERM; echo pid $$.; kill -STOP $$; while :; do sleep 0.05; done";
  const run = cli.start(["exec", name, "--", "sh", "-c", script]);
  await run.hasPrinted(".");
  const pid = Number(/pid (\d+)/.exec(run.stdout)?.[1]);
  await until(async () => (await stateOf(pid)) === "T", "the command stood still");
  await cli.forceRelease(name);
  expect(await run.ended).toMatchObject({ code: 70, stdout: expect.stringContaining("stopped") });
});

test("a standing stderr does not delay the end of the command", async () => {
  const name = unique();
  // The command fills the pipe that is its stdout and holdfast's stderr, and nobody reads it.
  const script = 'mkfifo "$0/pipe"; exec 3<>"$0/pipe"; exec "$@" >&3 2>&3';
  const folder = await useFolder(onTestFinished);
  const loop = 'echo $$ > "$0/pid"; trap "" TERM; while :; do echo y; done';
  const command = ["exec", name, "--grace", "200ms", "--", "sh", "-c", loop, folder];
  cli.startProgram("sh", ["-c", script, folder, process.execPath, built, ...command]);
  const pid = Number(await until(() => readFile(join(folder, "pid"), "utf8"), "the command ran"));
  await cli.forceRelease(name);
  await hasGone(pid);
});

test("the end of the command is passed on when the server is gone by then", async () => {
  const folder = await useFolder(onTestFinished);
  const go = join(folder, "go");
  const script = `echo held; until [ -e '${go}' ]; do sleep 0.05; done; exit 4`;
  const run = cli.start(["exec", unique(), "--", "sh", "-c", script]);
  await run.hasPrinted("held");
  await cli.server.crash();
  await writeFile(go, "");
  const { code, stderr } = await run.ended;
  expect(code).toBe(4);
  expect(stderr).toMatch(/^holdfast: the server did not confirm the release of ".*"; it will be free within 30s\n$/);
});

test("a command that succeeded without its lock gives 70, and one that failed its own code", async () => {
  const folder = await useFolder(onTestFinished);
  const go = join(folder, "go");
  const wait = `echo held; until [ -e '${go}' ]; do sleep 0.05; done`;
  const names = [unique(), unique()];
  const runs = names.map((name, i) => cli.start(["exec", name, "--wait", "0", "--", "sh", "-c", `${wait}; exit ${i}`]));
  for (const run of runs) await run.hasPrinted("held");
  await cli.server.restart(); // it remembers nothing, and with a lease of 30 s nobody has asked it yet
  await writeFile(go, "");
  const ended = await Promise.all(runs.map((run) => run.ended));
  expect(ended.map(({ code }) => code)).toEqual([70, 1]);
  for (const { stderr } of ended) expect(stderr).toContain("holdfast: lost ");
});

test("a bug of holdfast's own stops the command", async () => {
  const folder = await useFolder(onTestFinished);
  const go = join(folder, "go");
  const bug = `import { existsSync } from "node:fs";
    setInterval(() => { if (existsSync(${JSON.stringify(go)})) throw new Error("a bug"); }, 20).unref();`;
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(bug)}`;
  const run = cli.start(["exec", unique(), "--", "sh", "-c", "echo pid $$.; exec sleep 60"], { NODE_OPTIONS });
  await run.hasPrinted(".");
  await writeFile(go, "");
  const { code, stderr } = await run.ended;
  expect({ code, said: stderr.includes("unexpected failure, please report it: Error: a bug") }).toEqual({
    code: 71,
    said: true,
  });
  await hasGone(Number(/pid (\d+)/.exec(run.stdout)?.[1]));
});
