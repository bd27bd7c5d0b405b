/** What could not be looked at, so that a short report is not mistaken for a healthy server. */
import type { Check } from "../finding.ts";

export const visibility: Check = {
  name: "visibility",
  each({ info, config, eternal, user }) {
    const hidden = [
      ...(info ? [] : [["INFO", "eviction, memory, persistence, replication and version", "+info"]]),
      ...(config ? [] : [["CONFIG GET", "appendfsync, min-replicas-to-write and output limits", "+config|get"]]),
      ...(eternal ? [] : [["SCAN", "keys that hold a lock forever", "+scan"]]),
    ];
    if (hidden.length === 0) return [];
    return [
      {
        severity: info ? "note" : "warning",
        problem: "Not everything could be examined",
        evidence: hidden.map(([command, what]) => `${command} is refused: ${what}`).join("; "),
        remedy:
          `To examine it, let this account ask: ACL SETUSER ${user} ${hidden.map(([, , rule]) => rule).join(" ")}. ` +
          "A managed service shows these settings in its console",
      },
    ];
  },
};
