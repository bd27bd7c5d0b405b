/**
 * `npm run soak -- --minutes N`: mixed load on one server for a long time, while managers come and go. Prints what it
 * measured, and ends with 1 if anything has grown.
 *
 *     --minutes N      how long (default: 30)
 *     --seed S         what the load is drawn from (default: the time of day)
 *     --results FILE   write the figures to FILE
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { LockManager } from "holdfast";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { findServerBinary, readVersion, startServer } from "../../scripts/servers.ts";
import { Registers } from "../../simulator/checks/register.ts";
import { Random } from "../../simulator/world/random.ts";
import { Work } from "../client/work.ts";
import { SCENARIOS, play } from "./scenarios.ts";
import { type Sample, growth, sample } from "./sample.ts";

/** How many samples are taken. */
const SAMPLES = 24;
/** One in that many holders is followed until nothing refers to its lock any more. */
const FOLLOWED = 50;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: String(Date.now()) },
    results: { type: "string" },
  },
});

async function connect(url: string) {
  const client = createClient({ url });
  await client.connect();
  return client;
}

type NodeRedis = Awaited<ReturnType<typeof connect>>;

class Soak {
  readonly #chances = new Random(values.seed);
  readonly #url: string;
  readonly #ioredis: Redis;
  readonly #nodeRedis: NodeRedis;
  readonly #steady: readonly LockManager[];
  /** Released locks that were not collected yet. */
  readonly #locks = new Set<WeakRef<object>>();
  #isOver = false;
  readonly counts = { operations: 0, grants: 0, managers: 0, followed: 0, lost: 0 };

  private constructor(url: string, ioredis: Redis, nodeRedis: NodeRedis) {
    this.#url = url;
    this.#ioredis = ioredis;
    this.#nodeRedis = nodeRedis;
    this.#steady = [new LockManager(ioredis, { ttl: 2_000 }), new LockManager(nodeRedis, { ttl: 3_000, turn: 1 })];
  }

  static async open(url: string): Promise<Soak> {
    return new Soak(url, new Redis(url), await connect(url));
  }

  get clients() {
    return [this.#ioredis, this.#nodeRedis];
  }

  /** Load for that long, and then none. */
  async load(milliseconds: number): Promise<void> {
    this.#isOver = false;
    const works = this.#steady.map((locks) => this.#work(locks));
    const workers = works.flatMap((work) => Array.from({ length: 6 }, () => work.run(this.#fork())));
    const visitors = Array.from({ length: 3 }, () => this.#visit());
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    this.#isOver = true;
    for (const work of works) work.stop();
    await Promise.all([...workers, ...visitors]);
  }

  /** How many released locks something still refers to. */
  get uncollected(): number {
    for (const reference of this.#locks) if (!reference.deref()) this.#locks.delete(reference);
    return this.#locks.size;
  }

  async close(): Promise<void> {
    for (const locks of this.#steady) await locks.close();
    this.#ioredis.disconnect();
    this.#nodeRedis.destroy();
  }

  #fork(): Random {
    return this.#chances.fork(this.#chances.next());
  }

  #work(locks: LockManager): Work {
    const registers = new Registers();
    const { counts } = this;
    return new Work({
      locks,
      journal: {
        add: ({ e }) => {
          if (e === "asked") counts.operations++;
          else if (e === "granted") counts.grants++;
        },
      },
      register: {
        read: async (lock) => {
          this.#follow(lock);
          return registers.read(lock.name, lock.fence);
        },
        write: async ({ name, fence }, read) => registers.write(name, fence, read) === "accepted",
      },
      isRedlock: false,
      ttl: 2_000,
      isAlone: false,
      mistake: undefined,
      del: async () => {},
    });
  }

  #follow(lock: object): void {
    if (this.counts.grants % FOLLOWED !== 0) return;
    this.counts.followed++;
    this.#locks.add(new WeakRef(lock));
  }

  /** Managers that come, do a few things, and go: on clients that stay, and on connections of their own. */
  async #visit(): Promise<void> {
    const chances = this.#fork();
    while (!this.#isOver) {
      const on = chances.pick([this.#ioredis, this.#nodeRedis, this.#url] as const);
      const locks = new LockManager(on, { ttl: 4_000 });
      this.counts.managers++;
      for (let i = chances.below(4); i >= 0; i--) {
        const isLost = await play(SCENARIOS[chances.pick(Object.keys(SCENARIOS))]!, locks, chances);
        if (isLost) this.counts.lost++;
        this.counts.operations++;
      }
      await locks.close();
    }
  }
}

async function main(): Promise<boolean> {
  if (!globalThis.gc) throw new Error("Start it with: npm run soak (it needs node --expose-gc)");
  await using server = await startServer();
  const look = new Redis(server.url);
  const soak = await Soak.open(server.url);
  const minutes = Number(values.minutes);
  const begun = performance.now();
  const samples: Sample[] = [];
  for (let i = 1; i <= SAMPLES; i++) {
    await soak.load(Math.max(500, begun + (i * minutes * 60_000) / SAMPLES - performance.now() - 1_600));
    samples.push(await sample(performance.now() - begun, look, soak.clients));
    const { at: _, ...figures } = samples.at(-1)!;
    console.log(`${((performance.now() - begun) / 60_000).toFixed(1)} min  ${JSON.stringify(figures)}`);
  }
  const { uncollected } = soak;
  await soak.close();
  look.disconnect();
  const grown = growth(samples);
  if (uncollected > 0) grown.push(`${uncollected} released locks of ${soak.counts.followed} were not collected`);
  console.log(JSON.stringify({ ...soak.counts, uncollected }));
  console.log(grown.length === 0 ? "nothing has grown" : grown.join("\n"));
  if (values.results !== undefined) {
    const { product, version } = await readVersion(await findServerBinary());
    const { seed } = values;
    const figures = { minutes, seed, server: `${product} ${version}`, ...soak.counts, uncollected, grown, samples };
    await writeFile(values.results, `${JSON.stringify(figures, undefined, 2)}\n`);
  }
  return grown.length === 0;
}

process.exitCode = (await main()) ? 0 : 1;
