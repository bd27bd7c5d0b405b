/** The Web Locks API where a server is far away, and where Sentinels say which one it is. */
import { afterAll, beforeAll, describe } from "vitest";
import { startServer } from "../../scripts/servers.ts";
import { LockManager } from "../../src/index.ts";
import type { Managers } from "../support/locks.ts";
import { startProxy } from "../support/proxy.ts";
import { webLocksSuite } from "../support/web-locks-suite.ts";
import { openClient, type Place, places, type World } from "../support/worlds.ts";

interface Opened {
  open(): Promise<LockManager>;
  close(): Promise<void>;
}

/** A round trip takes 25 ms. */
async function farAway(): Promise<Opened> {
  const server = await startServer();
  const proxy = await startProxy(server.port);
  proxy.delay(12.5);
  const ends: (() => void)[] = [];
  return {
    open: async () => {
      const { client, end } = await openClient("ioredis 6", `redis://127.0.0.1:${proxy.port}`);
      ends.push(end);
      return new LockManager(client, { turn: 1 });
    },
    close: async () => {
      for (const end of ends) end();
      await proxy.close();
      await server.stop();
    },
  };
}

async function throughSentinels(): Promise<Opened> {
  const place = places.find(({ title }) => title === "lua on ioredis 6 through Sentinels") as Place;
  const world: World = await place.open();
  return { open: () => world.manager({ turn: 1 }), close: () => world.close() };
}

describe.each([
  ["25 ms away", farAway],
  ["through Sentinels", throughSentinels],
])("%s", (_, begin) => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await begin();
  });
  afterAll(() => opened.close());

  const open = async (): Promise<Managers> => {
    const [locks, other] = [await opened.open(), await opened.open()];
    return {
      locks,
      other,
      close: async () => {
        await Promise.all([locks.close(), other.close()]);
      },
    };
  };
  webLocksSuite("web locks", open, "strict");
});
