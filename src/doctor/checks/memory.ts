/** A server without memory refuses locks, or is killed by the system. */
import type { Check } from "../finding.ts";
import { bytes, numberIn, percent } from "./values.ts";

const NEAR = 0.85;
const FULL = 0.97;

export const memory: Check = {
  name: "memory",
  each(facts) {
    const limit = numberIn(facts, "maxmemory");
    const used = numberIn(facts, "used_memory");
    const [resident, machine] = [numberIn(facts, "used_memory_rss"), numberIn(facts, "total_system_memory")];
    if (limit !== undefined && limit > 0 && used !== undefined && used >= NEAR * limit) {
      return [
        {
          severity:
            used >= FULL * limit && facts.info?.get("maxmemory_policy") === "noeviction" ? "critical" : "warning",
          problem: "The server's memory is nearly full",
          evidence: `${bytes(used)} of ${bytes(limit)} in use (${percent(used / limit)} of maxmemory)`,
          remedy:
            "When it is full, the server refuses new locks (OOM) or evicts keys. Raise maxmemory, or move other data elsewhere",
        },
      ];
    }
    if (limit === 0 && resident !== undefined && machine !== undefined && machine > 0 && resident >= NEAR * machine) {
      return [
        {
          severity: "warning",
          problem: "The machine's memory is nearly full",
          evidence: `the server uses ${bytes(resident)} of the machine's ${bytes(machine)}, and maxmemory is 0 (no limit)`,
          remedy:
            "The system may kill the server, and all locks are forgotten. Set maxmemory with maxmemory-policy noeviction",
        },
      ];
    }
    return [];
  },
};
