/** The Web Locks API on every scheme that has all of it (`set` and `redlock` have no shared locks and no queue). */
import { afterAll, beforeAll, describe } from "vitest";
import { LockManager } from "../src/index.ts";
import { webLocksSuite } from "./support/web-locks-suite.ts";
import { places, type World } from "./support/worlds.ts";

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

describe.each(places.filter(({ scheme }) => scheme === "memory" || scheme === "lua"))("$title", (place) => {
  let world: World;
  beforeAll(async () => {
    world = await place.open();
  });
  afterAll(() => world.close());

  webLocksSuite("web locks", async () => {
    const [locks, other] = [await world.manager(), await world.manager()];
    return {
      locks,
      other,
      close: async () => {
        await Promise.all([locks.close(), other.close()]);
      },
    };
  });
});
