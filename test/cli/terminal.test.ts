import { describe, expect, test } from "vitest";
import { built, useCommandLine, hasGone, stateOf } from "../support/cli.ts";
import type { Run } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();

const CTRL_C = "\x03";
const CTRL_Z = "\x1a";

function caught({ stdout }: Run): number {
  return stdout.match(/caught/g)?.length ?? 0;
}

test("the command reads what is typed", async () => {
  const run = cli.startInTerminal(["exec", unique(), "--", "sh", "-c", "echo ready; read line; echo got $line"]);
  await run.hasPrinted("ready");
  run.type("hello\n");
  expect(await run.ended).toMatchObject({ code: 0, stdout: expect.stringContaining("got hello") });
});

test("a table is as wide as the terminal", async () => {
  const name = "n".repeat(100);
  await cli.redis.set(`lock:${name}`, "theirs", "PX", 60_000);
  const run = cli.startProgram("script", [
    "-qec",
    `stty cols 160; exec '${process.execPath}' '${built}' show ${name}`,
    "/dev/null",
  ]);
  expect((await run.ended).stdout).toContain(`\n${name}  exclusive`);
});

describe("Ctrl-C", () => {
  test("reaches the command, once", async () => {
    const script = "trap 'echo caught' INT; echo ready; read line; read line; echo got $line; exit 6";
    const run = cli.startInTerminal(["exec", unique(), "--", "sh", "-c", script]);
    await run.hasPrinted("ready");
    run.type(CTRL_C);
    await run.hasPrinted("caught");
    run.type("one\ntwo\n");
    const { code } = await run.ended;
    expect({ code, caught: caught(run) }).toEqual({ code: 6, caught: 1 });
  });

  test("the third time in a row kills a command that ignores it, with its children; the second says so", async () => {
    const script = "trap 'echo caught' INT; sleep 61 & echo ready $!.; while :; do sleep 0.05; done";
    const run = cli.startInTerminal(["exec", unique(), "--", "sh", "-c", script]);
    await run.hasPrinted(".");
    // On a slow machine they may be further apart than a row's are.
    let pressed = 0;
    for (let killed = false; !killed;) {
      run.type(CTRL_C);
      pressed++;
      await until(() => run.over || caught(run) >= pressed, `Ctrl-C number ${pressed} was caught, or killed`);
      killed = run.over;
    }
    expect(pressed).toBeGreaterThanOrEqual(3);
    const { code, stdout } = await run.ended;
    expect(code).toBe(137);
    expect(stdout).toContain("Ctrl-C once more within 2s kills the command (SIGKILL)");
    await hasGone(Number(/ready (\d+)/.exec(run.stdout)?.[1]));
  });

  test("a command that ignores the first one is told of the others, if it still runs then", async () => {
    const script = "trap '' INT; echo ready; read line";
    const run = cli.startInTerminal(["exec", unique(), "--", "sh", "-c", script]);
    await run.hasPrinted("ready");
    run.type(CTRL_C);
    await run.hasPrinted("the command was sent SIGINT and still runs; Ctrl-C three times in a row kills it (SIGKILL)");
    run.type("\n");
    expect((await run.ended).code).toBe(0);
  });

  test("kills nothing if there is more time in between, as at a prompt", async () => {
    const script = "trap 'echo caught' INT; echo ready; until read line; do :; done";
    const run = cli.startInTerminal(["exec", unique(), "--quiet", "--", "sh", "-c", script]);
    await run.hasPrinted("ready");
    run.type(CTRL_C);
    await until(() => caught(run) === 1, "the first reached the command");
    const pressed = performance.now();
    await until(() => performance.now() > pressed + 2_100, "more than two seconds had passed");
    for (const count of [2, 3]) {
      run.type(CTRL_C);
      await until(() => caught(run) === count, `Ctrl-C number ${count} reached the command`);
    }
    run.type("\n");
    expect(await run.ended).toMatchObject({ code: 0, stdout: expect.not.stringContaining("kills") });
  });
});

describe.runIf(process.platform === "linux")("in a shell with job control", () => {
  /** With the command typed in. What is waited for stands there in pieces, because the shell echoes it. */
  function type(command: string): Run {
    const shell = cli.startShell();
    shell.type(`alias hf='${process.execPath} ${built}'\n`);
    shell.type(`${command}\n`);
    return shell;
  }

  test("a background job takes nothing of what is typed at the shell: its stdin is empty", async () => {
    const shell = type(`hf exec '${unique()}' -- sh -c 'cat; echo "en""ded"; exec sleep 60' &`);
    await shell.hasPrinted("ended");
    shell.type("echo ty''ped\n");
    await shell.hasPrinted("typed");
    shell.type("kill %1; exit\n");
    await shell.ended;
  });

  test("a suspended command that reads the terminal is not continued in the background, and is in the foreground", async () => {
    const shell = type(
      `hf exec '${unique()}' -- sh -c 'echo "re""ady" $PPID.; while read l; do echo "got"" $l"; done'`,
    );
    await until(() => /ready \d+\./.test(shell.stdout), "the command ran");
    shell.type(CTRL_Z);
    await shell.hasPrinted("Stopped");
    shell.type("bg\n");
    await shell.hasPrinted(
      "holdfast: the command reads the terminal, so it cannot run in the background; continue it with fg",
    );
    const pid = Number(/ready (\d+)\./.exec(shell.stdout)?.[1]);
    await until(async () => (await stateOf(pid)) === "T", "holdfast stood still again");
    shell.type("echo ty''ped\n");
    await shell.hasPrinted("typed");
    shell.type("fg\n");
    shell.type("hello\n");
    await shell.hasPrinted("got hello");
    expect(shell.stdout).not.toContain("got echo");
    shell.type("\x04");
    shell.type("exit\n");
    await shell.ended;
  });

  test("a suspended command that does not read the terminal goes on in the background", async () => {
    const script = 'echo "re""ady"; while :; do sleep 0.05; done';
    const shell = type(`hf exec '${unique()}' -- sh -c '${script}' </dev/null`);
    await shell.hasPrinted("ready");
    shell.type(CTRL_Z);
    await shell.hasPrinted("Stopped");
    shell.type("bg\n");
    shell.type("jobs; echo li''sted\n");
    await shell.hasPrinted("listed");
    await until(() => shell.stdout.includes("Running"), `the job ran: ${shell.stdout}`);
    shell.type("kill %1; exit\n");
    await shell.ended;
  });
});
