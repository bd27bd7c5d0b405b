import { contest, contestant } from "../lib/contest.ts";
import type { Scenario, Stage } from "../lib/scenario.ts";

const name = "fairness";
const ttl = 10_000;
const processes = 4;
const waitersEach = 8;

export const fairness: Scenario = {
  name: "fairness",
  asks: "4 processes × 8 waiters on one lock, each again and again, a timer of 1 ms inside",
  rounds: { full: 3, quick: 2 },
  columns: [
    { key: "jain", title: "Jain", better: "more", brief: true },
    { key: "starved", title: "starved", better: "less" },
    { key: "p50", title: "wait p50 ms", better: "less", brief: true },
    { key: "p99", title: "wait p99 ms", better: "less", brief: true },
    { key: "tail", title: "p99 / p50", better: "less" },
    { key: "rate", title: "grants/s", better: "more" },
    { key: "utilisation", title: "in use %", better: "more", brief: true },
    { key: "sent", title: "sent/grant", better: "less", brief: true },
    { key: "commands", title: "run/grant", better: "less" },
    { key: "clientCpu", title: "client CPU µs/grant", better: "less" },
    { key: "serverCpu", title: "server CPU µs/grant", better: "less" },
  ],
  figures: [
    {
      id: "fairness.jain",
      says: "Jain's index of the 32 waiters' grants at least 0.99",
      column: "jain",
      bound: { atLeast: 0.99 },
      tolerance: 0.01,
    },
    {
      id: "fairness.starved",
      says: "no waiter without a grant",
      column: "starved",
      bound: { atMost: 0 },
      tolerance: 0,
    },
    {
      id: "fairness.tail",
      says: "99th percentile of the wait at most 1.5 × its median",
      column: "tail",
      bound: { atMost: 1.5 },
      tolerance: 0.25,
    },
    {
      id: "fairness.utilisation",
      says: "the lock in use at least 85 % of the time",
      column: "utilisation",
      bound: { atLeast: 85 },
      tolerance: 0.1,
    },
  ],
  takes: ({ kind }) => kind !== "floor",
  measure,
  roles: { contestant: (session) => contestant(waitersEach, () => session.acquire(name, ttl)) },
};

async function measure(stage: Stage) {
  const hired = Array.from({ length: processes }, () => stage.hire("contestant"));
  const contestants = await Promise.all(hired);
  return { values: await contest(stage.server, contestants, stage.mode === "full" ? 4_000 : 1_200) };
}
