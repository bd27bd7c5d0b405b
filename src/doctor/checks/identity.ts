/** Redlock's servers must be independent: a server that is two of them votes twice. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";

export const identity: Check = {
  name: "identity",
  topologies: ["redlock"],
  all(servers, { count }) {
    return [...twice(servers), ...(count % 2 === 0 ? [even(count)] : [])];
  },
};

function twice(servers: readonly Facts[]): Problem[] {
  const ids = new Set(servers.flatMap(({ info }) => info?.get("run_id") ?? []));
  return [...ids]
    .map((id) => servers.filter(({ info }) => info?.get("run_id") === id))
    .filter((same) => same.length > 1)
    .map((same) => ({
      severity: "critical",
      problem: "Two addresses lead to the same server",
      evidence: `${same.map(({ title }) => title).join(" and ")} have the same run id`,
      remedy: "Its vote would count twice, so that a minority could grant a lock. Leave one of them out",
    }));
}

function even(count: number): Problem {
  return {
    severity: "note",
    problem: "An even number of servers tolerates no more failures than one fewer",
    evidence: `${count} servers; a majority is ${count / 2 + 1}`,
    remedy: "Use 3 or 5 servers",
  };
}
