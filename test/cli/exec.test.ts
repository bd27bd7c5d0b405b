import { chmod, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { useCommandLine, useFolder } from "../support/cli.ts";
import { unique } from "../support/locks.ts";

const cli = useCommandLine();

describe("the command", () => {
  test("has its exit code passed on", async () => {
    const { code, stderr } = await cli.run(["exec", unique(), "--", "sh", "-c", "exit 3"]);
    expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGKILL", 137],
  ])("that %s ends gives exit code %i", async (signal, code) => {
    const ended = await cli.run(["exec", unique(), "--", "sh", "-c", `kill -${signal.slice(3)} $$`]);
    expect(ended.code).toBe(code);
  });

  test("finds lock, fence and token in its environment", async () => {
    const name = unique();
    const script = 'echo "$HOLDFAST_LOCK|$HOLDFAST_FENCE|$HOLDFAST_TOKEN"; exec sleep 60';
    const run = cli.start(["exec", name, "--", "sh", "-c", script]);
    await run.hasPrinted("\n");
    const { held } = await cli.stateOf(name);
    expect(run.stdout).toBe(`${name}|${held[0]?.fence}|${held[0]?.token}\n`);
  });

  test("has the standard streams of holdfast", async () => {
    const run = cli.start(["exec", unique(), "--", "sh", "-c", "cat; echo trouble >&2"]);
    run.type("hello");
    run.endInput();
    expect(await run.ended).toMatchObject({ code: 0, stdout: "hello", stderr: "trouble\n" });
  });

  test("gets its arguments as they are: no shell, and no option is holdfast's", async () => {
    const args = ["$HOME", "a b", "*", "--ttl", "--", "--help", ""];
    const print = "console.log(JSON.stringify(process.argv.slice(1)))";
    const { stdout } = await cli.run(["exec", unique(), "--", process.execPath, "-e", print, "--", ...args]);
    expect(JSON.parse(stdout)).toEqual(args);
  });

  test("that is not found gives 127, and the lock back", async () => {
    const name = unique();
    const { code, stderr } = await cli.run(["exec", name, "--", "no-such-command"]);
    expect({ code, stderr }).toEqual({ code: 127, stderr: 'holdfast: command not found: "no-such-command"\n' });
    expect((await cli.stateOf(name)).held).toEqual([]);
  });

  test("that cannot be executed gives 126", async () => {
    const file = join(await useFolder(onTestFinished), "data");
    await writeFile(file, "#!/bin/sh\n");
    await chmod(file, 0o644);
    const { code, stderr } = await cli.run(["exec", unique(), "--", file]);
    expect({ code, stderr }).toEqual({
      code: 126,
      stderr: `holdfast: cannot execute "${file}": permission denied\n`,
    });
  });
});

describe("the lock", () => {
  test("lets one command run at a time", async () => {
    const folder = await useFolder(onTestFinished);
    const file = join(folder, "count");
    await writeFile(file, "0");
    const script = join(folder, "increment.mjs");
    await writeFile(
      script,
      `import { readFileSync, writeFileSync } from "node:fs";
       const count = Number(readFileSync(${JSON.stringify(file)}, "utf8"));
       setTimeout(() => writeFileSync(${JSON.stringify(file)}, String(count + 1)), 20);`,
    );
    const name = unique();
    const increment = () => cli.run(["exec", name, "--", process.execPath, script]);
    const ended = await Promise.all(Array.from({ length: 6 }, increment));
    expect(ended.map(({ code }) => code)).toEqual(Array(6).fill(0));
    expect(await readFile(file, "utf8")).toBe("6");
  });

  test("is free when the command has ended", async () => {
    const name = unique();
    await cli.run(["exec", name, "--", "true"]);
    expect(await cli.stateOf(name)).toEqual({ held: [], pending: [] });
  });

  test("is shared by those that say --shared, and by nobody else", async () => {
    const name = unique();
    await cli.hold(name, "--shared");
    await cli.hold(name, "--shared");
    expect((await cli.stateOf(name)).held).toMatchObject([{ mode: "shared" }, { mode: "shared" }]);
    expect((await cli.run(["exec", name, "--wait", "0", "--", "true"])).code).toBe(75);
  });

  test("excludes across the schemes lua and set", async () => {
    const name = unique();
    const holder = await cli.hold(name, "--scheme", "set");
    expect((await cli.run(["exec", name, "--wait", "0", "--", "true"])).code).toBe(75);
    holder.signal("SIGTERM");
    await holder.ended;
    await cli.hold(name);
    expect((await cli.run(["exec", name, "--scheme", "set", "--wait", "0", "--", "true"])).code).toBe(75);
  });

  test("of another prefix is another lock", async () => {
    const name = unique();
    await cli.hold(name);
    expect((await cli.run(["exec", name, "--prefix", "other:", "--wait", "0", "--", "true"])).code).toBe(0);
  });

  test("is renewed while the command runs", async () => {
    const name = unique();
    const holder = await cli.hold(name, "--ttl", "1500ms");
    const waiter = cli.start(["exec", name, "--wait", "3s", "--", "true"]);
    expect((await waiter.ended).code).toBe(75);
    expect(holder.over).toBe(false);
  });

  test("tells who holds: host, pid and the command's name, or --label", async () => {
    const name = unique();
    const run = await cli.hold(name, "--shared");
    await cli.hold(name, "--shared", "--label", "nightly report");
    const labels = (await cli.stateOf(name)).held.map(({ label }) => label);
    expect(new Set(labels)).toEqual(new Set([`${hostname()}:${run.pid}:sh`, "nightly report"]));
  });
});

describe("waiting", () => {
  test.each(["0", "300ms"])("with --wait %s ends with 75 and who holds", async (wait) => {
    const name = unique();
    const holder = await cli.hold(name);
    const { code, stderr } = await cli.run(["exec", name, "--wait", wait, "--", "true"]);
    expect(code).toBe(75);
    expect(stderr).toContain(`: held by ${hostname()}:${holder.pid}:sh`);
  });

  test.each(["0", "300ms"])("in vain for %s has the exit code that --conflict-exit-code gives", async (wait) => {
    const name = unique();
    await cli.hold(name);
    const args = ["exec", name, "--wait", wait, "--conflict-exit-code", "0", "--quiet"];
    expect(await cli.run([...args, "--", "echo", "ran"])).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  test("has a conflict's exit code only for a conflict", async () => {
    const args = ["exec", unique(), "--wait", "0", "--conflict-exit-code", "0", "--quiet"];
    expect((await cli.run([...args, "--", "sh", "-c", "exit 3"])).code).toBe(3);
    expect((await cli.run([...args, "--", "no-such-command"])).code).toBe(127);
    expect((await cli.run([...args, "--redis", "redis://127.0.0.1:1", "--", "true"])).code).toBe(69);
  });

  test("ends when the holder ends", async () => {
    const name = unique();
    const holder = await cli.hold(name);
    const waiter = cli.start(["exec", name, "--", "echo", "done"]);
    await cli.hasWaiters(name, 1);
    holder.signal("SIGTERM");
    expect(await waiter.ended).toMatchObject({ code: 0, stdout: "done\n" });
  });

  test("says for what and for whom, unless --quiet", async () => {
    const name = unique();
    const holder = await cli.hold(name);
    const quiet = cli.start(["exec", name, "--quiet", "--", "true"]);
    await cli.hasWaiters(name, 1);
    const waiter = cli.start(["exec", name, "--", "true"]);
    await waiter.hasSaid(`holdfast: waiting for "${name}": held by ${hostname()}:${holder.pid}:sh (2 waiting)\n`);
    holder.signal("SIGTERM");
    expect(await quiet.ended).toMatchObject({ code: 0, stderr: "" });
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("leaves the queue on %s and exits %i", async (signal, code) => {
    const name = unique();
    await cli.hold(name);
    const waiter = cli.start(["exec", name, "--", "echo", "ran"]);
    await cli.hasWaiters(name, 1);
    waiter.signal(signal);
    expect(await waiter.ended).toMatchObject({ code, stdout: "" });
    expect((await cli.show(name)).waiters).toEqual([]);
  });
});

describe("--permits", () => {
  const hold = (name: string, permits: string) =>
    cli.start(["exec", name, "--permits", permits, "--", "sh", "-c", "echo held; exec sleep 60"]);

  test("lets as many commands run at a time as there are permits", async () => {
    const name = unique();
    const runs = [hold(name, "1/3"), hold(name, "2/3")];
    await Promise.all(runs.map((run) => run.hasPrinted("held")));
    const { held } = await cli.stateOf(name);
    expect(held.map(({ permits }) => Number(permits)).toSorted((a, b) => a - b)).toEqual([1, 2]);
    const late = await cli.run(["exec", name, "--permits", "1/3", "--wait", "0", "--", "true"]);
    expect({ code: late.code, stderr: late.stderr }).toMatchObject({ code: 75 });
    for (const run of runs) run.signal("SIGTERM");
    await Promise.all(runs.map((run) => run.ended));
    expect((await cli.run(["exec", name, "--permits", "3/3", "--", "true"])).code).toBe(0);
  });

  test("of another limit than others use is refused with both limits", async () => {
    const name = unique();
    const run = hold(name, "1/3");
    await run.hasPrinted("held");
    const { code, stderr } = await cli.run(["exec", name, "--permits", "1/4", "--", "true"]);
    expect(code).toBe(64);
    expect(stderr).toBe(
      `holdfast: "${name}" is in use as a semaphore with 3 permits, but you gave --permits 1/4. ` +
        "Everyone who uses a semaphore must give the same limit: --permits N/3. (holdfast explain mismatch)\n",
    );
  });

  test("of a name that is in use as a lock is refused, and a lock of a semaphore's name", async () => {
    const name = unique();
    const lock = await cli.hold(name);
    expect(await cli.run(["exec", name, "--permits", "1/3", "--", "true"])).toMatchObject({
      code: 64,
      stderr: `holdfast: "${name}" is in use as a lock, but you gave --permits 1/3. While a name is in use, it is either a lock or a semaphore: use another name. (holdfast explain mismatch)\n`,
    });
    lock.signal("SIGTERM");
    await lock.ended;
    await hold(name, "1/3").hasPrinted("held");
    expect(await cli.run(["exec", name, "--", "true"])).toMatchObject({
      code: 64,
      stderr: expect.stringContaining(`"${name}" is in use as a semaphore with 3 permits, but you gave no --permits.`),
    });
    for (const verb of [["elect"], ["once", "--at-most", "1m"]]) {
      const { code, stderr } = await cli.run([...verb, name, "--", "true"]);
      expect({ code, stderr }).toEqual({
        code: 64,
        stderr: `holdfast: "${name}" is in use as a semaphore, so it cannot be a lock. Use another name. (holdfast explain mismatch)\n`,
      });
    }
  });

  test.each([["0/3"], ["4/3"], ["1"], ["1/0"], ["a/b"], ["1/4", "--shared"], ["1/4", "--lock", "x"]])(
    "%s %s is refused as bad usage",
    async (permits, ...more) => {
      const { code, stderr } = await cli.run(["exec", unique(), "--permits", permits, ...more, "--", "true"]);
      expect(code).toBe(64);
      expect(stderr).toContain("permits");
    },
  );
});

describe("several locks", () => {
  const print = 'echo "$HOLDFAST_LOCK|$HOLDFAST_FENCE|$HOLDFAST_FENCES"; exec sleep 60';

  test("are held while the command runs, and free afterwards", async () => {
    const [one, two] = [unique(), unique()];
    const run = cli.start(["exec", two, "--lock", one, "--", "sh", "-c", print]);
    await run.hasPrinted("}");
    const fences: Record<string, number | undefined> = {};
    for (const name of [one, two]) fences[name] = (await cli.stateOf(name)).held[0]?.fence;
    const [lock, fence, all = ""] = run.stdout.trim().split("|");
    expect([lock, Number(fence)]).toEqual([two, fences[two]]);
    expect(JSON.parse(all)).toEqual(fences);
    run.signal("SIGTERM");
    await run.ended;
    for (const name of [one, two]) expect((await cli.stateOf(name)).held).toEqual([]);
  });

  test("are had all or none, and the one in the way is told", async () => {
    const [one, two] = [unique("a"), unique("b")];
    const holder = await cli.hold(two);
    const { code, stderr } = await cli.run(["exec", one, "--lock", two, "--wait", "0", "--", "true"]);
    expect(code).toBe(75);
    const who = `${hostname()}:${holder.pid}:sh`;
    expect(stderr).toBe(
      `holdfast: "${one}", "${two}" were not free: "${two}" is held by ${who} (holdfast explain timeout)\n`,
    );
    expect((await cli.stateOf(one)).held).toEqual([]);
  });

  test("are lost together: the command is stopped, with exit code 70", async () => {
    const [one, two] = [unique(), unique()];
    const run = cli.start(["exec", one, "--lock", two, "--", "sh", "-c", print]);
    await run.hasPrinted("}");
    await cli.forceRelease(two);
    expect((await run.ended).code).toBe(70);
    expect(run.stderr).toContain(`lost one of "${one}", "${two}": it was taken by force`);
  });
});
