/** Several independent servers with a way of faults to each, and managers over all of them. */
import { Redis } from "ioredis";
import { type Server, type ServerOptions, startServer } from "../../scripts/servers.ts";
import type { LockManager, ManagerOptions, RedisClient } from "../../src/index.ts";
import { LockManager as Manager } from "../../src/index.ts";
import { unique } from "./locks.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { type Finishing, connectClient, leftovers } from "./stage.ts";
import { until } from "./until.ts";
import type { ClientName } from "./worlds.ts";

export interface NodesCast extends ManagerOptions {
  on?: ClientName;
  /** More settings of the clients, in their own words. */
  settings?: object;
}

export interface Opened {
  readonly locks: LockManager;
  readonly clients: readonly RedisClient[];
  end(): void;
}

export class Nodes {
  readonly servers: readonly Server[];
  readonly proxies: readonly Proxy[];
  /** Clients to look at the servers with, and to meddle; not through the proxies. */
  readonly redis: readonly Redis[];
  readonly #t: Finishing;

  constructor(t: Finishing, servers: readonly Server[], proxies: readonly Proxy[]) {
    this.#t = t;
    this.servers = servers;
    this.proxies = proxies;
    this.redis = servers.map(({ url }) => {
      const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
      redis.on("error", () => {}); // these tests break connections on purpose
      t.onTestFinished(() => redis.disconnect());
      return redis;
    });
  }

  /** A manager with clients of its own, as another process would have it. */
  async manager(cast: NodesCast = {}): Promise<LockManager> {
    return (await this.open(cast)).locks;
  }

  /** The same, with the means to end its clients as a process does that has nothing more to do. */
  async open({ on = "ioredis 6", settings, ...options }: NodesCast = {}): Promise<Opened> {
    const retry = on === "node-redis 6" ? { socket: { reconnectStrategy: 20 } } : { retryStrategy: () => 20 };
    const connect = ({ url }: Proxy) => connectClient(on, url, { ...retry, ...settings });
    const connected = await Promise.all(this.proxies.map(connect));
    const manager = new Manager(
      connected.map(({ client }) => client),
      options,
    );
    const end = (): void => connected.forEach((each) => each.end());
    this.#t.onTestFinished(() => {
      // Not waited for: it may be the fault itself that keeps it from ending.
      manager.close().then(end, end);
      end();
    });
    return { locks: manager, clients: connected.map(({ client }) => client), end };
  }

  /**
   * Nodes that count, all of them. New ones may not: if one of them does not answer the first manager for half a second,
   * because the machine stands still, it is left out until the largest ttl is over.
   */
  async inUse(): Promise<this> {
    for (;;) {
      const { locks, end } = await this.open();
      await locks.request(unique(), () => {}).catch(() => {});
      await locks.close();
      end();
      const marked = await Promise.all(this.redis.map((redis) => redis.hexists("lock::node", "mark")));
      if (marked.every((each) => each === 1)) return this;
      await Promise.all(this.redis.map((redis) => redis.flushall()));
    }
  }

  /** Who holds on each node: a token, or another library's value. */
  async holders(name: string): Promise<(string | null)[]> {
    const values = await Promise.all(this.redis.map((redis) => redis.get(`lock:${name}`)));
    return values.map((value) => value?.replace(/^([\w-]{22}:\w+)#[^]*$/, "$1") ?? null);
  }

  /** Wait until nothing but counters and labels is left on any node. */
  async cleared(timeoutMs?: number): Promise<void> {
    let left: string[][] = [];
    const empty = async (): Promise<boolean> => {
      left = await Promise.all(this.redis.map(leftovers));
      return left.flat().length === 0;
    };
    await until(empty, "nothing was left on the nodes", timeoutMs).catch((error: unknown) => {
      throw new Error(`Left on the nodes: ${JSON.stringify(left)}`, { cause: error });
    });
  }
}

export async function openNodes(t: Finishing, count = 3, options: ServerOptions = {}): Promise<Nodes> {
  const servers = await Promise.all(Array.from({ length: count }, () => startServer(options)));
  const proxies = await Promise.all(servers.map(({ port }) => startProxy(port)));
  t.onTestFinished(async () => {
    await Promise.all(proxies.map((proxy) => proxy.close()));
    await Promise.all(servers.map((server) => server.stop()));
  });
  return new Nodes(t, servers, proxies);
}
