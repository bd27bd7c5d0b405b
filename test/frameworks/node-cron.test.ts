import cron from "node-cron";
import { afterEach, expect, test } from "vitest";
import { runCoordinator } from "../../src/node-cron.ts";
import type { LockManager } from "../../src/index.ts";
import { TestLocks } from "../../src/testing.ts";
import { until } from "../support/until.ts";

const world = new TestLocks("real time");
const open: { close?(): Promise<void>; destroy?(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await (each.destroy?.() ?? each.close?.());
});

function machine(label: string): LockManager {
  const locks = world.manager({ label, ttl: 1_500 });
  open.push(locks);
  return locks;
}

test("of two machines one runs the task each time, and the other one is told", async () => {
  const ran: string[] = [];
  const skipped: string[] = [];
  for (const label of ["one", "two"]) {
    const options = { name: "report", distributed: true, runCoordinator: runCoordinator(machine(label)) };
    const task = cron.schedule("* * * * * *", ({ date }) => void ran.push(date.toISOString()), options);
    task.on("execution:skipped", ({ date, reason }) => void skipped.push(`${reason} ${date.toISOString()}`));
    open.push(task);
  }
  await until(() => ran.length >= 2 && skipped.length >= 2, "it ran twice and was skipped twice", 10_000);
  expect(new Set(ran).size).toBe(ran.length);
  expect(skipped[0]).toMatch(/^not-elected /);
});

test("the lock is held while the task runs, renewed, and kept for its time", async () => {
  const [locks, other] = [machine("one"), machine("two")];
  const [coordinator, its] = [runCoordinator(locks), runCoordinator(other)];
  expect(await coordinator.shouldRun("slow:1", 100)).toBe(true);
  // Longer than its lease of 1.5 s and its time of 100 ms.
  const began = performance.now();
  await until(() => performance.now() > began + 2_000, "it ran for long");
  expect(await its.shouldRun("slow:1", 100)).toBe(false);
  coordinator.onComplete("slow:1");
  await until(() => its.shouldRun("slow:1", 100), "it was over");
  its.onComplete("slow:1");

  expect(await coordinator.shouldRun("short:1", 5_000)).toBe(true);
  coordinator.onComplete("short:1");
  const { held } = await other.query({ name: "cron:short:1" });
  expect(held).toMatchObject([{ label: expect.stringContaining("one (") }]);
  expect(await its.shouldRun("short:1", 5_000)).toBe(false);
});

test("a failing server is node-cron's to handle, and bad input is refused", async () => {
  const locks = world.manager();
  const coordinator = runCoordinator(locks);
  await locks.close();
  await expect(coordinator.shouldRun("a", 100)).rejects.toMatchObject({ code: "closed" });
  expect(() => coordinator.onComplete("never began")).not.toThrow();
  expect(() => runCoordinator({} as never)).toThrow("Expected a LockManager; got an object (Object).");
  expect(() => runCoordinator(locks, { prefx: "" } as never)).toThrow("Did you mean prefix?");
});
