/** A summary of all locks, in three lines. */
import type { Observation } from "../../observation/observation.ts";
import type { Observer } from "../../observation/observer.ts";
import { roundDuration } from "../durations.ts";
import { failureOf } from "../failures.ts";
import { plain } from "../messages.ts";
import { line, sparkline } from "./cells.ts";
import type { Cell } from "./cells.ts";
import { counted } from "./phrases.ts";

/** @param rate how many new holders there are in each second */
export function header(
  { latest, failure, history }: Observer,
  rate: number | undefined,
  pattern: string | undefined,
  columns: number,
): string[] {
  const title: Cell[] = [{ text: "holdfast watch", style: "bold" }];
  if (pattern !== undefined) title.push({ text: `  ${plain(pattern)}` });
  const seen = latest ? `  seen at ${new Date(latest.time).toLocaleTimeString("en", { hourCycle: "h23" })}` : "";
  const lines: Cell[][] = failure
    ? [[...title, { text: seen, style: "red" }], [{ text: failureOf(failure.error).message, style: "red" }], []]
    : [[...title, { text: latest ? seen : "  looking", style: "dim" }], ...(latest ? totals(latest, rate) : [[], []])];
  if (latest && !failure) {
    const waiters = history.series.recent.map((point) => point.waiters);
    lines[2]?.push({ text: sparkline(waiters, Math.max(8, columns - 72)), style: "yellow" });
  }
  return lines.map((cells) => line(cells, columns));
}

function totals({ totals: all, stuck }: Observation, rate: number | undefined): [Cell[], Cell[]] {
  const { holders, waiters, contended, longestWait, medianWait } = all;
  const counts: Cell[] = [
    { text: `${counted(holders, "holder")}, ` },
    { text: counted(waiters, "waiter"), style: waiters > 0 ? "yellow" : undefined },
    { text: ` for ${counted(contended, "lock")}, ` },
    stuck.length > 0 ? { text: `${stuck.length} stuck`, style: "red" } : { text: "nothing is stuck", style: "green" },
  ];
  const waits: Cell[] = [
    { text: `waits: median ${roundDuration(medianWait)}, longest ${roundDuration(longestWait)}  ` },
    { text: rate === undefined ? "" : `new holders: ${rate.toFixed(1)}/s  ` },
    { text: "waiters " },
  ];
  return [counts, waits];
}
