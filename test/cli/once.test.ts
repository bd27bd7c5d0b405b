import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { useCommandLine, useFolder } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { openNodes } from "../support/nodes.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();

/** How many clients the server lets wait. */
async function blocked(): Promise<number> {
  return Number(/blocked_clients:(\d+)/.exec(await cli.redis.info("clients"))?.[1]);
}

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

test("over several servers one machine runs the command, while one of the servers is down", async (t) => {
  const nodes = await openNodes(t);
  const name = unique();
  const servers = nodes.servers.flatMap(({ url }) => ["--redis", url]);
  const args = [...once(name, "--at-least", "30s"), ...servers, "--", "echo", "ran"];
  const ended = await Promise.all([cli.run(args), cli.run(args)]);
  expect(ended.map(({ code }) => code)).toEqual([0, 0]);
  expect(ended.map(({ stdout }) => stdout).sort()).toEqual(["", "ran\n"]);
  await nodes.servers[1]!.crash();
  expect(await cli.run(args)).toMatchObject({
    code: 0,
    stdout: "",
    stderr: expect.stringContaining("already done by"),
  });
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
  const { code, stdout, stderr } = await cli.run(args);
  expect({ code, stdout }).toEqual({ code: 70, stdout: "runs\n" });
  expect(stderr).toMatch(/^holdfast: ".*" ran longer than --at-most 1500ms; stopping the command .*\n$/);
});

test("SIGTERM reaches the command, and the lock stays kept", async () => {
  const name = unique();
  const run = cli.start([...once(name, "--at-least", "30s"), "--", "sh", "-c", "echo runs; exec sleep 60"]);
  await run.hasPrinted("runs");
  run.signal("SIGTERM");
  expect((await run.ended).code).toBe(143);
  expect((await cli.stateOf(name)).held).toHaveLength(1);
});

describe("a command that was never started has not run: another machine can run it at once", () => {
  test("if its program is missing there", async () => {
    const name = unique();
    const args = once(name, "--at-least", "30s");
    expect((await cli.run([...args, "--", "no-such-command"])).code).toBe(127);
    expect((await cli.run([...args, "--", "echo", "ran"])).stdout).toBe("ran\n");
  });

  test("and one that fires at the same time is not told that it runs", async () => {
    const name = unique();
    // If the lock were taken for a moment, the command would be skipped now and then.
    for (let i = 0; i < 3; i++) {
      const args = once(name, "--at-least", "0");
      const missing = Array.from({ length: 4 }, () => cli.run([...args, "--", "no-such-command"]));
      const { stdout } = await cli.run([...args, "--", "echo", "ran"]);
      await Promise.all(missing);
      expect(stdout).toBe("ran\n");
    }
  });

  test("if the system cannot execute it", async () => {
    const file = join(await useFolder(onTestFinished), "script");
    await writeFile(file, "#!/no/such/interpreter\n", { mode: 0o755 });
    const name = unique();
    const args = once(name, "--at-least", "30s");
    expect((await cli.run([...args, "--", file])).code).toBe(127);
    expect((await cli.run([...args, "--", "echo", "ran"])).stdout).toBe("ran\n");
  });

  test("if SIGTERM came while the server was slow to answer", { timeout: 40_000 }, async () => {
    const name = unique();
    const args = once(name, "--at-least", "30s");
    await cli.redis.call("CLIENT", "PAUSE", "60000", "WRITE");
    const run = cli.start([...args, "--", "echo", "ran"]);
    await until(async () => (await blocked()) > 0, "a command was held up", 20_000);
    run.signal("SIGTERM");
    // The signal is heard before the answer.
    await sleep(300);
    await cli.redis.call("CLIENT", "UNPAUSE");
    const { code, stdout } = await run.ended;
    expect({ code, stdout }).toEqual({ code: 143, stdout: "" });
    expect((await cli.run([...args, "--", "echo", "ran"])).stdout).toBe("ran\n");
  });
});

test.each([
  [["once", "a", "--", "true"], "--at-most is missing"],
  [["once", "a", "--at-most", "1", "--", "true"], "duration with its unit"],
])("%j is wrong usage", async (args, message) => {
  const { code, stderr } = await cli.run(args);
  expect(code).toBe(64);
  expect(stderr).toContain(message);
});
