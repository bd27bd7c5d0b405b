import type { Driver } from "./driver.ts";
import { show } from "../options/checks.ts";
import { GlideDriver, isGlide } from "./glide/client.ts";
import type { GlideClient } from "./glide/library.ts";
import type { GlideTerms } from "./glide/client.ts";
import { GlideClusterDriver, isGlideCluster } from "./glide/cluster.ts";
import { IoredisClusterDriver, isIoredisCluster } from "./ioredis/cluster.ts";
import type { IoredisCluster } from "./ioredis/cluster.ts";
import { IoredisDriver, isIoredis } from "./ioredis/client.ts";
import type { IoredisClient } from "./ioredis/client.ts";
import { isNodeRedisCluster, NodeRedisClusterDriver } from "./node-redis/cluster.ts";
import type { NodeRedisCluster } from "./node-redis/cluster.ts";
import { isNodeRedisPool, NodeRedisPoolDriver } from "./node-redis/pool.ts";
import type { NodeRedisPool } from "./node-redis/pool.ts";
import { isNodeRedisSentinel, NodeRedisSentinelDriver } from "./node-redis/sentinel.ts";
import type { NodeRedisSentinel } from "./node-redis/sentinel.ts";
import { isNodeRedis, NodeRedisDriver } from "./node-redis/client.ts";
import type { NodeRedisClient } from "./node-redis/client.ts";

/** A Redis client that holdfast knows how to drive, recognised by its shape. */
export type RedisClient =
  IoredisClient | IoredisCluster | GlideClient | NodeRedisClient | NodeRedisCluster | NodeRedisPool | NodeRedisSentinel;

/** @throws TypeError for anything that is no client of a known kind. */
export function driverFor(client: unknown, terms?: GlideTerms): Driver {
  const driver = typeof client === "object" && client !== null ? find(client, terms) : undefined;
  if (driver) return driver;
  throw new TypeError(
    "Expected a Redis client: an ioredis 5 or 6 or iovalkey instance (new Redis(), new Cluster()), a node-redis 5 or 6 client " +
      "(createClient(), createClientPool(), createCluster(), createSentinel()), or a GlideClient or GlideClusterClient of @valkey/valkey-glide from 2.3 on; " +
      `got ${show(client)}. Leave it out for locks within this process.`,
  );
}

function find(client: object, terms?: GlideTerms): Driver | undefined {
  const keyPrefix = prefixOf(client);
  // ioredis puts its prefix before every key it sees: not before channels, and not inside of hash tags. So a connection
  // of our own has none, and what it stands for is part of the names of keys.
  if (isIoredisCluster(client)) {
    if (!keyPrefix) return new IoredisClusterDriver(client);
    const { redisOptions } = client.options as { readonly redisOptions?: object };
    const own = client.duplicate([], { keyPrefix: "", redisOptions: { ...redisOptions, keyPrefix: "" } });
    return new IoredisClusterDriver(own, { owned: true, keyPrefix });
  }
  if (isIoredis(client)) {
    if (!keyPrefix) return new IoredisDriver(client);
    return new IoredisDriver(client.duplicate({ keyPrefix: "" }), { owned: true, keyPrefix });
  }
  if (isNodeRedisCluster(client)) return new NodeRedisClusterDriver(client, keyPrefix);
  if (isNodeRedisSentinel(client)) return new NodeRedisSentinelDriver(client, keyPrefix);
  if (isNodeRedisPool(client)) return new NodeRedisPoolDriver(client, keyPrefix);
  if (isNodeRedis(client)) return new NodeRedisDriver(client, { keyPrefix });
  if (isGlide(client)) return new GlideDriver(client, terms);
  if (isGlideCluster(client)) return new GlideClusterDriver(client);
  return undefined;
}

function prefixOf(client: object): string {
  const { options, _keyPrefix } = client as { readonly options?: unknown; readonly _keyPrefix?: unknown };
  const inOptions = (options as { readonly keyPrefix?: unknown } | undefined)?.keyPrefix;
  return String(inOptions || _keyPrefix || "");
}
