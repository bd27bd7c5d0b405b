/** A lease is renewed at a third of its ttl, and must be renewed before it ends, so slow answers put it at risk. */
import type { Check } from "../finding.ts";
import { millis } from "./values.ts";

/** As shares of the ttl. */
const SLOW = 0.05;
const TOO_SLOW = 0.25;

export const latency: Check = {
  name: "latency",
  each({ delay: { median, longest } }, { ttl }) {
    if (longest <= SLOW * ttl) return [];
    return [
      {
        severity: longest > TOO_SLOW * ttl ? "critical" : "warning",
        problem: "Answers take long, measured by the ttl",
        evidence: `a command took ${millis(median)} in the median and ${millis(longest)} at most, at a ttl of ${millis(ttl)}`,
        remedy:
          "A lease may end before its renewal is answered, and its lock is lost. Use a longer ttl, or find what is slow: " +
          "the network, the server (SLOWLOG GET), or this machine",
      },
    ];
  },
};
