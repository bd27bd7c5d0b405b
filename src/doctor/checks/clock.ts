/** Leases end by the server's clock, fences are floored by it, and a failover moves both to another clock. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";
import { millis } from "./values.ts";

/** How far clocks may differ before it is a finding, in milliseconds. */
const MOST = 1_000;

export const clock: Check = {
  name: "clock",
  each({ clock: seen }, { scheme }) {
    if (!seen || Math.abs(seen.offset) - seen.error <= MOST) return [];
    const { offset, error } = seen;
    const effect =
      scheme === "set"
        ? "Scheme set floors fences by this machine's clock, so fences of different machines may be drawn out of order after a failover."
        : "Leases are not affected while both clocks run evenly, but a clock that is corrected with a jump ends leases early or late.";
    return [
      {
        severity: "warning",
        problem: `The server's clock is ${offset > 0 ? "ahead of" : "behind"} this machine's`,
        evidence: `by ${millis(Math.abs(offset))} (± ${millis(error)})`,
        remedy: `${effect} Keep the clocks of all machines in step with NTP (chrony, systemd-timesyncd), slewing rather than stepping`,
      },
    ];
  },
  all(servers) {
    const known = servers.filter(({ clock: seen }) => seen !== undefined);
    if (known.length < 2) return [];
    const sorted = known.toSorted((a, b) => offsetOf(a) - offsetOf(b));
    const [slowest, fastest] = [sorted[0] as Facts, sorted.at(-1) as Facts];
    const apart = offsetOf(fastest) - offsetOf(slowest);
    const error = (slowest.clock?.error ?? 0) + (fastest.clock?.error ?? 0);
    return apart - error <= MOST ? [] : [differ(slowest, fastest, apart)];
  },
};

function offsetOf({ clock: seen }: Facts): number {
  return seen?.offset ?? 0;
}

function differ(slowest: Facts, fastest: Facts, apart: number): Problem {
  return {
    severity: "warning",
    problem: "The servers' clocks differ",
    evidence: `${fastest.title} is ${millis(apart)} ahead of ${slowest.title}`,
    remedy:
      "After a failover, fences keep growing only if the clocks differ by less than the outage took. Keep all servers in step with NTP",
  };
}
