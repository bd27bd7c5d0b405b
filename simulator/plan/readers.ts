/**
 * Makes a plan one of readers: now and then two clients with new managers share one lock from the same moment on, behind
 * a holder whose clock is ahead of theirs. So their fences are drawn from what each node has counted, in the order in
 * which it hears of the two.
 */
import type { Random } from "../world/random.ts";
import type { Plan, Step } from "./plan.ts";

const LOCK = "b";
/** How long after the holder the readers ask, and how long before it their managers begin, in milliseconds. */
const APART = 500;
const EVERY = 10_000;

export function ofReaders(plan: Plan, chances: Random): Plan {
  const byClock = plan.clients.toSorted((a, b) => b.offset - a.offset).map(({ name }) => name);
  const [ahead, ...others] = byClock as [string, ...string[]];
  const steps: Step[] = [];
  for (let at = chances.between(0, EVERY); at < plan.length; at += chances.between(4 * APART, EVERY)) {
    const first = chances.pick(others);
    const readers = [first, chances.pick(others.filter((name) => name !== first))];
    const wish = { locks: [LOCK], ttl: 1_000, hold: chances.spread(1, 60) };
    for (const client of readers) steps.push({ at, client, operation: { ...wish, do: "close" } });
    steps.push({ at: at + APART, client: ahead, operation: { ...wish, do: "acquire" } });
    for (const client of readers) {
      const moment = at + 2 * APART + chances.between(0, 2);
      steps.push({ at: moment, client, operation: { ...wish, do: "acquire", mode: "shared" } });
    }
  }
  return { ...plan, isOfReaders: true, steps: steps.sort((a, b) => a.at - b.at) };
}
