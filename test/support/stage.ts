/** One test's own server, the managers on it, and everything else that must be gone when the test is over. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { createClient } from "redis";
import { type Server, type ServerOptions, startServer } from "../../scripts/servers.ts";
import type { LockManager, ManagerOptions, RedisClient } from "../../src/index.ts";
import { LockManager as Manager } from "../../src/index.ts";
import { openBun } from "./bun.ts";
import { openGlide } from "./glide.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { until } from "./until.ts";
import type { ClientName } from "./worlds.ts";

/** What a test gives: where to say what must be done when it is over, also when it fails or takes too long. */
export interface Finishing {
  onTestFinished(finish: () => void | Promise<void>): void;
}

export interface Cast extends ManagerOptions {
  /** The client library (default ioredis 6). */
  on?: ClientName;
  /** Where to connect to (default: the stage's server, without a proxy). */
  url?: string;
  /** More settings of the client, in its own words. */
  settings?: object;
  /** Makes the client (or stands between it and the manager) instead of the above. */
  client?: RedisClient;
}

export interface Stage {
  readonly server: Server;
  /** A client to look at the server with, and to meddle. */
  readonly redis: Redis;
  /** A manager with a client of its own, as another process would have it. */
  manager(cast?: Cast): Promise<LockManager>;
  /** A way to the server with faults. */
  proxy(): Promise<Proxy>;
  /** Another plain client of the server. */
  client(url?: string, settings?: object): Redis;
}

export async function openStage(t: Finishing, options: ServerOptions = {}): Promise<Stage> {
  const server = await startServer(options);
  t.onTestFinished(() => server.stop());
  const client = (url = server.url, settings = {}): Redis => {
    const redis = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20, ...settings });
    redis.on("error", () => {}); // these tests break connections on purpose
    t.onTestFinished(() => redis.disconnect());
    return redis;
  };
  return {
    server,
    redis: client(),
    client,
    manager: async ({ on = "ioredis 6", url = server.url, settings, client: given, ...managerOptions } = {}) => {
      const { client: made, end } = given ? { client: given, end: () => {} } : await connectClient(on, url, settings);
      const manager = new Manager(made, managerOptions);
      t.onTestFinished(() => {
        // Not waited for: it may be the fault itself that keeps it from ending. Its server goes in any case.
        manager.close().then(end, end);
        end();
      });
      return manager;
    },
    proxy: async () => {
      const proxy = await startProxy(server.port);
      t.onTestFinished(() => proxy.close());
      return proxy;
    },
  };
}

export interface Connected {
  readonly client: RedisClient;
  end(): void;
}

/** A client that is connected, or on its way where the server does not answer. */
export async function connectClient(on: ClientName, url: string, settings: object = {}): Promise<Connected> {
  if (on === "node-redis 6") {
    const client = createClient({ url, ...settings });
    client.on("error", () => {});
    const connected = client.connect().catch(() => {});
    await Promise.race([connected, new Promise((resolve) => setTimeout(resolve, 300).unref())]);
    return { client, end: () => void (client.isOpen && client.destroy()) };
  }
  if (on === "bun") return openBun(url, settings);
  if (on === "glide") {
    // What cannot be reached now is connected to by the first command.
    return openGlide(url, settings).catch(() => openGlide(url, { ...settings, lazyConnect: true }));
  }
  const client =
    on === "ioredis 5"
      ? new Redis5(url, settings)
      : on === "iovalkey"
        ? new Valkey(url, settings)
        : new Redis(url, settings);
  client.on("error", () => {});
  return { client: client as RedisClient, end: () => client.disconnect() };
}

/** How often the server has been sent this command so far, from scripts too. */
export async function calls(redis: Redis, ...commands: string[]): Promise<number> {
  const stats = await redis.info("commandstats");
  return commands
    .map((command) => Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0))
    .reduce((sum, each) => sum + each, 0);
}

/** How often a script was called. */
export function scriptCalls(redis: Redis): Promise<number> {
  return calls(redis, "eval", "evalsha");
}

/** The connections of a server, as CLIENT LIST tells: one record of its fields each. */
export async function connections(redis: Redis): Promise<Record<string, string>[]> {
  const list = String(await redis.client("LIST"));
  return list
    .trim()
    .split("\n")
    .map((line) => Object.fromEntries(line.split(" ").map((field) => field.split("=", 2) as [string, string])));
}

/** Wait until somebody listens for pushes, so that a waiter's first question is not its only one. */
export async function listening(redis: Redis, count: number): Promise<void> {
  const counted = async (): Promise<boolean> =>
    (await connections(redis)).filter(({ sub, ssub }) => Number(sub) + Number(ssub ?? 0) > 0).length === count;
  await until(counted, `${count} managers listened for pushes`);
}

/** All keys but the fence counters and the managers' labels, which outlive locks on purpose. */
export async function leftovers(redis: Redis): Promise<string[]> {
  const keys = await redis.keys("*");
  return keys.filter((key) => !/(:fence|::node)$/.test(key) && !/client:[\w-]{22}$/.test(key)).sort();
}

/** Shared values stay for a while, for those who come late, and go by themselves. */
export async function dropSharedValues(redis: Redis): Promise<void> {
  for (const key of await redis.keys("*:shared-value")) {
    if ((await redis.pttl(key)) === -1) throw new Error(`${key} never expires.`);
    await redis.unlink(key);
  }
}

/** Wait until nothing but counters and labels is left on the server. */
export async function cleared(redis: Redis, timeoutMs?: number): Promise<void> {
  let last: string[] = [];
  const empty = async (): Promise<boolean> => (last = await leftovers(redis)).length === 0;
  await until(empty, "nothing was left on the server", timeoutMs).catch((error: unknown) => {
    throw new Error(`Left on the server: ${last.join(", ")}`, { cause: error });
  });
}

/** Rejections that nobody looked after, from now on until the test is over. */
export function unhandledRejections(t: Finishing): readonly unknown[] {
  const seen: unknown[] = [];
  const see = (reason: unknown): void => void seen.push(reason);
  process.on("unhandledRejection", see);
  t.onTestFinished(() => void process.off("unhandledRejection", see));
  return seen;
}

/** The same on each, all at once, because some of it takes seconds; a failure says on which. */
export async function onEach<T extends object>(kinds: readonly T[], run: (kind: T) => Promise<void>): Promise<void> {
  const failed = (kind: T) => (error: unknown) => {
    throw new Error(`On ${Object.values(kind).join(" with ")}: ${String(error)}`, { cause: error });
  };
  await Promise.all(kinds.map((kind) => run(kind).catch(failed(kind))));
}
