/** Random faults. HOLDFAST_MINUTES makes it longer. */
import { expect, test } from "vitest";
import { openNodes } from "../support/nodes.ts";
import { endure, forEachLock } from "../support/trouble.ts";
import { isLong } from "../support/worlds.ts";

const minutes = Number(process.env["HOLDFAST_MINUTES"] ?? (isLong ? 0.5 : 0.2));

test(
  "one node of three after the other fails: one holder, growing fences, and all are served",
  {
    timeout: minutes * 60_000 + 90_000,
  },
  async (t) => {
    const nodes = await openNodes(t);
    const managers = await Promise.all(
      (["ioredis 6", "node-redis 6", "ioredis 6"] as const).map((on) => nodes.manager({ on, ttl: 1_500 })),
    );
    const outcome = await endure(nodes, managers, minutes * 60_000);
    if (process.env["HOLDFAST_MINUTES"]) process.stdout.write(`${JSON.stringify(outcome)}\n`);
    expect(outcome.grants).toBeGreaterThan(100);
    // A node that came back with old data has waiters of then, and lets them go when it is asked next.
    await forEachLock((name) => managers[0]!.request(name, { steal: true }, () => {}));
    await nodes.cleared(20_000);
  },
);
