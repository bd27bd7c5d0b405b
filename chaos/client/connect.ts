/** A manager for one client process, set up as the documentation tells users to. */
import { Cluster, Redis } from "ioredis";
import { type RedisClient, LockManager } from "holdfast";
import { createClient, createCluster, createSentinel } from "redis";
import type { Address, ClientSpec, Way } from "./spec.ts";

const host = "127.0.0.1";
const MASTER = "mymaster";

export interface Opened {
  readonly locks: LockManager;
  del(key: string): Promise<unknown>;
  close(): Promise<void>;
}

interface Connection {
  readonly client: RedisClient;
  end(): void;
}

export async function open({ plan, way, replicas }: ClientSpec): Promise<Opened> {
  const connections = await { ioredis, "node-redis": nodeRedis, glide }[plan.library](way);
  const clients = connections.map(({ client }) => client);
  const locks = new LockManager(way.kind === "nodes" ? clients : clients[0]!, {
    ttl: plan.ttl,
    label: plan.name,
    ...(plan.turn === undefined ? {} : { turn: plan.turn }),
    ...(replicas > 0 ? { durability: { replicas } } : {}),
  });
  return {
    locks,
    del: (key) => Promise.all(connections.map(({ client }) => (client as unknown as Pick<Redis, "del">).del(key))),
    close: async () => {
      await locks.close();
      for (const connection of connections) connection.end();
    },
  };
}

/** Faults make errors, which the commands that they strike report themselves. */
function quiet<T extends { on(event: "error", listener: () => void): unknown }>(client: T): T {
  client.on("error", () => {});
  return client;
}

async function ioredis(way: Way): Promise<Connection[]> {
  const retryStrategy = (times: number): number => Math.min(20 * times, 500);
  const made = (client: Redis | Cluster): Connection => ({
    client: quiet(client as Redis),
    end: () => client.disconnect(),
  });
  switch (way.kind) {
    case "one":
      return [made(new Redis(way.port, host, { retryStrategy }))];
    case "nodes":
      return way.ports.map((port) => made(new Redis(port, host, { retryStrategy })));
    case "sentinel": {
      const sentinels = way.seeds.map((each) => ({ ...each }));
      const watched = { sentinels, name: MASTER, failoverDetector: true, sentinelCommandTimeout: 1_000 };
      return [made(new Redis({ ...watched, natMap: way.map, retryStrategy, sentinelRetryStrategy: retryStrategy }))];
    }
    case "cluster": {
      const seeds = way.seeds.map((each) => mapped(way.map, each));
      const options = { slotsRefreshInterval: 5_000, natMap: way.map, clusterRetryStrategy: retryStrategy };
      return [made(new Cluster(seeds, options))];
    }
  }
}

async function nodeRedis(way: Way): Promise<Connection[]> {
  const silence = (limit: number) => ({
    pingInterval: limit / 3,
    socket: { socketTimeout: limit, reconnectStrategy: (attempt: number) => Math.min(25 * 2 ** attempt, 500) },
  });
  switch (way.kind) {
    case "one":
    case "nodes": {
      const ports = way.kind === "one" ? [way.port] : way.ports;
      return Promise.all(
        ports.map(async (port) => {
          const { socket, pingInterval } = silence(6_000);
          const client = quiet(createClient({ socket: { ...socket, host, port }, pingInterval }));
          await client.connect();
          return { client, end: () => client.destroy() };
        }),
      );
    }
    case "sentinel": {
      const client = quiet(
        createSentinel({
          name: MASTER,
          sentinelRootNodes: way.seeds.map((each) => ({ ...each })),
          nodeAddressMap: { ...way.map },
          sentinelClientOptions: silence(2_000),
          nodeClientOptions: silence(6_000),
          passthroughClientErrorEvents: true,
        }),
      );
      await client.connect();
      return [{ client, end: () => void client.destroy() }];
    }
    case "cluster": {
      const client = quiet(
        createCluster({
          rootNodes: way.seeds.map((each) => ({ socket: mapped(way.map, each) })),
          nodeAddressMap: { ...way.map },
          defaults: silence(6_000),
        }),
      );
      await client.connect();
      return [{ client, end: () => client.destroy() }];
    }
  }
}

async function glide(way: Way): Promise<Connection[]> {
  // Its native part is large, and few processes need it.
  const { GlideClient, Logger } = await import("@valkey/valkey-glide");
  Logger.setLoggerConfig("off");
  if (way.kind !== "one" && way.kind !== "nodes") throw new Error(`GLIDE is not for ${way.kind}.`);
  const ports = way.kind === "one" ? [way.port] : way.ports;
  return Promise.all(
    ports.map(async (port) => {
      const config = { addresses: [{ host, port }], requestTimeout: 2_000 };
      // A server that cannot be reached now is connected to by the first command.
      const client = await GlideClient.createClient(config).catch(() =>
        GlideClient.createClient({ ...config, lazyConnect: true }),
      );
      return { client, end: () => client.close() };
    }),
  );
}

function mapped(map: Readonly<Record<string, Address>>, { host: name, port }: Address): Address {
  return { ...(map[`${name}:${port}`] ?? { host: name, port }) };
}
