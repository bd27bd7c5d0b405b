/** Waiters are woken by messages: whether they arrive, how long they take, and what could cut them off. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";
import { bytes, millis } from "./values.ts";

/** A push is some 150 bytes, and a busy manager gets thousands a second. */
const LEAST_LIMIT = 256 * 1024;
/** A push that takes this part of a lease leaves little of a pushed grant's first, short lease. */
const SLOW = 0.05;

export const pushes: Check = {
  name: "pushes",
  each(facts, { ttl }) {
    return [...arrival(facts, ttl), ...limits(facts)];
  },
};

function arrival({ push }: Facts, ttl: number): Problem[] {
  if (push === undefined || push <= SLOW * ttl) return [];
  if (push === Infinity) {
    return [
      {
        severity: "critical",
        problem: "Messages do not reach their subscriber",
        evidence: "a message that was published to a channel of the prefix did not arrive within 3 s",
        remedy:
          "Waiters would learn of their grants only when they ask, every few seconds. Something between may drop SUBSCRIBE " +
          "(a proxy such as twemproxy). Connect to the server itself",
      },
    ];
  }
  return [
    {
      severity: "warning",
      problem: "Messages take long to arrive",
      evidence: `${millis(push)} from PUBLISH to its message, at a ttl of ${millis(ttl)}`,
      remedy:
        "Each handover of a lock takes at least that long. Run holdfast closer to the server, or use a longer ttl",
    },
  ];
}

/** `client-output-buffer-limit` is "class hard soft seconds", for three classes in one line. */
function limits({ config }: Facts): Problem[] {
  const setting = config?.get("client-output-buffer-limit") ?? "";
  const [, hard = 0, soft = 0, seconds = 0] = /pubsub (\d+) (\d+) (\d+)/.exec(setting)?.map(Number) ?? [];
  const isTight = (limit: number): boolean => limit > 0 && limit < LEAST_LIMIT;
  if (!isTight(hard) && !isTight(soft)) return [];
  return [
    {
      severity: "warning",
      problem: "The server cuts off subscribers soon",
      evidence: `client-output-buffer-limit pubsub is ${bytes(hard)} at once, ${bytes(soft)} for ${seconds} s`,
      remedy:
        "A client that is cut off misses pushes until it has connected again, and handovers take longer. " +
        'CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60" is the usual limit',
    },
  ];
}
