/**
 * What the doctor finds on servers that keep locks, and what every check does.
 *
 * `facts/` ask the servers, and `checks/` judge the answers: a check asks nothing, so all that is sent is in one
 * folder. A fact that a server does not give (to this account, or in its version) is undefined, and a check that needs
 * it finds nothing; the check "visibility" reports what could not be seen.
 */
import type { Facts } from "./facts/facts.ts";

/** From worst to mildest. */
export const SEVERITIES = ["critical", "warning", "note"] as const;
/**
 * - `critical`: locks fail, or two holders at once are likely
 * - `warning`: two holders at once, or no locks, after an event that must be expected, such as a restart
 * - `note`: worth knowing; nothing needs to be done
 */
export type Severity = (typeof SEVERITIES)[number];

/** What a check says about one server, or about all of them. */
export interface Problem {
  readonly severity: Severity;
  /** One line: what is wrong. */
  readonly problem: string;
  /** What was seen. */
  readonly evidence: string;
  /** What to do about it, and why. */
  readonly remedy: string;
}

/** A problem, with the check that found it and the server. */
export interface Finding extends Problem {
  readonly check: string;
  /** Undefined if it concerns all servers together. */
  readonly server: string | undefined;
}

export type Topology = "server" | "sentinel" | "cluster" | "redlock";

/** How the locks will be used. */
export interface Terms {
  readonly topology: Topology;
  readonly scheme: "lua" | "set" | "redlock";
  /** Including the client's own prefix. */
  readonly prefix: string;
  /** How many servers there are, for Redlock; 1 for a Cluster, which has its own. */
  readonly count: number;
  /** The shortest lease in use, in milliseconds. */
  readonly ttl: number;
}

export interface Check {
  readonly name: string;
  /** Where it applies (default: everywhere). */
  readonly topologies?: readonly Topology[];
  /** What is wrong with one server that answers. */
  each?(facts: Facts, terms: Terms): readonly Problem[];
  /** What is wrong with all of them together. */
  all?(servers: readonly Facts[], terms: Terms): readonly Problem[];
}

export interface Report {
  readonly terms: Terms;
  /** Those that answered. */
  readonly servers: readonly Facts[];
  /** The worst first. */
  readonly findings: readonly Finding[];
  /** The names of the checks that found nothing. */
  readonly passed: readonly string[];
}
