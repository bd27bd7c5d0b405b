/** What is published on node:diagnostics_channel about a grant: how it began, and how it ended, once. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LockManager } from "../src/index.ts";
import { LockLostError } from "../src/index.ts";
import type { Finishing } from "./support/stage.ts";
import { rejection, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { type World, schemes } from "./support/worlds.ts";

const kinds = ["granted", "released", "detached", "lost"] as const;

describe.each(schemes)("$title", ({ scheme, open }) => {
  let world: World;
  let locks: LockManager;
  beforeAll(async () => {
    world = await open();
    locks = await world.manager();
  });
  afterAll(() => world.close());

  /** What is reported of one lock from now on: what happened, and the fence. */
  function reported(t: Finishing, name: string): [string, number][] {
    const seen: [string, number][] = [];
    for (const kind of kinds) {
      const listen = (message: unknown): void => {
        const { lock, fence } = message as { lock: string; fence: number };
        if (lock === name) seen.push([kind, fence]);
      };
      subscribe(`holdfast:${kind}`, listen);
      t.onTestFinished(() => void unsubscribe(`holdfast:${kind}`, listen));
    }
    return seen;
  }

  test("a lock that is given back was granted and released", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const lock = await locks.acquire(name);
    await lock.release();
    await lock.release();
    expect(seen).toEqual([
      ["granted", lock.fence],
      ["released", lock.fence],
    ]);
  });

  test("a lock that was lost is not released too, whatever its holder does then", async (t) => {
    const name = unique();
    const seen = reported(t, name);
    const request = locks.request(name, { ttl: 500 }, async (lock) => {
      await (await world.manager()).forceRelease(name);
      await lock.extend().catch(() => {});
      await until(() => !lock.held, "it was lost");
      await lock.release();
    });
    // A theft is an AbortError by the specification; what only a renewal finds out is a loss.
    const error = await rejection(request);
    expect(error instanceof LockLostError || (error as Error).name === "AbortError").toBe(true);
    expect(seen.map(([kind]) => kind)).toEqual(["granted", "lost"]);
  });

  test.skipIf(scheme !== "lua")(
    "a lock that is handed over was detached, and its heir has a grant of its own",
    async (t) => {
      const name = unique();
      const seen = reported(t, name);
      const lock = await locks.acquire(name);
      const heir = await locks.attach(await lock.detach());
      await heir?.release();
      expect(seen).toEqual([
        ["granted", lock.fence],
        ["detached", lock.fence],
        ["granted", heir?.fence],
        ["released", heir?.fence],
      ]);
    },
  );
});
