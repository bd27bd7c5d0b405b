/** A string key without a ttl where a lock would be holds that lock forever. */
import type { Check } from "../finding.ts";

export const foreign: Check = {
  name: "foreign",
  each({ eternal }, { prefix }) {
    if (!eternal || eternal.count === 0) return [];
    const { count, samples, isComplete } = eternal;
    const names = samples.map((name) => JSON.stringify(name)).join(", ");
    const more = count > samples.length ? `, and ${isComplete ? "" : "at least "}${count - samples.length} more` : "";
    return [
      {
        severity: "warning",
        problem: `${count === 1 ? "A key holds a lock" : `${count} keys hold locks`} forever`,
        evidence: `string keys without a ttl under the prefix ${JSON.stringify(prefix)}: ${names}${more}`,
        remedy:
          "holdfast never makes such keys: another program did (SET without PX), or crashed between SETNX and EXPIRE. " +
          "If nobody works under such a lock, holdfast release NAME --force; else use another --prefix",
      },
    ];
  },
};
