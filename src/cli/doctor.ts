/** `holdfast doctor`: what endangers locks on the servers that the options name. */
import type { Command } from "commander";
import { Option } from "commander";
import { systemClock } from "../clock.ts";
import { examine } from "../doctor/doctor.ts";
import type { Patient } from "../doctor/doctor.ts";
import { SEVERITIES } from "../doctor/finding.ts";
import type { Finding, Report, Severity, Terms } from "../doctor/finding.ts";
import { serverName } from "../doctor/checks/version.ts";
import { driverFor } from "../drivers/index.ts";
import { checkManagerOptions } from "../options/manager.ts";
import { connectionsFor, firstContact, refuseOverSeveral } from "./connection.ts";
import { exactDuration } from "./durations.ts";
import { failureOf } from "./failures.ts";
import { print, quoted } from "./messages.ts";
import { addConnectionOptions, parseTtl } from "./options.ts";
import type { ConnectionOptions } from "./options.ts";
import { wrapped } from "./wrapped.ts";

export interface DoctorOptions extends ConnectionOptions {
  readonly ttl: number;
  readonly json?: boolean;
}

/** As monitoring reads it (Nagios and its kind): OK, WARNING, CRITICAL. */
const EXIT_CODES: { readonly [S in Severity]: number } = { note: 0, warning: 1, critical: 2 };

const HELP = `
Connects as "exec" would, with the same URL and account, and tries out what locks
need on a key that expires at once. Nothing is changed on the server.

Exit codes:
    0  nothing found, or notes only
    1  warnings: two holders at once, or no locks, after a restart, a failover
       or the like
    2  critical: locks fail, or can be held twice
   64  wrong usage
   69  the server, or the client library for it, cannot be used

JSON: {"topology", "scheme", "prefix", "ttl", "servers": [{"title", "version"}],
"findings": [{"check", "severity": "critical" | "warning" | "note", "server": null
if it concerns all of them, "problem", "evidence", "remedy"}], "passed": [the
checks that found nothing]}. Findings are sorted, the worst first.`;

/** Declares the command. */
export function addDoctor(program: Command, action: (options: DoctorOptions) => Promise<void>): void {
  const command = program
    .command("doctor")
    .summary("examine the server: what endangers locks there?")
    .description("Examine the server, and say what endangers locks there and what to do about it.")
    .usage("[options]")
    .addOption(
      new Option("--ttl <time>", "the shortest ttl that your locks have").default(30_000, "30s").argParser(parseTtl),
    )
    .option("--json", "print JSON");
  addConnectionOptions(command).addHelpText("after", HELP);
  command.action(action);
}

/** @throws CliError if the server cannot be used; of several, a majority */
export async function doctor(options: DoctorOptions): Promise<number> {
  if (options.scheme !== undefined) refuseOverSeveral(options, "--scheme");
  const connections = connectionsFor(options);
  const patients: Patient[] = [];
  try {
    for (const { client, place } of connections.all) {
      const isAlone = place.kind === "server" && place.path === undefined;
      const port = isAlone ? place.addresses[0]?.port : undefined;
      patients.push({
        driver: driverFor(client),
        place: { title: place.title, port, user: place.username ?? "default" },
      });
    }
    await firstContact(connections.all);
    const [first] = connections.all;
    const isRedlock = patients.length > 1;
    const terms: Terms = {
      topology: isRedlock ? "redlock" : (first?.place.kind ?? "server"),
      scheme: isRedlock ? "redlock" : (options.scheme ?? "lua"),
      prefix: checkManagerOptions({ prefix: options.prefix }).prefix,
      ttl: options.ttl,
      count: patients.length,
    };
    const report = await examine(patients, terms, systemClock, (error) => failureOf(error).message);
    await print(options.json ? JSON.stringify(jsonOf(report), undefined, 2) : textOf(report));
    return EXIT_CODES[report.findings[0]?.severity ?? "note"];
  } finally {
    for (const { driver } of patients) driver.close();
    connections.close();
  }
}

function jsonOf({ terms, servers, findings, passed }: Report): object {
  const { topology, scheme, prefix, ttl } = terms;
  return {
    topology,
    scheme,
    prefix,
    ttl,
    servers: servers.map((facts) => ({ title: facts.title, version: serverName(facts) })),
    findings: findings.map((finding) => ({ ...finding, server: finding.server ?? null })),
    passed,
  };
}

const TOPOLOGIES = {
  server: "one server",
  sentinel: "the primary that the Sentinels name",
  cluster: "a Cluster",
  redlock: "Redlock",
} as const;

function textOf(report: Report): string {
  const { terms, servers, findings, passed } = report;
  const { topology, scheme, prefix, ttl } = terms;
  const how = topology === "redlock" ? "" : `, scheme ${scheme}`;
  const heading = [
    `Examined ${TOPOLOGIES[topology]}${how}, prefix ${quoted(prefix)}, ttl ${exactDuration(ttl)}:`,
    ...servers.map((facts) => `  ${facts.title}  ${serverName(facts)}`),
  ];
  const parts = grouped(findings).map((group) => paragraph(group, servers.length > 1));
  const ok = passed.length > 0 ? [wrapped(`Nothing found by: ${passed.join(", ")}.`, 0)] : [];
  return [heading.join("\n"), ...parts, ...ok, summary(findings)].join("\n\n");
}

/** Those that say the same of several servers. */
function grouped(findings: readonly Finding[]): Finding[][] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    const { check, severity, problem, remedy } = finding;
    const key = JSON.stringify([severity, check, problem, remedy]);
    const group = groups.get(key);
    if (group) group.push(finding);
    else groups.set(key, [finding]);
  }
  return [...groups.values()];
}

function paragraph(group: readonly Finding[], namesServers: boolean): string {
  const [{ severity, problem, check, evidence, remedy }] = group as [Finding];
  const isSame = group.every((each) => each.evidence === evidence);
  const names = group.flatMap(({ server }) => server ?? []);
  const seen = isSame ? [`${evidence}.`] : group.map((each) => `${each.server}: ${each.evidence}.`);
  const where = namesServers && isSame && names.length > 0 ? [labelled("On", names.join(", "))] : [];
  return [
    wrapped(`${severity.toUpperCase()}: ${problem} (${check})`, 0),
    ...where,
    ...seen.map((each) => labelled("Seen", each)),
    labelled("Do", `${remedy}.`),
  ].join("\n");
}

function summary(findings: readonly Finding[]): string {
  const counts = SEVERITIES.map((severity) => [findings.filter((each) => each.severity === severity).length, severity]);
  const told = counts
    .filter(([count]) => count !== 0)
    .map(([count, severity]) => `${count} ${plural(severity as string, count as number)}`);
  return told.length > 0 ? `${told.join(", ")}.` : "Nothing endangers locks here, as far as can be seen.";
}

function plural(severity: string, count: number): string {
  return count === 1 || severity === "critical" ? severity : `${severity}s`;
}

const INDENT = 8;

function labelled(label: string, text: string): string {
  return `  ${label.padEnd(INDENT - 2)}${wrapped(text, INDENT)}`;
}
