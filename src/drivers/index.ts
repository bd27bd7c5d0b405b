import type { Driver } from "../driver.ts";
import { show } from "../options.ts";
import { GlideDriver, isGlide } from "./glide.ts";
import type { GlideClient, GlideTerms } from "./glide.ts";
import { GlideClusterDriver, isGlideCluster } from "./glide-cluster.ts";
import { IoredisDriver, isIoredis } from "./ioredis.ts";
import type { IoredisClient } from "./ioredis.ts";
import { NodeRedisDriver, isNodeRedis } from "./node-redis.ts";
import type { NodeRedisClient } from "./node-redis.ts";

/** A Redis client that holdfast knows how to drive, recognised by its shape. */
export type RedisClient = IoredisClient | NodeRedisClient | GlideClient;

/** @throws TypeError for anything that is no client of a known kind. */
export function driverFor(client: unknown, terms?: GlideTerms): Driver {
  if (typeof client === "object" && client !== null) {
    if (isIoredis(client)) {
      const { keyPrefix } = client.options as { readonly keyPrefix?: string };
      if (keyPrefix) {
        throw new TypeError(
          `Expected an ioredis client without keyPrefix, which does not reach channels and scripts; got ${show(keyPrefix)}. ` +
            "Use the manager's prefix instead.",
        );
      }
      return new IoredisDriver(client);
    }
    if (isNodeRedis(client)) return new NodeRedisDriver(client);
    if (isGlide(client)) return new GlideDriver(client, terms);
    if (isGlideCluster(client)) return new GlideClusterDriver(client);
  }
  const came = (client as { readonly isCluster?: unknown } | null)?.isCluster ? "an ioredis Cluster" : show(client);
  throw new TypeError(
    "Expected a Redis client: an ioredis 5 or 6 or iovalkey instance (new Redis()), a node-redis 5 or 6 client " +
      "(createClient()), or a GlideClient or GlideClusterClient of @valkey/valkey-glide from 2.3 on; " +
      `got ${came}. Leave it out for locks within this process.`,
  );
}
