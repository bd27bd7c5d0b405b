/** What the demo says in the end: a table of what was counted, what it means, and whether anything is not as promised. */
import Table from "cli-table3";
import { LEASE } from "./protocol.ts";
import type { Tally } from "./round.ts";

/** Beside the lease of the worker that was killed or stopped, a busy machine may cost a waiter so much. */
const SLACK = 2_000;

export interface Results {
  readonly none: Tally;
  readonly tutorial: Tally;
  readonly holdfast: Tally;
}

export function table({ none, tutorial, holdfast }: Results): string {
  const rows = new Table({
    head: ["", "no lock", "tutorial lock", "holdfast"],
    colAligns: ["left", "right", "right", "right"],
    style: { head: [], border: [], compact: true },
  });
  const all = (look: (tally: Tally) => string | number): string[] =>
    [none, tutorial, holdfast].map((t) => `${look(t)}`);
  const locked = (look: (tally: Tally) => string | number): string[] => ["-", `${look(tutorial)}`, `${look(holdfast)}`];
  rows.push(
    ["increments made (expected)", ...all((t) => t.expected)],
    ["count in the record (actual)", ...all((t) => t.actual)],
    ["lost updates", ...all(lost)],
    ["came in while another was inside", ...all((t) => t.overlaps)],
    ["late writes taken", ...locked((t) => t.lateTaken)],
    ["late writes refused by the fence", ...locked((t) => t.refused)],
    ["holders told that they are late", ...locked((t) => t.told)],
    ["locks of others removed", ...locked((t) => t.wronglyRemoved)],
    ["median wait for the lock", ...locked((t) => milliseconds(share(t.waits, 0.5)))],
    ["one wait in 20 is longer than", ...locked((t) => milliseconds(share(t.waits, 0.95)))],
    ["worst wait for the lock", ...locked((t) => milliseconds(share(t.waits, 1)))],
    ["the round took", ...all((t) => `${t.seconds.toFixed(1)} s`)],
  );
  return rows.toString();
}

export function verdict({ none, tutorial, holdfast }: Results): string {
  const slow = (tally: Tally): string => milliseconds(share(tally.waits, 0.95));
  return [
    `Without a lock ${lost(none)} of ${none.expected} increments were lost: others wrote between a worker's read and write.`,
    `The tutorial's lock lost ${lost(tutorial)}: the stopped worker came back after its lease had ended, wrote over ` +
      "what the others had written, and its DEL removed a lock that was not its own.",
    `holdfast lost ${lost(holdfast)}: the late write carried an old fence and was refused, and its writer was told. ` +
      "Its workers take turns; with the tutorial's lock whoever frees it is often the next to have it, while the " +
      `others sleep: one wait in 20 is longer than ${slow(tutorial)} there, and ${slow(holdfast)} here.`,
  ]
    .map(wrap)
    .join("\n");
}

/** Every figure that is not what it must be. */
export function surprises({ none, tutorial, holdfast }: Results, increments: number): string[] {
  const found: string[] = [];
  const expect = (isTrue: boolean, what: string): void => void (isTrue || found.push(what));
  expect(lost(none) > 0, "Without a lock nothing was lost.");
  expect(lost(tutorial) > 0, "The tutorial's lock lost nothing.");
  expect(tutorial.lateTaken > 0, "With the tutorial's lock no late write was taken.");
  expect(tutorial.wronglyRemoved > 0, "The tutorial's lock removed no lock of others.");
  expect(holdfast.expected === increments, `With holdfast ${holdfast.expected} of ${increments} increments were made.`);
  expect(lost(holdfast) === 0, `holdfast lost ${lost(holdfast)} updates.`);
  expect(holdfast.overlaps === 0, `holdfast let two workers in at once ${holdfast.overlaps} times.`);
  expect(holdfast.wronglyRemoved === 0, `holdfast removed ${holdfast.wronglyRemoved} locks of others.`);
  const worst = share(holdfast.waits, 1);
  expect(worst < LEASE + SLACK, `With holdfast somebody waited for ${milliseconds(worst)}: a lease takes ${LEASE} ms.`);
  expect(holdfast.refused > 0, "With holdfast no late write was refused.");
  expect(holdfast.told > 0, "holdfast did not tell the stopped worker that its lease had ended.");
  return found;
}

function lost({ expected, actual }: Tally): number {
  return expected - actual;
}

/** The value that this share of the values does not exceed. */
function share(values: readonly number[], of: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * of) - 1)] ?? Number.NaN;
}

function milliseconds(value: number): string {
  return value < 100 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}

function wrap(text: string): string {
  return text.replace(/(.{1,79})(?: |$)/g, "$1\n").trimEnd();
}
