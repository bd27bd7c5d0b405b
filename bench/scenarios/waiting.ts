import type { Session } from "../contenders/index.ts";
import { sleep } from "../lib/clock.ts";
import type { Methods, Scenario, Stage } from "../lib/scenario.ts";
import type { Traffic } from "../lib/server.ts";

/** Waiters that poll rarely are counted more finely by ten of them, each the only one of its lock. */
const locks = 10;
/** So long that no holder renews while we count. */
const ttl = 600_000;
const settleMs = 500;

export const waiting: Scenario = {
  name: "waiting",
  asks: "What waiting costs while another process holds: 10 waiters, each on a lock of its own; per waiter",
  rounds: { full: 2, quick: 1 },
  columns: [
    { key: "sent", title: "commands/s sent", better: "less", brief: true },
    { key: "commands", title: "run/s", better: "less", brief: true },
    { key: "clientCpu", title: "client CPU µs/s", better: "less", brief: true },
    { key: "serverCpu", title: "server CPU µs/s", better: "less", brief: true },
  ],
  figures: [],
  takes: ({ kind }) => kind !== "floor",
  measure,
  roles: { holder: visitor, waiter: visitor },
};

async function measure(stage: Stage) {
  const [holder, waiter] = await Promise.all([stage.hire("holder"), stage.hire("waiter")]);
  await holder.call("hold");
  await waiter.call("request");
  await sleep(settleMs);
  const seconds = stage.mode === "full" ? 4 : 2;
  const clientCpu = waiter.call<number>("spend", seconds * 1_000);
  // A few commands a second: MONITOR does not disturb them.
  const counted = (): Promise<{ traffic: Traffic }> => stage.server.watch(() => sleep(seconds * 1_000));
  const { result, toll } = await stage.server.during(counted);
  const { sent, inner } = result.traffic;
  const unit = seconds * locks;
  return {
    values: {
      sent: sent / unit,
      commands: (sent + inner) / unit,
      clientCpu: (await clientCpu) / unit,
      serverCpu: (toll.cpu * 1_000) / unit,
    },
  };
}

function visitor(session: Session): Methods {
  const names = Array.from({ length: locks }, (_, i) => `waiting:${i}`);
  return {
    hold: async () => void (await Promise.all(names.map((name) => session.acquire(name, ttl)))),
    request: () => names.forEach((name) => void session.acquire(name, ttl)),
    async spend(ms: number): Promise<number> {
      const cpu = process.cpuUsage();
      await sleep(ms);
      const spent = process.cpuUsage(cpu);
      return spent.user + spent.system;
    },
  };
}
