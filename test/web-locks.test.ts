/** The Web Locks API on every scheme that has all of it (`set` has no shared locks and no queue). */
import { afterAll, beforeAll, describe } from "vitest";
import { LockManager, type ManagerOptions } from "../src/index.ts";
import type { Managers, Order } from "./support/locks.ts";
import { webLocksSuite } from "./support/web-locks-suite.ts";
import { isLong, type Place, places, queueing, type World } from "./support/worlds.ts";

webLocksSuite("in this process, as it comes", async () => {
  const locks = new LockManager();
  const other = new LockManager();
  return {
    locks,
    other,
    close: async () => {
      await Promise.all([locks.close(), other.close()]);
    },
  };
});

type Suite = [title: string, Place, Order, ManagerOptions];

/** Requests of several managers come in the order of the specification where each stands in the queue by itself. */
const worlds = places.flatMap((place): Suite[] => {
  if (!queueing.includes(place)) return [];
  // Of the topologies, that where something about the scheme itself is different.
  if (place.isTopology && place.title !== "lua on an ioredis 6 Cluster") return [];
  if (place.scheme === "memory") return [[place.title, place, "strict", {}]];
  const strict: Suite = [`${place.title}, turn: 1`, place, "strict", { turn: 1 }];
  // Turns are the manager's, whatever is behind it: all of these in the long run, which CI has a slice of.
  const takesTurns = isLong || place.title === "lua on ioredis 6";
  return takesTurns ? [[place.title, place, "turns", {}], strict] : [strict];
});

describe.each(worlds)("%s", (_, place, order, options) => {
  let world: World;
  beforeAll(async () => {
    world = await place.open();
  });
  afterAll(() => world.close());

  const open = async (): Promise<Managers> => {
    const [locks, other] = [await world.manager(options), await world.manager(options)];
    return {
      locks,
      other,
      close: async () => {
        await Promise.all([locks.close(), other.close()]);
      },
    };
  };
  webLocksSuite("web locks", open, order);
});
