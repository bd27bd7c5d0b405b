/** Faults of the network, made by the proxies. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Proxy } from "../../test/support/proxy.ts";
import type { Fault } from "../plan/plan.ts";

export type NetworkFault = Extract<
  Fault,
  { readonly fault: "black hole" | "drop replies" | "refuse" | "delay" | "reset" }
>;

/** Of a delay each way, in milliseconds. */
const LATENCY = 60;

export async function cutRoute(fault: NetworkFault, proxies: readonly Proxy[]): Promise<void> {
  if (fault.fault === "reset") {
    for (const proxy of proxies) proxy.reset();
    return;
  }
  for (const proxy of proxies) {
    if (fault.fault === "black hole") proxy.blackHole();
    else if (fault.fault === "drop replies") proxy.dropReplies();
    else if (fault.fault === "delay") proxy.delay(LATENCY);
    else await proxy.refuse();
  }
  await sleep(fault.time);
  for (const proxy of proxies) await proxy.heal();
}
