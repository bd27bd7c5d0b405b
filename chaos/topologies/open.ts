/** The servers that a plan asks for. */
import type { Plan } from "../plan/plan.ts";
import { openCluster } from "./cluster.ts";
import { openNodes } from "./nodes.ts";
import { openOne } from "./one.ts";
import { openSentinel } from "./sentinel.ts";
import type { Topology } from "./topology.ts";

export function openTopology(plan: Plan): Promise<Topology> {
  switch (plan.topology) {
    case "one":
    case "one-aof":
      return openOne(plan);
    case "sentinel":
      return openSentinel(plan);
    case "cluster":
      return openCluster(plan);
    case "redlock-3":
      return openNodes(plan, 3);
    case "redlock-5":
      return openNodes(plan, 5);
  }
}
