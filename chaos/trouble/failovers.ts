/** Replicas that are promoted, primaries that do not know it yet, and slots that move. */
import type { Affliction } from "../checks/affliction.ts";
import { now } from "../client/journal.ts";
import type { Fault } from "../plan/plan.ts";
import type { Victims } from "./trouble.ts";

export type FailoverFault = Extract<
  Fault,
  { readonly fault: "fail over" | "kill primary" | "zombie primary" | "cut off primary" | "move slot" }
>;

/** How far a replica may be behind its primary when that fails, in milliseconds. */
const LAG = 500;

export async function failOver(fault: FailoverFault, affliction: Affliction, victims: Victims): Promise<void> {
  const { topology, plan } = victims;
  if (fault.fault === "move slot") return topology.moveSlot?.(fault.lock);
  const { failovers } = topology;
  if (!failovers) throw new Error(`${plan.topology} has no replicas.`);
  // Grants that all replicas have acknowledged survive whichever is promoted.
  if (plan.replicas === 0 && !(fault.fault === "fail over" && failovers.isCoordinated)) {
    affliction.doubt = { cause: "failover", from: now() - LAG, until: Infinity };
  }
  switch (fault.fault) {
    case "fail over":
      return failovers.failOver(fault.lock);
    case "kill primary":
      return failovers.killPrimary(fault.lock, fault.time);
    case "zombie primary":
      return failovers.zombiePrimary(fault.lock, fault.time);
    case "cut off primary":
      return failovers.cutOffPrimary?.(fault.lock, fault.time);
  }
}
