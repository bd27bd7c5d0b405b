import { spawnSync } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { built, useCommandLine, hasGone, stateOf, useFolder } from "../support/cli.ts";
import type { Run } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();

/** A shell that traps as told and then waits, without a child; it prints its pid when it does. */
async function start(traps: string): Promise<{ run: Run; pid: number }> {
  const script = `${traps}; echo pid $$.; while :; do read line; done`;
  const run = cli.start(["exec", unique(), "--", "sh", "-c", script]);
  await run.hasPrinted(".");
  return { run, pid: Number(/pid (\d+)/.exec(run.stdout)?.[1]) };
}

describe("signals", () => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"] as const)(
    "%s is forwarded to the command",
    async (signal) => {
      const { run } = await start(`trap 'echo caught; exit 7' ${signal.slice(3)}`);
      run.signal(signal);
      expect(await run.ended).toMatchObject({ code: 7, stdout: expect.stringContaining("caught"), stderr: "" });
    },
  );

  test("that end the command give 128 + their number", async () => {
    const { run } = await start("true");
    run.signal("SIGINT");
    expect((await run.ended).code).toBe(130);
  });

  test("are forwarded again while the command takes its time to stop", async () => {
    const { run } = await start("trap 'echo first; trap \"exit 8\" INT' INT");
    run.signal("SIGINT");
    await run.hasPrinted("first");
    run.signal("SIGINT");
    expect((await run.ended).code).toBe(8);
  });

  test("reach the command's own children too", async () => {
    const { run } = await start("sleep 60 & echo child $!,");
    const child = Number(/child (\d+),/.exec(run.stdout)?.[1]);
    run.signal("SIGTERM");
    await run.ended;
    await hasGone(child);
  });
});

describe("SIGTSTP, which Ctrl-Z sends,", () => {
  test("suspends the command with holdfast, and SIGCONT continues both", async () => {
    const { run, pid } = await start("trap 'echo goes on; exit 5' USR1");
    run.signal("SIGTSTP");
    await until(async () => (await stateOf(run.pid)) === "T", "holdfast stood still");
    await until(async () => (await stateOf(pid)) === "T", "the command stood still");
    run.signal("SIGCONT");
    await until(async () => (await stateOf(pid)) !== "T", "the command went on");
    run.signal("SIGUSR1");
    expect((await run.ended).code).toBe(5);
  });

  test("never lets a command go on whose lock was lost in the meantime", async () => {
    const file = join(await useFolder(onTestFinished), "written");
    const script = `echo pid $$.; while :; do echo x; done > '${file}'`;
    const run = cli.start(["exec", unique(), "--ttl", "2s", "--", "sh", "-c", script]);
    await run.hasPrinted(".");
    const pid = Number(/pid (\d+)/.exec(run.stdout)?.[1]);
    run.signal("SIGTSTP");
    await until(async () => (await stateOf(pid)) === "T", "the command stood still");
    await until(async () => (await stateOf(run.pid)) === "T", "holdfast stood still");
    const { size } = await stat(file);
    await sleep(2_000);
    run.signal("SIGCONT");
    expect(await run.ended).toMatchObject({ code: 70, stderr: expect.stringContaining("holdfast: lost ") });
    expect((await stat(file)).size).toBe(size);
  });
});

/** As in a container: the first process of its own. */
const inContainer = ["--pid", "--fork", "--mount-proc", "--kill-child"];
const canContain = spawnSync("unshare", [...inContainer, "true"]).status === 0;

test.runIf(canContain)("as PID 1 holdfast forwards signals, and passes on the exit code", async () => {
  const script = "trap 'echo caught; exit 7' TERM; echo pid $PPID.; while :; do sleep 0.05; done";
  const words = [process.execPath, built, "exec", unique(), "--", "sh", "-c", script];
  const run = cli.startProgram("unshare", [...inContainer, ...words]);
  await run.hasPrinted("pid 1.");
  const children = await readFile(`/proc/${run.pid}/task/${run.pid}/children`, "utf8");
  process.kill(Number(children.trim()), "SIGTERM");
  expect(await run.ended).toMatchObject({ code: 7, stdout: "pid 1.\ncaught\n" });
});
