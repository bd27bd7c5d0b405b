/** A request fails only if something that went wrong explains it, and processes end by themselves. */
import { type Evidence, troublesOf } from "./evidence.ts";
import type { History, Request } from "./history.ts";

/** Outcomes that nothing need explain. */
const FINE = new Set(["released", "busy", "timeout", "aborted", "ran", "done elsewhere", "kept"]);
/**
 * How long before a failure its cause may lie, in milliseconds: a waiter that was in the queue tries for 30 s, the
 * connection was lost up to 12 s before anybody noticed, and servers take some time to find their places again.
 */
const LATEST = 52_000;
const NOTICING = 12_000;

export function checkFailures(evidence: Evidence): void {
  const { verdict } = evidence;
  for (const request of evidence.history.requests) {
    const { how, settled, message = "" } = request;
    if (how === undefined || settled === undefined || FINE.has(how)) continue;
    const from =
      how === "lost" ? settled - 2 * request.ttl - 1_000 : Math.max(settled - LATEST, request.asked - NOTICING);
    if (troublesOf(evidence, request.process, from, settled).length > 0) continue;
    verdict.fail("errors", `${request.label} failed without a cause: ${how}, ${message}`, settled, request.lock);
  }
}

export interface Ending {
  readonly name: string;
  readonly wasKilled: boolean;
  readonly exitCode: number | null;
  readonly said: string;
}

/** What a process said on standard error, and how it ended. */
export function checkEndings({ verdict, end }: Evidence, endings: readonly Ending[]): void {
  for (const { name, wasKilled, exitCode, said } of endings) {
    if (said !== "") verdict.fail("errors", `the process ${name} said: ${said}`, end);
    if (!wasKilled && exitCode !== 0) {
      const how = exitCode === null ? "did not end by itself" : `ended with ${exitCode}`;
      verdict.fail("nothing is left", `the process ${name} ${how}`, end);
    }
  }
}

/** Requests that were still open when their process was asked to end, and never settled. */
export function checkSettled({ verdict, end }: Evidence, history: History): void {
  const isOpen = ({ settled, process }: Request): boolean => settled === undefined && process.closing !== undefined;
  for (const request of history.requests.filter(isOpen)) {
    verdict.fail("service", `${request.label} for ${request.lock} never settled`, end, request.lock);
  }
}
