/** Examines the servers that locks are to be kept on. */
import type { Clock } from "../clock.ts";
import type { Driver } from "../drivers/driver.ts";
import { schemeError } from "../drivers/server-errors.ts";
import { TimeLimit } from "../drivers/time-limit.ts";
import { CHECKS } from "./checks/index.ts";
import type { Facts } from "./facts/facts.ts";
import { gather } from "./facts/gather.ts";
import type { Place } from "./facts/gather.ts";
import { SEVERITIES } from "./finding.ts";
import type { Check, Finding, Problem, Report, Terms } from "./finding.ts";

/** A client's driver, and where it leads. */
export interface Patient {
  readonly driver: Driver;
  readonly place: Place;
}

/**
 * @param patients one, or for Redlock each of its servers
 * @param reasonFor puts into words why a server cannot be reached
 */
export async function examine(
  patients: readonly Patient[],
  terms: Terms,
  clock: Clock,
  reasonFor: (error: unknown) => string,
): Promise<Report> {
  const servers: Facts[] = [];
  const findings: Finding[] = [];
  // One after the other, so that they do not slow each other down.
  for (const { driver, place } of patients) {
    const limit = new TimeLimit(clock, driver);
    try {
      for (const send of await limit.servers()) servers.push(await gather(driver, send, place, terms, clock));
    } catch (error) {
      findings.push({ check: "reach", server: place.title, ...notReached(reasonFor(schemeError(error)), terms) });
    } finally {
      limit.close();
    }
  }
  const checks = CHECKS.filter(({ topologies }) => topologies?.includes(terms.topology) ?? true);
  for (const check of checks) findings.push(...judge(check, servers, terms));
  findings.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
  const failed = new Set(findings.map(({ check }) => check));
  const passed =
    servers.length === 0 ? [] : ["reach", ...checks.map(({ name }) => name)].filter((name) => !failed.has(name));
  return { terms, servers, findings, passed };
}

function judge(check: Check, servers: readonly Facts[], terms: Terms): Finding[] {
  const { name } = check;
  const found = servers.flatMap((facts) =>
    (check.each?.(facts, terms) ?? []).map((problem) => ({ check: name, server: facts.title, ...problem })),
  );
  const together = (check.all?.(servers, terms) ?? []).map((problem) => ({
    check: name,
    server: undefined,
    ...problem,
  }));
  return [...found, ...together];
}

function notReached(reason: string, { topology }: Terms): Problem {
  const remedy =
    topology === "redlock"
      ? "Redlock works without it as long as a majority of the servers does. Bring it back"
      : "Bring it back, or mend the way to it, and examine it again";
  return {
    severity: "critical",
    problem: "The server cannot be examined",
    evidence: reason.replace(/\.$/, ""),
    remedy,
  };
}
