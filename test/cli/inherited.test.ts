import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { built, useCommandLine, launcher, useFolder } from "../support/cli.ts";
import { unique } from "../support/locks.ts";

const cli = useCommandLine();

/** What a script prints that runs `words` as "$@". */
async function output(script: string, ...words: string[]): Promise<string> {
  const { stdout, stderr } = await cli.startProgram("sh", ["-c", script, "sh", ...words]).ended;
  expect(stderr).toBe("");
  return stdout;
}

const exec = (...command: string[]): string[] => [launcher, "exec", unique(), "--", ...command];

// Other systems do not tell what a process ignores, and what it has open.
describe.runIf(process.platform === "linux")("the command inherits what a shell's command would:", () => {
  const ignored = ["sh", "-c", "grep SigIgn /proc/self/status"];

  test.each([
    ["no ignored signal", 'exec "$@"'],
    ["ignored signals", "trap '' HUP INT TERM USR1 PIPE TSTP; exec \"$@\""],
    ["a hangup that nohup ignores", 'nohup "$@" 2>&1'],
    ["the signals that a script's background job ignores", '"$@" & wait'],
  ])("%s", async (_, script) => {
    const expected = await output(script, ...ignored);
    expect(await output(script, ...exec(...ignored))).toBe(expected);
  });

  test("descriptors, with gaps between them, and no other", async () => {
    const folder = await useFolder(onTestFinished);
    const file = join(folder, "file");
    await writeFile(file, "");
    const script = `exec "$@" 3<'${file}' 5>>'${file}' 9<&3`;
    // Of this test's own process some are inherited, too.
    const numbers = Array.from({ length: 64 }, (_, fd) => fd).join(" ");
    const look = "if [ -e /proc/$$/fd/$fd ]; then echo $fd; readlink /proc/$$/fd/$fd; fi";
    const list = ["sh", "-c", `for fd in ${numbers}; do ${look}; done`];
    const expected = await output(script, ...list);
    expect(expected).toContain(`\n5\n${file}\n`);
    const streams = /^[012]\n.*\n/gm; // stdin, stdout and stderr are pipes of each run's own
    expect((await output(script, ...exec(...list))).replace(streams, "")).toBe(expected.replace(streams, ""));
  });

  test("descriptors right behind stderr also without the script that npm puts on the PATH", async () => {
    const file = join(await useFolder(onTestFinished), "file");
    await writeFile(file, "content");
    const words = [process.execPath, built, "exec", unique(), "--", "cat", "/dev/fd/3"];
    expect(await output(`exec "$@" 3<'${file}'`, ...words)).toBe("content");
  });

  test("the processes of <(…)", async () => {
    const { stdout } = await cli.startProgram("bash", ["-c", `"$@" <(echo one) <(echo two)`, "bash", ...exec("cat")])
      .ended;
    expect(stdout).toBe("one\ntwo\n");
  });
});

describe("a signal that is ignored at the start", () => {
  test("stays ignored: under nohup SIGHUP ends neither holdfast nor the command", async () => {
    const file = join(await useFolder(onTestFinished), "written");
    const command = ["sh", "-c", `echo up; until [ -e '${file}' ]; do sleep 0.05; done; echo done`];
    const run = cli.startProgram("nohup", exec(...command));
    await run.hasPrinted("up");
    run.signal("SIGHUP");
    run.signal("SIGHUP");
    await writeFile(file, "");
    expect(await run.ended).toMatchObject({ code: 0, stdout: "up\ndone\n" });
  });

  test("stays ignored while holdfast waits", async () => {
    const name = unique();
    const holder = await cli.hold(name);
    const waiter = cli.startProgram("sh", [
      "-c",
      "trap '' INT HUP TERM; exec \"$@\"",
      "sh",
      launcher,
      "exec",
      name,
      "--",
      "echo",
      "ran",
    ]);
    await cli.hasWaiters(name, 1);
    for (const signal of ["SIGINT", "SIGHUP", "SIGTERM"] as const) waiter.signal(signal);
    holder.signal("SIGTERM");
    expect(await waiter.ended).toMatchObject({ code: 0, stdout: "ran\n" });
  });

  test("is known of nohup also where holdfast is started by its script, from bash", async () => {
    const file = join(await useFolder(onTestFinished), "written");
    const words = [
      process.execPath,
      built,
      "exec",
      unique(),
      "--",
      "sh",
      "-c",
      `echo up; until [ -e '${file}' ]; do sleep 0.05; done`,
    ];
    const run = cli.startProgram("bash", ["-c", 'nohup "$@" & echo pid $!.; wait $!', "bash", ...words]);
    await run.hasPrinted("up");
    process.kill(Number(/pid (\d+)\./.exec(run.stdout)?.[1]), "SIGHUP");
    await writeFile(file, "");
    expect((await run.ended).code).toBe(0);
  });

  test("does not hide that a program is missing, or may not be executed", async () => {
    for (const [program, code] of [
      ["no-such-command", 127],
      ["/etc/passwd", 126],
    ] as const) {
      const ended = await cli.startProgram("sh", ["-c", "trap '' HUP; exec \"$@\"", "sh", ...exec(program)]).ended;
      expect({ code: ended.code, stderr: ended.stderr }).toEqual({
        code,
        stderr: expect.stringContaining(`"${program}"`),
      });
    }
  });
});

describe("the environment", () => {
  test("of a command inside another's has nothing of the outer one's, and all else", async () => {
    const script = ["sh", "-c", "env | grep ^HOLDFAST_ | sort"];
    const inner = unique();
    const outer = ["exec", unique(), "--lock", unique(), "--", launcher, "exec", inner, "--", ...script];
    const { stdout } = await cli.run(outer, { HOLDFAST_OF_A_USER: "kept" });
    // Those of this run of the tests are not what this is about.
    const own = Object.keys(process.env).map((name) => `${name}=`);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .filter((line) => !own.some((name) => line.startsWith(name)))
      .map((line) => line.replace(/^(HOLDFAST_(?:FENCE|TOKEN))=.*/, "$1=…"));
    expect(lines).toEqual([
      "HOLDFAST_FENCE=…",
      `HOLDFAST_LOCK=${inner}`,
      "HOLDFAST_OF_A_USER=kept",
      "HOLDFAST_TOKEN=…",
    ]);
  });
});

test("the launcher passes on arguments and exit code, also through a link from elsewhere", async () => {
  const folder = await useFolder(onTestFinished);
  const { code, stdout } = await cli.startProgram("sh", [
    "-c",
    `ln -s '${launcher}' '${folder}/linked'; cd /; exec '${folder}/linked' exec "$1" -- sh -c 'printf "%s|" "$@"; exit 9' sh 'a b' '' '*'`,
    "sh",
    unique(),
  ]).ended;
  expect({ code, stdout }).toEqual({ code: 9, stdout: "a b||*|" });
});
