/**
 * Work over several servers while one minority of them after the other fails: at most one holder, growing fences, and
 * everybody is served. `npm run test:redlock` for ten minutes; a short run is among the tests.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lock, LockManager } from "../../src/index.ts";
import type { Nodes } from "./nodes.ts";
import { until } from "./until.ts";

/** No request of these managers may wait longer than this, in milliseconds: some time out of votes, and all the others. */
const LONGEST_WAIT = 20_000;
const LOCKS = 3;

export interface Outcome {
  grants: number;
  faults: string[];
  lost: number;
  longestWait: number;
  /** Heap in MB, at each fault. */
  heap: number[];
}

const pick = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T;

class Watch {
  readonly outcome: Outcome = { grants: 0, faults: [], lost: 0, longestWait: 0, heap: [] };
  readonly pending = new Set<readonly [string]>();
  readonly #holding = new Map<string, Lock>();
  readonly #fences = new Map<string, number>();

  /** One turn of one worker. Throws if a promise was broken. */
  async work(locks: LockManager, name: string): Promise<void> {
    const askedAt = performance.now();
    const lock = await this.during(`acquire ${name}`, this.#acquired(locks, name, askedAt));
    this.outcome.longestWait = Math.max(this.outcome.longestWait, performance.now() - askedAt);
    this.#begin(name, lock);
    await sleep(Math.random() * 20);
    this.#end(name, lock);
    await this.during(`release ${name}`, lock.release());
  }

  /** What has not ended is told of, if the run does not end. */
  async during<T>(what: string, doing: Promise<T>): Promise<T> {
    const entry = [what] as const;
    this.pending.add(entry);
    try {
      return await doing;
    } finally {
      this.pending.delete(entry);
    }
  }

  async #acquired(locks: LockManager, name: string, askedAt: number): Promise<Lock> {
    for (;;) {
      const left = LONGEST_WAIT - (performance.now() - askedAt);
      if (left <= 0)
        throw new Error(`${name}: waited ${LONGEST_WAIT} ms, ${JSON.stringify(this.outcome.faults.slice(-3))}`);
      try {
        return await locks.acquire(name, { waitTimeout: Math.ceil(left) });
      } catch {
        await sleep(50);
      }
    }
  }

  #begin(name: string, lock: Lock): void {
    const other = this.#holding.get(name);
    if (other?.held && lock.held) throw new Error(`${name}: two holders, ${other.fence} and ${lock.fence}`);
    const last = this.#fences.get(name) ?? 0;
    if (lock.fence <= last) throw new Error(`${name}: fence ${lock.fence} after ${last}`);
    this.#fences.set(name, lock.fence);
    this.#holding.set(name, lock);
    this.outcome.grants++;
  }

  #end(name: string, lock: Lock): void {
    if (!lock.held) this.outcome.lost++;
    if (this.#holding.get(name) === lock) this.#holding.delete(name);
  }
}

export async function forEachLock(act: (name: string) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < LOCKS; i++) await act(lockName(i));
}

function lockName(i: number): string {
  return `lock ${i % LOCKS}`;
}

/** @param ms for how long */
export async function endure(nodes: Nodes, managers: readonly LockManager[], ms: number): Promise<Outcome> {
  const watch = new Watch();
  const end = performance.now() + ms;
  let broken: unknown;
  const isOver = (): boolean => performance.now() > end || broken !== undefined;
  const workers = managers.flatMap((locks) =>
    Array.from({ length: LOCKS * 2 }, async (_, i) => {
      while (!isOver()) await watch.work(locks, lockName(i));
    }),
  );
  const troubled = watch.during("faults", trouble(nodes, watch.outcome, isOver));
  const all = [...workers, troubled].map((each) => each.catch((error: unknown) => (broken ??= error)));
  const hung = sleep(ms + 60_000, undefined, { ref: false }).then(() => {
    broken ??= new Error(`Hung: ${String([...watch.pending])}; ${watch.outcome.faults.slice(-3).join(", ")}`);
  });
  await Promise.race([Promise.all(all), hung]);
  if (broken) throw broken;
  return watch.outcome;
}

/** One fault after the other, each over before the next begins, and its node counted again. */
async function trouble(nodes: Nodes, outcome: Outcome, isOver: () => boolean): Promise<void> {
  const faults = { freeze, cut, slow, "restart empty": restart, "restart with old data": restartOld };
  while (!isOver()) {
    const [what, act] = pick(Object.entries(faults));
    const at = Math.floor(Math.random() * nodes.servers.length);
    outcome.faults.push(`${what} ${at + 1}`);
    outcome.heap.push(Math.round(process.memoryUsage().heapUsed / 1e6));
    await act(nodes, at);
    await counted(nodes, at);
    await sleep(200);
  }
}

async function freeze(nodes: Nodes, at: number): Promise<void> {
  nodes.servers[at]!.freeze();
  await sleep(300 + Math.random() * 2_500);
  nodes.servers[at]!.thaw();
}

async function cut(nodes: Nodes, at: number): Promise<void> {
  await nodes.proxies[at]!.refuse();
  await sleep(Math.random() * 2_000);
  await nodes.proxies[at]!.heal();
}

async function slow(nodes: Nodes, at: number): Promise<void> {
  nodes.proxies[at]!.delay(Math.random() * 300);
  await sleep(2_000);
  await nodes.proxies[at]!.heal();
}

async function restart(nodes: Nodes, at: number): Promise<void> {
  const server = nodes.servers[at]!;
  await server.crash();
  await rm(join(server.dir, "dump.rdb"), { force: true });
  await server.start();
}

async function restartOld(nodes: Nodes, at: number): Promise<void> {
  await nodes.redis[at]!.call("SAVE");
  await sleep(Math.random() * 1_500);
  await nodes.servers[at]!.restart();
}

/** The node's mark is that of the process that runs. */
async function counted(nodes: Nodes, at: number): Promise<void> {
  const redis = nodes.redis[at]!;
  const isMarked = async (): Promise<boolean> => {
    const info = await redis.info("server");
    return /^run_id:(\w+)/m.exec(info)?.[1] === (await redis.hget("lock::node", "run"));
  };
  await until(isMarked, "the node counted again", 30_000);
}
