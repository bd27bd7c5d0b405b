/** What managers that come and go do in their time: each scenario once through, with nothing left behind. */
import { type LockManager, LockError, LockLostError, LockTimeoutError } from "holdfast";
import type { Random } from "../../simulator/world/random.ts";

export type Scenario = (locks: LockManager, chances: Random) => Promise<unknown>;

const NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"];

async function holds(locks: LockManager, chances: Random): Promise<void> {
  await using lock = await locks.acquire(chances.pick(NAMES), { ttl: 5_000 });
  await lock.extend(6_000);
}

async function givesUp(locks: LockManager, chances: Random): Promise<void> {
  const name = chances.pick(NAMES);
  await using _ = await locks.acquire(name);
  const waits = [{ waitTimeout: 5 }, { signal: AbortSignal.timeout(5) }, { waitTimeout: 5, onWait: () => {} }];
  await Promise.allSettled(waits.map((wait) => locks.request(name, wait, () => {})));
}

async function reads(locks: LockManager, chances: Random): Promise<void> {
  const name = chances.pick(NAMES);
  await Promise.all(Array.from({ length: 5 }, () => locks.request(name, { mode: "shared" }, () => {})));
  const lock = await locks.acquire(name);
  await lock.downgrade();
  await lock.release();
}

async function leads(locks: LockManager, chances: Random): Promise<void> {
  for await (const term of locks.elect(`election ${chances.pick(NAMES)}`)) {
    if (term.fence > 0) break;
  }
}

async function handsOver(locks: LockManager, chances: Random): Promise<void> {
  const detached = await (await locks.acquire(chances.pick(NAMES))).detach();
  await (await locks.attach(detached)).release();
}

/** Lost on purpose: a theft. */
async function steals(locks: LockManager, chances: Random): Promise<void> {
  const name = `stolen ${chances.pick(NAMES)}`;
  const lock = await locks.acquire(name);
  await locks.request(name, { steal: true }, () => {});
  await lock.release();
}

async function shares(locks: LockManager, chances: Random): Promise<void> {
  await locks.share(`value ${chances.pick(NAMES)}`, { ttl: 1_000 }, () => chances.below(100));
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  holds,
  "gives up": givesUp,
  reads,
  leads,
  "hands over": handsOver,
  steals,
  shares,
  "several at once": (locks) => locks.request(["a", "b", "c"], () => {}),
  permits: (locks) => locks.semaphore("s", 3).request({ permits: 2 }, () => {}),
  "runs a job": (locks, chances) => locks.once(`soak ${chances.below(50)}`, { atMost: 5_000, atLeast: 500 }, () => {}),
  "goes in again": (locks, chances) => {
    const name = chances.pick(NAMES);
    return locks.request(name, { reentrant: true }, () => locks.request(name, { reentrant: true }, () => {}));
  },
  looks: (locks) => locks.query(),
};

/**
 * A scenario may meet what another does to the same lock.
 *
 * @returns whether it lost its lock because this process stood still, as it may on a machine that has other work
 */
export async function play(scenario: Scenario, locks: LockManager, chances: Random): Promise<boolean> {
  try {
    await scenario(locks, chances);
  } catch (error) {
    if (error instanceof LockLostError && error.blocked !== undefined) return true;
    const isExpected = error instanceof LockTimeoutError || (error instanceof LockError && error.code === "gone");
    if (!isExpected) throw error;
  }
  return false;
}
