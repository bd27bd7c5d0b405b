/** One lock: who holds it, and its queue. */
import type { ObservedHolder, ObservedLock } from "../../observation/observation.ts";
import type { LockInfo } from "../../snapshot.ts";
import { roundDuration } from "../durations.ts";
import { plain } from "../messages.ts";
import { fixed, line, paint } from "./cells.ts";
import type { Size } from "./cells.ts";
import { heldFor, timeLeft } from "./overview.ts";
import { counted, who, whyStuck } from "./phrases.ts";

/**
 * @param lock undefined if nobody holds it or waits for it
 * @param skip how many of its waiters are scrolled out of sight
 * @returns at most as many lines as there are rows
 */
export function oneLock(
  name: string,
  lock: ObservedLock | undefined,
  at: number,
  { columns, rows }: Size,
  skip: number,
): string[] {
  const title = line([{ text: plain(name), style: "bold" }, { text: `  ${lock ? whatItIs(lock) : "free"}` }], columns);
  if (!lock) return [title, "", "Nobody holds it, and nobody waits for it."];
  const lines = [title, lock.stuck ? paint({ text: whyStuck(lock), style: "red" }) : usually(lock), ""];
  const room = Math.max(1, Math.floor((rows - lines.length - 4) / 2));
  lines.push(paint({ text: counted(lock.holders.length, "holder"), style: "dim" }));
  for (const holder of lock.holders.slice(0, room)) lines.push(holderLine(holder, at, columns));
  if (lock.holders.length > room) lines.push(`  and ${lock.holders.length - room} more`);
  const queue = lock.waiters.length === 0 ? "Nobody waits." : `${counted(lock.waiters.length, "waiter")}, in order`;
  lines.push("", paint({ text: queue, style: "dim" }));
  const left = Math.max(0, rows - lines.length);
  const shown = lock.waiters.slice(skip, skip + left);
  return [...lines, ...shown.map((waiter, i) => waiterLine(waiter, skip + i + 1, columns))].slice(0, rows);
}

function whatItIs({ kind, mode, limit, used }: ObservedLock): string {
  if (limit !== undefined) return `semaphore, ${used} of ${limit} permits held`;
  return kind === "lock" ? (mode ?? "free") : kind;
}

function usually({ usualHold }: ObservedLock): string {
  return usualHold === undefined ? "" : paint({ text: `Usually held for ${roundDuration(usualHold)}.`, style: "dim" });
}

function holderLine(holder: ObservedHolder, at: number, columns: number): string {
  const { info, renewals } = holder;
  const permits = info.permits === undefined ? "" : `${info.permits} of ${info.limit}  `;
  const fence = info.fence === undefined ? "no fence" : `fence ${info.fence}`;
  const about = [`${heldFor(holder, at).text} held`, fence, `renewed ${renewals} times`];
  const name = Math.max(8, Math.min(24, columns - 17));
  return line(
    [
      { text: "  " },
      { text: fixed({ text: `${permits}${who(info)}` }, name) },
      { text: "  " },
      timeLeft(holder, at),
      { text: `  ${about.join(", ")}`, style: "dim" },
    ],
    columns,
  );
}

function waiterLine(info: LockInfo, position: number, columns: number): string {
  const waits = info.waited === undefined ? "" : `waits for ${roundDuration(info.waited)}`;
  const wants = info.permits === undefined ? info.mode : `${info.permits} of ${info.limit}`;
  const name = Math.max(8, Math.min(40, columns - 24));
  return line(
    [
      { text: `${`#${position}`.padStart(6)}  `, style: "dim" },
      { text: fixed({ text: who(info) }, name) },
      { text: `  ${waits}  ${wants}` },
    ],
    columns,
  );
}
