/** What is left on servers when all clients have gone. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../../scripts/servers.ts";
import { ask } from "../../scripts/topologies.ts";
import { JOB_KEPT } from "../plan/plan.ts";

/** Jobs are kept for a time, and so are the leases of the dead. */
const PATIENCE = JOB_KEPT + 8_000;

/**
 * Waits until nothing is left but counters of fences, labels of managers, marks of nodes and what nodes note of others.
 * Those, too, must have an end, but for the marks.
 *
 * @returns keys that stay, and why they should not
 */
export async function leftovers(primaries: readonly Server[]): Promise<string[]> {
  const until = performance.now() + PATIENCE;
  for (;;) {
    const found = (await Promise.all(primaries.map(lookAt))).flat();
    if (found.length === 0 || performance.now() > until) return found;
    await sleep(200);
  }
}

async function lookAt(server: Server): Promise<string[]> {
  const keys = (await ask(server, "KEYS", "*")) as string[];
  const found: string[] = [];
  for (const key of keys.filter((each) => !each.endsWith("::node"))) {
    if (!/:fence$|client:[\w-]{22}$|:node$/.test(key)) found.push(key);
    else if (Number(await ask(server, "PTTL", key)) === -1) found.push(`${key}, without an end`);
  }
  return found;
}
