/**
 * What `request` and `query` promise, written from the text of the Web Locks API (https://w3c.github.io/web-locks/),
 * and what holdfast adds. Every scheme and every driver has to pass it.
 */
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import type { LockManager } from "../../src/index.ts";
import { additionsSuite } from "./web-locks/additions.ts";
import { argumentsSuite } from "./web-locks/arguments.ts";
import { namesSuite } from "./web-locks/names.ts";
import { querySuite } from "./web-locks/query.ts";
import { queueSuite } from "./web-locks/queue.ts";
import { resultSuite } from "./web-locks/result.ts";
import { signalSuite } from "./web-locks/signal.ts";
import { stealSuite } from "./web-locks/steal.ts";
import { type Managers, type Open, type Order, turn } from "./locks.ts";

/**
 * @param open called anew for tests that close a manager; all it opens must see the same locks
 * @param order of requests of several managers: as they came, or in turns
 */
export function webLocksSuite(title: string, open: Open, order: Order = "strict"): void {
  describe(title, () => {
    let managers: Managers;
    const use = (): Managers => managers;

    beforeAll(async () => {
      managers = await open();
    });
    afterAll(() => managers.close());

    // Whatever a test did, it ended: so nobody holds and nobody waits. A test that failed must not fail those after it.
    afterEach(async () => {
      const left = await whatIsLeft(managers.locks);
      if (left.held.length + left.pending.length === 0) return;
      await managers.close();
      managers = await open();
      expect(left, "left behind by the test").toEqual({ held: [], pending: [] });
    });

    argumentsSuite(use);
    namesSuite(use);
    resultSuite(use);
    queueSuite(use, order);
    signalSuite(use);
    stealSuite(use, order);
    querySuite(use, order);
    additionsSuite(use, open);
  });
}

async function whatIsLeft(locks: LockManager): ReturnType<LockManager["query"]> {
  const patience = performance.now() + 1_000;
  for (;;) {
    const left = await locks.query();
    if (left.held.length + left.pending.length === 0 || performance.now() > patience) return left;
    await turn();
  }
}
