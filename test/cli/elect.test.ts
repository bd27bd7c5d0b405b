import { expect, test } from "vitest";
import { useCommandLine, hasGone } from "../support/cli.ts";
import { unique } from "../support/locks.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();

/** Prints its fence and pid, then runs until it is signalled. */
const LEADER = ["--", "sh", "-c", 'echo "leads $HOLDFAST_FENCE $$"; exec sleep 60'];

test("the command runs on one machine; when that one leaves it is started on the next, with a larger fence", async () => {
  const name = unique();
  const first = cli.start(["elect", name, ...LEADER]);
  await first.hasPrinted("leads");
  const second = cli.start(["elect", name, "--quiet", ...LEADER]);
  await cli.hasWaiters(name, 1);
  expect(second.stdout).toBe("");
  first.signal("SIGTERM");
  expect((await first.ended).code).toBe(143);
  await second.hasPrinted("leads");
  const fence = ({ stdout }: { stdout: string }) => Number(/leads (\d+)/.exec(stdout)?.[1]);
  expect(fence(second)).toBeGreaterThan(fence(first));
  expect(first.stderr).toContain(`holdfast: elected for "${name}" (fence ${fence(first)})\n`);
  expect(second.stderr).toBe("");
});

test("when leadership is taken away the command is stopped and started on the next, and this machine is a candidate again", async () => {
  const name = unique();
  const first = cli.start(["elect", name, ...LEADER]);
  await first.hasPrinted("leads");
  const second = cli.start(["elect", name, ...LEADER]);
  await cli.hasWaiters(name, 1);
  const pid = Number(/leads \d+ (\d+)/.exec(first.stdout)?.[1]);
  await cli.forceRelease(name);
  await first.hasSaid("it was taken by force");
  await second.hasPrinted("leads");
  await hasGone(pid);
  await cli.hasWaiters(name, 1);
  await cli.forceRelease(name);
  await until(() => /^leads.*\nleads/.test(first.stdout), "the first led again");
  await cli.hasWaiters(name, 1);
  second.signal("SIGTERM");
  expect((await second.ended).code).toBe(143);
  expect(first.over).toBe(false);
});

test("SIGTERM while the command is being stopped ends holdfast when it is: it does not wait to be elected again", async () => {
  const name = unique();
  const script = "trap '' TERM; echo leads; while :; do sleep 0.05; done";
  const run = cli.start(["elect", name, "--grace", "700ms", "--", "sh", "-c", script]);
  await run.hasPrinted("leads");
  await cli.forceRelease(name);
  await run.hasSaid("it was taken by force");
  run.signal("SIGTERM");
  expect(await run.ended).toMatchObject({ code: 143, stdout: "leads\n" });
  expect(await cli.stateOf(name)).toEqual({ held: [], pending: [] });
});

test("when the command ends by itself its exit code is passed on, and the next machine starts it", async () => {
  const name = unique();
  const { code } = await cli.run(["elect", name, "--", "sh", "-c", "exit 3"]);
  expect(code).toBe(3);
  expect((await cli.stateOf(name)).held).toEqual([]);
});

test("a candidate leaves the queue on SIGTERM and exits 143", async () => {
  const name = unique();
  await cli.hold(name);
  const candidate = cli.start(["elect", name, ...LEADER]);
  await cli.hasWaiters(name, 1);
  candidate.signal("SIGTERM");
  expect(await candidate.ended).toMatchObject({ code: 143, stdout: "" });
  expect((await cli.stateOf(name)).pending).toEqual([]);
});

test.each([
  [["elect", "a"], 'no command to run. Write it after "--": holdfast elect a -- COMMAND'],
  [["elect", "-a", "--", "true"], "unknown option"],
  [["elect", "a", "--wait", "1s", "--", "true"], "unknown option '--wait'"],
])("%j is wrong usage", async (args, message) => {
  const { code, stderr } = await cli.run(args);
  expect(code).toBe(64);
  expect(stderr).toContain(message);
});
