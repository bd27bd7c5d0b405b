/** What is between client and server, and whether there is room for more clients. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";
import { numberIn, percent } from "./values.ts";

const NEARLY_ALL = 0.9;

export const connections: Check = {
  name: "connections",
  each(facts) {
    return [...mixture(facts), ...between(facts), ...room(facts)];
  },
};

function mixture({ mixed }: Facts): Problem[] {
  if (mixed === "servers") {
    return [
      {
        severity: "critical",
        problem: "The address leads to more than one server",
        evidence: "two connections met servers with different run ids",
        remedy:
          "Locks on one of them exclude nobody on the other. Connect to one primary, through Sentinels, or to all of them as Redlock",
      },
    ];
  }
  if (mixed === "connections") {
    return [
      {
        severity: "warning",
        problem: "A proxy shares its connections among clients",
        evidence: "CLIENT ID changed from one command to the next",
        remedy:
          "Subscriptions, MULTI, WATCH and WAIT belong to one connection and may fail. Connect to the server itself",
      },
    ];
  }
  return [];
}

function between(facts: Facts): Problem[] {
  const own = numberIn(facts, "tcp_port");
  if (facts.port === undefined || own === undefined || own === facts.port || own === 0) return [];
  return [
    {
      severity: "note",
      problem: "Something stands between this machine and the server",
      evidence: `the client connects to port ${facts.port}, the server listens on ${own}`,
      remedy:
        "A mapped port (a container, NAT) is harmless. A proxy adds latency, and must pass on subscriptions and scripts",
    },
  ];
}

function room(facts: Facts): Problem[] {
  const connected = numberIn(facts, "connected_clients");
  const most = numberIn(facts, "maxclients") ?? Number(facts.config?.get("maxclients") ?? NaN);
  if (connected === undefined || Number.isNaN(most) || connected < NEARLY_ALL * most) return [];
  return [
    {
      severity: "warning",
      problem: "The server has nearly all the clients that it takes",
      evidence: `${connected} of ${most} (${percent(connected / most)} of maxclients)`,
      remedy:
        "A process with holdfast needs two connections; if it gets none, it cannot renew its locks. Raise maxclients",
    },
  ];
}
