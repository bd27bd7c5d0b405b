import { show } from "../options/checks.ts";
import type { Driver } from "./driver.ts";
import { BunDriver } from "./bun/client.ts";
import { isBun } from "./bun/library.ts";
import type { BunClient } from "./bun/library.ts";
import { GlideDriver, isGlide } from "./glide/client.ts";
import { GlideClusterDriver, isGlideCluster } from "./glide/cluster.ts";
import type { GlideClient } from "./glide/library.ts";
import { IoredisDriver } from "./ioredis/client.ts";
import { IoredisClusterDriver } from "./ioredis/cluster.ts";
import { isIoredis, isIoredisCluster } from "./ioredis/library.ts";
import type { IoredisClient, IoredisCluster } from "./ioredis/library.ts";
import { NodeRedisDriver } from "./node-redis/client.ts";
import { NodeRedisClusterDriver } from "./node-redis/cluster.ts";
import * as nodeRedis from "./node-redis/library.ts";
import type { NodeRedisClient, NodeRedisCluster, NodeRedisPool, NodeRedisSentinel } from "./node-redis/library.ts";
import { NodeRedisPoolDriver } from "./node-redis/pool.ts";
import { NodeRedisSentinelDriver } from "./node-redis/sentinel.ts";
import { share } from "./shared.ts";
import { UpstashDriver } from "./upstash/client.ts";
import { isUpstash } from "./upstash/library.ts";
import type { UpstashClient } from "./upstash/library.ts";

/** A Redis client that holdfast supports, recognised by its shape. */
export type RedisClient =
  | BunClient
  | IoredisClient
  | IoredisCluster
  | GlideClient
  | NodeRedisClient
  | NodeRedisCluster
  | NodeRedisPool
  | NodeRedisSentinel
  | UpstashClient;

/** Features of a driver that cost something, if its user needs them. */
export interface DriverTerms {
  /** See `Driver.watchServer`. */
  readonly watchServer?: boolean;
}

/**
 * The client's driver, shared by all managers and guards on that client. Each of them closes it.
 *
 * @throws TypeError for anything that is not a client of a known kind.
 */
export function driverFor(client: unknown, { watchServer = false }: DriverTerms = {}): Driver {
  const open = typeof client === "object" && client !== null ? opener(client) : undefined;
  if (!open) throw notKnown(client);
  const driver = share(client as object, open);
  if (watchServer) driver.watchServer?.();
  return driver;
}

/** Undefined if the client is not of a known kind. */
function opener(client: object): (() => Driver) | undefined {
  if (isUpstash(client)) return () => new UpstashDriver(client);
  const keyPrefix = prefixOf(client);
  if (isIoredisCluster(client)) return () => new IoredisClusterDriver(client, keyPrefix);
  if (isIoredis(client)) return () => new IoredisDriver(client, keyPrefix);
  if (nodeRedis.isNodeRedisCluster(client)) return () => new NodeRedisClusterDriver(client, keyPrefix);
  if (nodeRedis.isNodeRedisSentinel(client)) return () => new NodeRedisSentinelDriver(client, keyPrefix);
  if (nodeRedis.isNodeRedisPool(client)) return () => new NodeRedisPoolDriver(client, keyPrefix);
  if (nodeRedis.isNodeRedis(client)) return () => new NodeRedisDriver(client, keyPrefix);
  if (isBun(client)) return () => new BunDriver(client);
  if (isGlide(client)) return () => new GlideDriver(client);
  if (isGlideCluster(client)) return () => new GlideClusterDriver(client);
  return undefined;
}

/** The user's prefix for every key. Commands are sent in a way that no client adds it by itself. */
function prefixOf(client: object): string {
  const { options, _keyPrefix } = client as { readonly options?: unknown; readonly _keyPrefix?: unknown };
  const inOptions = (options as { readonly keyPrefix?: unknown } | undefined)?.keyPrefix;
  return String(inOptions || _keyPrefix || "");
}

function notKnown(client: unknown): TypeError {
  if (typeof client === "object" && client !== null && nodeRedis.isOldNodeRedis(client)) {
    return new TypeError(
      "Expected a client of node-redis 5 or 6; got one of an older version. Update it: npm install redis@latest",
    );
  }
  return new TypeError(
    "Expected a Redis client: of ioredis 5 or 6 or iovalkey (new Redis(), new Cluster()), of node-redis 5 or 6 " +
      "(createClient(), createClientPool(), createCluster(), createSentinel()), a GlideClient or GlideClusterClient " +
      "of @valkey/valkey-glide 2.3 or newer, a RedisClient of Bun 1.2.23 or newer, or a Redis of @upstash/redis; " +
      `got ${show(client)}. Without a client, locks are kept within this process.`,
  );
}
