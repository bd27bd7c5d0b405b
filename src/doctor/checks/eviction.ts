/** A server that deletes keys when its memory is full deletes locks that are held: every lock has a ttl. */
import { evictionIn } from "../../drivers/info.ts";
import type { Check } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";
import { bytes, numberIn, percent } from "./values.ts";

/** Above this share of the limit, evictions are near. */
const NEAR = 0.8;

export const eviction: Check = {
  name: "eviction",
  each(facts) {
    const found = evictionIn((name) => facts.info?.get(name)) ?? fromConfig(facts);
    if (!found || found.policy === "noeviction") return [];
    const { policy, limit, takesLocks } = found;
    if (!takesLocks) {
      const remedy =
        "Nothing is evicted now. Set maxmemory-policy to noeviction before anybody sets a limit: CONFIG SET maxmemory-policy noeviction";
      const evidence = `maxmemory-policy is ${policy}, maxmemory is 0 (no limit)`;
      return [{ severity: "note", problem: "A memory limit would let the server evict locks", evidence, remedy }];
    }
    const [used, evicted = 0] = [numberIn(facts, "used_memory") ?? 0, numberIn(facts, "evicted_keys")];
    const isNear = evicted > 0 || used >= NEAR * limit;
    const first = policy === "volatile-ttl" ? " Locks go first, because their ttl is the shortest." : "";
    return [
      {
        severity: isNear ? "critical" : "warning",
        problem: "The server may evict locks that are held",
        evidence:
          `maxmemory-policy is ${policy}; ${bytes(used)} of ${bytes(limit)} in use (${percent(used / limit)}); ` +
          `${evicted} keys evicted since the server started`,
        remedy:
          `Every lock has a ttl, so ${policy} deletes locks like any other key, and two holders can then hold one.${first} ` +
          "Keep locks on a server without eviction: CONFIG SET maxmemory-policy noeviction, and the same in its configuration file",
      },
    ];
  },
};

/** If INFO is refused and CONFIG is not. */
function fromConfig({ config }: Facts): ReturnType<typeof evictionIn> {
  return evictionIn((name) => config?.get(name.replace("_", "-")));
}
