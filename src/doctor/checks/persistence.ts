/** A server that restarts forgets what it has not written to its disk, so held locks are granted again. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";

const FORGETS = "After a crash or restart, locks that are held can be granted again";

export const persistence: Check = {
  name: "persistence",
  each(facts, { topology }) {
    const { info, config } = facts;
    if (!info && !config) return [];
    const failing = failures(facts);
    if (isLogged(facts) === undefined) return failing;
    // Redlock leaves a restarted server out until the leases that it may have forgotten are over.
    const severity = topology === "redlock" ? "note" : "warning";
    const remedy =
      topology === "redlock"
        ? "holdfast counts a restarted server only once forgotten leases are over (delayRestarted), so this is safe. " +
          "With appendonly yes and appendfsync always it would count at once"
        : "Use appendonly yes with appendfsync everysec (loses up to 1 s of grants) or always (loses none), or replicas and " +
          "durability: { replicas: 1 }. Compare fences at what the lock guards";
    if (!isLogged(facts)) {
      const saves = config?.get("save");
      const evidence =
        `appendonly is no; ` +
        (saves === ""
          ? "no snapshots either (save is empty)"
          : saves === undefined
            ? "snapshots at most"
            : `snapshots only (save ${saves})`);
      return [...failing, { severity, problem: `${FORGETS}: grants are not logged to disk`, evidence, remedy }];
    }
    if (config?.get("appendfsync") === "no") {
      const problem = "If the machine crashes, locks that are held can be granted again: the log is not synced";
      const evidence =
        "appendonly is yes, appendfsync is no: the system decides when it writes (Linux: about every 30 s)";
      return [...failing, { severity, problem, evidence, remedy }];
    }
    return failing;
  },
};

/** Whether each write is logged; undefined if the server does not say. */
function isLogged({ info, config }: Facts): boolean | undefined {
  const enabled = info?.get("aof_enabled") ?? config?.get("appendonly");
  return enabled === undefined ? undefined : enabled === "1" || enabled === "yes";
}

/** A disk that fails. */
function failures({ info }: Facts): Problem[] {
  const failed = [
    ["aof_last_write_status", "write the append-only file"],
    ["rdb_last_bgsave_status", "save a snapshot"],
  ].filter(([field = ""]) => (info?.get(field) ?? "ok") !== "ok");
  return failed.map(([field, what]) => ({
    severity: "critical",
    problem: `The server could not ${what} last time`,
    evidence: `${field} is ${info?.get(field as string)}`,
    remedy:
      "It refuses writes, and so locks, until it can (MISCONF). Its log says why; free disk space or mend its rights",
  }));
}
