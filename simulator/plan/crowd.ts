/** Makes a plan a crowd: everybody wants one lock, for moments, and it is often taken by force, deleted or held by others. */
import type { Random } from "../world/random.ts";
import type { Operation, Plan, Step } from "./plan.ts";

const LOCK = "b";

export function crowded(plan: Plan, chances: Random): Plan {
  const names = plan.clients.map(({ name }) => name);
  const steps = plan.steps.flatMap((step): Step[] => {
    if ("trouble" in step) return [step];
    const { at, client, operation } = step;
    if (!["request", "acquire", "try", "steal", "force"].includes(operation.do)) return [step];
    // Those that are alike share a place in the queue, and hand the lock on within their process. What several locks
    // have in common, a call for all of them, fails for all if somebody touches one.
    const both = operation.do === "request" && chances.chance(0.3);
    const wish: Operation = {
      ...operation,
      ...(both ? { do: "several", locks: [LOCK, "a"] } : { locks: [LOCK] }),
      hold: chances.spread(1, 60),
    };
    const crowd = Array.from({ length: 1 + chances.below(5) }, (): Step => {
      return { at: at + chances.between(0, 3), client, operation: wish };
    });
    const moment = at + chances.between(0, 80);
    const other = { at: moment, client: chances.pick(names) };
    const short = { locks: [LOCK], hold: 5, ttl: wish.ttl ?? 1_000 };
    if (chances.chance(0.3)) crowd.push({ ...other, operation: { do: "steal", ...short } });
    if (chances.chance(0.3)) crowd.push({ ...other, operation: { ...wish, ...short } });
    if (chances.chance(0.1)) crowd.push({ at: moment, trouble: { fault: "delete", lock: LOCK } });
    if (chances.chance(0.05)) crowd.push({ at: moment, trouble: { fault: "foreign holder", lock: LOCK, hold: 50 } });
    return crowd;
  });
  return { ...plan, isCrowd: true, steps: steps.sort((a, b) => a.at - b.at) };
}
