/** A Cluster that does not cover all slots keeps no locks in the others. */
import type { Check } from "../finding.ts";

export const cluster: Check = {
  name: "cluster",
  topologies: ["cluster"],
  each({ clusterState }) {
    if (clusterState === undefined || clusterState === "ok") return [];
    return [
      {
        severity: "critical",
        problem: "The Cluster does not work as a whole",
        evidence: `cluster_state is ${clusterState}`,
        remedy:
          "Some locks cannot be taken until each slot has a server. redis-cli --cluster check HOST:PORT says which",
      },
    ];
  },
};
