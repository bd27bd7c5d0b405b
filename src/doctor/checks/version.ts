/** What the server is, and what its version lacks. */
import type { Check, Problem } from "../finding.ts";
import type { Facts } from "../facts/facts.ts";

/** The oldest that holdfast is tested on. */
const OLDEST = 6;

interface Lack {
  /** The first version that has it. */
  readonly redis: readonly [major: number, minor: number];
  readonly valkey: readonly [major: number, minor: number];
  readonly topology?: "cluster";
  readonly what: string;
}

const LACKS: readonly Lack[] = [
  {
    redis: [6, 2],
    valkey: [7, 2],
    what: "CLIENT INFO (holdfast cannot notice that a client was moved to another database by SELECT)",
  },
  {
    redis: [7, 0],
    valkey: [7, 2],
    topology: "cluster",
    what: "sharded channels (each push goes to every server of the Cluster)",
  },
  { redis: [7, 2], valkey: [7, 2], what: "WAITAOF (no durability: { aof: true })" },
];

export const version: Check = {
  name: "version",
  each(facts, { topology }) {
    const { info } = facts;
    if (!info) return [];
    const { product, number } = productOf(info);
    const evidence = `${product} ${number}`;
    const found = [number.split(".").map(Number)].map(([major = 0, minor = 0]) => [major, minor] as const)[0] ?? [0, 0];
    if (product !== "Redis" && product !== "Valkey") return [other(evidence)];
    if (product === "Redis" && found[0] < OLDEST) return [tooOld(evidence)];
    const lacks = LACKS.filter((lack) => {
      const first = product === "Redis" ? lack.redis : lack.valkey;
      return (
        (lack.topology ?? topology) === topology &&
        (found[0] < first[0] || (found[0] === first[0] && found[1] < first[1]))
      );
    });
    if (lacks.length === 0) return [];
    return [
      {
        severity: "note",
        problem: "The server's version lacks something that holdfast can use",
        evidence: `${evidence} lacks ${lacks.map(({ what }) => what).join("; ")}`,
        remedy: "Locks are safe without it. Update the server if you need it",
      },
    ];
  },
};

/** What the server is, as it says in INFO server. */
export function productOf(info: ReadonlyMap<string, string>): { product: string; number: string } {
  const valkey = info.get("valkey_version");
  if (valkey !== undefined) return { product: "Valkey", number: valkey };
  for (const [field, product] of [
    ["dragonfly_version", "Dragonfly"],
    ["garnet_version", "Garnet"],
    ["kvrocks_version", "Kvrocks"],
  ] as const) {
    const number = info.get(field);
    if (number !== undefined) return { product, number };
  }
  return { product: "Redis", number: info.get("redis_version") ?? "unknown" };
}

/** In words, for headings. */
export function serverName({ info }: Facts): string {
  if (!info) return "a server of unknown version";
  const { product, number } = productOf(info);
  return `${product} ${number}`;
}

function other(evidence: string): Problem {
  return {
    severity: "warning",
    problem: "The server is neither Redis nor Valkey",
    evidence,
    remedy:
      "holdfast is tested on Redis and Valkey only. Run its tests against this server (REDIS_URL=… npm test) before you rely on it",
  };
}

function tooOld(evidence: string): Problem {
  return {
    severity: "critical",
    problem: `The server is older than Redis ${OLDEST}`,
    evidence,
    remedy: `Locks may fail with unknown commands. Update to Redis ${OLDEST}.2 or newer, or Valkey`,
  };
}
