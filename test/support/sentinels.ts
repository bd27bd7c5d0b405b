/** A master with replicas, Sentinels that watch them, and managers that follow a failover. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { createSentinel } from "redis";
import type { Server } from "../../scripts/servers.ts";
import { type SentinelOptions, type Sentinels, startSentinels } from "../../scripts/topologies.ts";
import type { LockManager, ManagerOptions, RedisClient } from "../../src/index.ts";
import { LockManager as Manager } from "../../src/index.ts";
import { type Finishing, cleared, connections } from "./stage.ts";
import { until } from "./until.ts";

/** A failover takes seconds, and longer on a busy machine. */
export const FAILOVER = 20_000;

export const libraries = ["ioredis 6", "ioredis 5", "node-redis 6"] as const;
export type SentinelLibrary = (typeof libraries)[number];

export interface SentinelCast extends ManagerOptions {
  /** The client library (default ioredis 6). */
  on?: SentinelLibrary;
  /** More settings of the client, in its own words. */
  settings?: object;
}

export class SentinelStage {
  readonly sentinels: Sentinels;
  readonly #t: Finishing;

  constructor(t: Finishing, sentinels: Sentinels) {
    this.sentinels = sentinels;
    this.#t = t;
  }

  /** A client of ioredis that asks the Sentinels, as users are told to set it up. */
  client({ on, settings }: { on?: Exclude<SentinelLibrary, "node-redis 6">; settings?: object } = {}): Redis {
    const { addresses, name } = this.sentinels;
    const options = { sentinels: addresses, name, failoverDetector: true, ...settings };
    const redis = on === "ioredis 5" ? (new Redis5(options) as unknown as Redis) : new Redis(options);
    redis.on("error", () => {}); // these tests break connections on purpose
    this.#t.onTestFinished(() => redis.disconnect());
    return redis;
  }

  /** One of node-redis, connected. */
  async nodeRedisClient(settings: object = {}) {
    const { addresses, name } = this.sentinels;
    const client = createSentinel({
      name,
      sentinelRootNodes: addresses,
      passthroughClientErrorEvents: true,
      ...settings,
    });
    client.on("error", () => {});
    this.#t.onTestFinished(() => void client.destroy().catch(() => {}));
    await client.connect();
    return client;
  }

  /** A manager with a client of its own, as another process would have it. */
  async manager({ on = "ioredis 6", settings = {}, ...options }: SentinelCast = {}): Promise<LockManager> {
    const client = on === "node-redis 6" ? await this.nodeRedisClient(settings) : this.client({ on, settings });
    return this.managerOn(client, options);
  }

  managerOn(client: RedisClient, options: ManagerOptions = {}): LockManager {
    const manager = new Manager(client, options);
    // Not waited for: it may be the fault itself that keeps it from ending. Its server goes in any case.
    this.#t.onTestFinished(() => void manager.close());
    return manager;
  }

  /** A client to look at a server with: at the master of now if none is given. */
  async look(server?: Server): Promise<Redis> {
    const { port } = server ?? (await this.sentinels.master());
    const redis = new Redis(port, "127.0.0.1", { maxRetriesPerRequest: null });
    redis.on("error", () => {});
    this.#t.onTestFinished(() => redis.disconnect());
    return redis;
  }

  /** From now on the replicas get nothing of what the master writes, until `thaw`. */
  async cutOff(): Promise<{ thaw(): void }> {
    const redis = await this.look();
    const replicas = await this.sentinels.replicas();
    for (const replica of replicas) replica.freeze();
    // What were on its way to a frozen process would still reach it.
    await redis.call("CLIENT", "KILL", "TYPE", "replica");
    const gone = async (): Promise<boolean> => (await connections(redis)).every(({ flags }) => flags !== "S");
    await until(gone, "the master had no replica");
    return { thaw: () => replicas.forEach((replica) => replica.thaw()) };
  }

  /** Wait until nothing but the counter and labels is left on the master of now. */
  async cleared(): Promise<void> {
    await cleared(await this.look());
  }
}

export async function openSentinels(t: Finishing, options: SentinelOptions = {}): Promise<SentinelStage> {
  const sentinels = await startSentinels(options);
  t.onTestFinished(() => sentinels.stop());
  return new SentinelStage(t, sentinels);
}

/** Wait until so many managers listen for pushes on the server. */
export async function listeners(redis: Redis, count: number): Promise<void> {
  const counted = async (): Promise<boolean> => {
    const channels = (await redis.pubsub("CHANNELS", "lock:push:*")) as string[];
    return channels.length === count;
  };
  await until(counted, `${count} managers listened for pushes`, FAILOVER);
}
