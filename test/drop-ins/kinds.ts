/** What the drop-ins are in place of, and how each takes turns with the true one. */
import { Redlock as Sesame } from "@sesamecare-oss/redlock";
import type { Redis } from "ioredis";
import * as published from "redis-semaphore";
import { expect } from "vitest";
import type { RedisClient } from "../../src/index.ts";
import * as ours from "../../src/redis-semaphore.ts";
import Redlock from "../../src/redlock.ts";
import Redlock4 from "../../src/redlock4.ts";
import { until } from "../support/until.ts";
import { Redlock4 as True4, Redlock5 } from "./published.ts";

const hour = 3_600_000;
/** In a Cluster all that is locked in one step shares a slot. */
const [one, two] = ["{drop-in}a", "{drop-in}b"];

type Unlock = () => PromiseLike<unknown>;

export interface DropIn {
  readonly title: string;
  /** Locks, waiting for a release for as long as it takes, or fails at once. */
  ours(clients: RedisClient[], waits: boolean): Promise<Unlock>;
  theirs(clients: Redis[]): Promise<Unlock>;
}

const never = { retryCount: 0 };
const always = { retryCount: 10, retryDelay: hour, retryJitter: 0 };
const quick = { acquireTimeout: 50, retryInterval: 10 };
const patient = { acquireTimeout: hour, retryInterval: hour };

export const dropIns: DropIn[] = [
  {
    title: "redlock",
    ours: async (clients, waits) => {
      const lock = await new Redlock(clients, waits ? always : never).acquire([one, two], 60_000);
      const extended = await lock.extend(60_000);
      return () => extended.release();
    },
    theirs: async (clients) => {
      const lock = await new Redlock5(clients, never).acquire([two], 60_000);
      return () => lock.release();
    },
  },
  {
    title: "redlock, beside sesamecare's",
    ours: async (clients, waits) => {
      const lock = await new Redlock(clients, waits ? always : never).acquire([one], 60_000);
      return () => lock.release();
    },
    theirs: async (clients) => {
      const lock = await new Sesame(clients as never, never).acquire([one, two], 60_000);
      return () => lock.release();
    },
  },
  {
    title: "redlock4",
    ours: async (clients, waits) => {
      const lock = await new Redlock4(clients, waits ? always : never).lock([one, two], 60_000);
      await lock.extend(60_000);
      return () => lock.unlock();
    },
    theirs: async (clients) => {
      const lock = await new True4(clients, never).lock(two, 60_000);
      return () => lock.unlock();
    },
  },
  {
    title: "a RedlockMutex of redis-semaphore",
    ours: async (clients, waits) => {
      const lock = new ours.RedlockMutex(clients, one, waits ? patient : quick);
      await lock.acquire();
      return () => lock.release();
    },
    theirs: async (clients) => {
      const lock = new published.RedlockMutex(clients, one, quick);
      await lock.acquire();
      return () => lock.release();
    },
  },
  {
    title: "a RedlockMultiSemaphore of redis-semaphore",
    ours: async (clients, waits) => {
      const lock = new ours.RedlockMultiSemaphore(clients, one, 3, 2, waits ? patient : quick);
      await lock.acquire();
      return () => lock.release();
    },
    theirs: async (clients) => {
      const lock = new published.RedlockMultiSemaphore(clients, one, 3, 2, quick);
      await lock.acquire();
      return () => lock.release();
    },
  },
];

/**
 * Each is refused what the other holds, and one of ours that waits hears of our release.
 *
 * @param open clients of our own, and of theirs, each time others
 * @param listeners how many listen, on the server where the fewest do
 */
export async function takeTurns(
  { ours: mine, theirs }: DropIn,
  open: { ours(): Promise<RedisClient[]>; theirs(): Redis[] },
  listeners: () => Promise<number>,
): Promise<void> {
  const unlock = await mine(await open.ours(), false);
  await expect(theirs(open.theirs())).rejects.toThrow();
  await expect(mine(await open.ours(), false)).rejects.toThrow();
  const waiter = mine(await open.ours(), true);
  await until(async () => (await listeners()) > 0, "it listened");
  await unlock();
  await (
    await waiter
  )();
  // An operation is over when a majority has done it; the others do it soon.
  let held: Unlock | undefined;
  await until(async () => {
    held = await theirs(open.theirs()).catch(() => undefined);
    return held !== undefined;
  }, "they had their turn");
  await expect(mine(await open.ours(), false)).rejects.toThrow();
  await held!();
}
