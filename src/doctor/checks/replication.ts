/** What takes over if the server dies, and what it will know. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";
import { numberIn } from "./values.ts";

/** Seconds since the last message of a replica. */
const LONG_AGO = 5;

export const replication: Check = {
  name: "replication",
  each(facts, { topology }) {
    const { info } = facts;
    const role = info?.get("role");
    if (!info || role === undefined) return [];
    if (role !== "master") return [isReplica(facts)];
    const replicas = replicasIn(facts);
    const failsOver = topology === "sentinel" || topology === "cluster";
    if (replicas.length === 0) {
      if (!failsOver) return [];
      const remedy =
        "If this server dies, no replica can take over, and there are no locks until it is back. Add a replica";
      return [{ severity: "warning", problem: "The server has no replica", evidence: "connected_slaves is 0", remedy }];
    }
    if (topology === "redlock") return [ofRedlock(replicas.length)];
    return [...late(replicas), ...minimum(facts, replicas.length)];
  },
};

interface Replica {
  readonly title: string;
  readonly state: string;
  readonly lag: number;
}

function replicasIn({ info }: Facts): Replica[] {
  return [...(info ?? [])].flatMap(([name, value]) => {
    if (!/^slave\d+$/.test(name)) return [];
    const fields = new Map(value.split(",").map((each) => each.split("=", 2) as [string, string]));
    const title = `${fields.get("ip")}:${fields.get("port")}`;
    return [{ title, state: fields.get("state") ?? "", lag: Number(fields.get("lag") ?? 0) }];
  });
}

function isReplica(facts: Facts): Problem {
  const master = `${facts.info?.get("master_host")}:${facts.info?.get("master_port")}`;
  return {
    severity: "critical",
    problem: "The server is a replica, which cannot keep locks",
    evidence: `its role is replica of ${master}`,
    remedy: `Connect to the primary (${master}), or through Sentinels, which know it: redis+sentinel://…`,
  };
}

function ofRedlock(count: number): Problem {
  return {
    severity: "warning",
    problem: "The server has replicas, which Redlock cannot count on",
    evidence: `connected_slaves is ${count}`,
    remedy:
      "If a replica is promoted that missed a vote, a majority can vote twice. Run Redlock's servers without failover, " +
      "or use Sentinel or a Cluster alone with durability: { replicas: 1 }",
  };
}

function late(replicas: readonly Replica[]): Problem[] {
  const behind = replicas.filter(({ state, lag }) => state !== "online" || lag > LONG_AGO);
  if (behind.length === 0) return [];
  return [
    {
      severity: "warning",
      problem: `${behind.length} of ${replicas.length} replicas do not follow`,
      evidence: behind.map(({ title, state, lag }) => `${title} is ${state}, last heard of ${lag} s ago`).join("; "),
      remedy:
        "A replica that is promoted without the latest grants lets others hold locks that are held. " +
        "Check the replica's log and the network between the servers",
    },
  ];
}

function minimum(facts: Facts, connected: number): Problem[] {
  const needed = facts.config?.get("min-replicas-to-write");
  if (needed === undefined) return [];
  const good = numberIn(facts, "min_slaves_good_slaves") ?? connected;
  if (Number(needed) > good) {
    const remedy = "The server refuses all writes, and so locks (NOREPLICAS), until enough replicas are connected";
    const evidence = `min-replicas-to-write is ${needed}; ${good} replicas follow`;
    return [{ severity: "critical", problem: "Too few replicas for the server to take locks", evidence, remedy }];
  }
  if (Number(needed) > 0) return [];
  return [
    {
      severity: "warning",
      problem: "A primary that is cut off from its replicas keeps granting locks",
      evidence: `min-replicas-to-write is 0; ${connected} connected replica${connected > 1 ? "s" : ""}`,
      remedy:
        "During a failover both the old and the new primary may grant a lock. CONFIG SET min-replicas-to-write 1 makes the old one " +
        "stop after min-replicas-max-lag seconds; durability: { replicas: 1 } makes each grant wait for a replica",
    },
  ];
}
