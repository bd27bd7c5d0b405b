/** Every scheme on every client library, on a real server; each world opens managers as other processes would. */
import { Cluster, Redis } from "ioredis";
import { Cluster as Cluster5, Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { startServer, type Server } from "../../scripts/servers.ts";
import { type Address, startCluster, startSentinels } from "../../scripts/topologies.ts";
import type { LockManager, ManagerOptions, RedisClient } from "../../src/index.ts";
import { LockManager as Manager } from "../../src/index.ts";
import { TestLocks } from "../../src/testing.ts";
import { Redis as Upstash } from "@upstash/redis";
import { UpstashServer } from "./upstash.ts";
import { isOnBun, openBun } from "./bun.ts";
import { openGlide, openGlideCluster } from "./glide.ts";

export type ClientName = "ioredis 6" | "ioredis 5" | "iovalkey" | "node-redis 6" | "glide" | "bun";

/** A client of a server, and how to end it. */
export interface OpenClient {
  readonly client: RedisClient;
  end(): void;
}

const clients: Record<ClientName, (url: string) => Promise<OpenClient>> = {
  "ioredis 6": async (url) => {
    const client = new Redis(url);
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  "ioredis 5": async (url) => {
    const client = new Redis5(url);
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  iovalkey: async (url) => {
    const client = new Valkey(url);
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  "node-redis 6": async (url) => {
    const client = createClient({ url });
    client.on("error", () => {});
    await client.connect();
    return { client, end: () => void (client.isOpen && client.destroy()) };
  },
  glide: openGlide,
  bun: openBun,
};

/** `npm run test:topologies` asks for all there is; `npm test` has to be over in minutes. */
export const isLong: boolean = process.env["HOLDFAST_LONG"] !== undefined;

const allClientNames = (Object.keys(clients) as ClientName[]).filter((name) => name !== "bun");

/** One of each driver; on Bun its own. */
const placeClients: ClientName[] = isOnBun ? ["bun"] : isLong ? allClientNames : ["ioredis 6", "node-redis 6", "glide"];

/** Drivers are tried with the scheme lua, and the other schemes with one of them; all with all in the long run. */
const otherClients: ClientName[] = isOnBun ? ["bun"] : isLong ? allClientNames : ["ioredis 6"];

/** Those on which faults are tested: all of them in the long run, which CI has a slice of. */
export const clientNames: ClientName[] = isOnBun ? ["bun"] : isLong ? allClientNames : ["ioredis 6", "node-redis 6"];

/**
 * Whether what is sent behind a command is on its way before that is answered. Bun sends nothing behind a MULTI until then:
 * if its reply is lost or late, the scheme set has not even asked for the lock.
 */
export function sendsAhead({ scheme, on }: { readonly scheme: string; readonly on: ClientName }): boolean {
  return scheme !== "set" || on !== "bun";
}

export function openClient(name: ClientName, url: string): Promise<OpenClient> {
  return clients[name](url);
}

/** Managers that share locks, and what they live on. */
export interface World {
  /** A manager with a client of its own, as another process would have it. */
  manager(options?: ManagerOptions): Promise<LockManager>;
  /** The server, or the first of several; none in memory. */
  readonly server: Server | undefined;
  /** A client to look at the server with. */
  readonly redis: Redis;
  /** All keys, of all servers that share them. */
  keys(): Promise<string[]>;
  pttl(key: string): Promise<number>;
  close(): Promise<void>;
}

export interface Place {
  readonly title: string;
  readonly scheme: "memory" | "lua" | "set" | "redlock";
  /** Servers change places there, or share the keys. */
  readonly isTopology?: boolean;
  /** Nothing is pushed, so that waiters ask, and whoever is robbed learns of it when it renews its lease. */
  readonly isDeaf?: boolean;
  open(): Promise<World>;
}

/** @param count how many servers, for the scheme `redlock` */
export async function openWorld(
  scheme: "lua" | "set" | "redlock",
  clientName: ClientName,
  count: number = scheme === "redlock" ? 3 : 1,
): Promise<World> {
  const servers = await Promise.all(Array.from({ length: count }, () => startServer()));
  const [server] = servers as [Server];
  const connect = async (): Promise<OpenClients> => {
    const connected = await Promise.all(servers.map(({ url }) => openClient(clientName, url)));
    const [client, ...others] = connected.map((each) => each.client);
    const all = others.length > 0 ? [client!, ...others] : client!;
    return { client: all, end: () => connected.forEach((each) => each.end()) };
  };
  const stop = async (): Promise<void> => {
    server.thaw();
    await Promise.all(servers.map((each) => each.stop()));
  };
  return worldOn([server], { scheme }, connect, stop);
}

interface OpenClients {
  readonly client: RedisClient | readonly RedisClient[];
  end(): void;
}

/** @param seen the servers whose keys are looked at */
function worldOn(
  seen: readonly Server[],
  own: ManagerOptions,
  connect: () => Promise<OpenClients>,
  stop: () => Promise<void>,
): World {
  const lookers = seen.map(({ url }) => new Redis(url));
  for (const looker of lookers) looker.on("error", () => {});
  const opened: { manager: LockManager; end: () => void }[] = [];
  return {
    server: seen[0],
    redis: lookers[0] as Redis,
    keys: async () => (await Promise.all(lookers.map((looker) => looker.keys("*")))).flat(),
    pttl: async (key) => {
      const told = await Promise.all(lookers.map((looker) => looker.pttl(key).catch(() => -2)));
      return Math.max(...told);
    },
    manager: async (options) => {
      const { client, end } = await connect();
      const manager = new Manager(client, { ...own, ...options });
      opened.push({ manager, end });
      return manager;
    },
    close: async () => {
      await Promise.all(opened.map(({ manager }) => manager.close()));
      for (const { end } of opened) end();
      for (const looker of lookers) looker.disconnect();
      await stop();
    },
  };
}

/** Clients that know more than one server, and how they find them. */
export const finders = {
  "an ioredis 6 Cluster": async (seeds: readonly Address[]) => {
    const client = new Cluster([...seeds]);
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  "an ioredis 5 Cluster": async (seeds: readonly Address[]) => {
    const client = new Cluster5([...seeds]);
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  "a node-redis 6 cluster": async (seeds: readonly Address[]) => {
    const client = createCluster({ rootNodes: seeds.map(({ host, port }) => ({ url: `redis://${host}:${port}` })) });
    client.on("error", () => {});
    await client.connect();
    return { client, end: () => void (client.isOpen && client.destroy()) };
  },
  "a GLIDE cluster client": (seeds: readonly Address[]) => openGlideCluster(seeds),
  "ioredis 6 through Sentinels": async (sentinels: readonly Address[]) => {
    const client = new Redis({ sentinels: [...sentinels], name: "mymaster" });
    client.on("error", () => {});
    return { client, end: () => client.disconnect() };
  },
  "node-redis 6 through Sentinels": async (sentinels: readonly Address[]) => {
    const client = createSentinel({ name: "mymaster", sentinelRootNodes: [...sentinels] });
    client.on("error", () => {});
    await client.connect();
    return { client, end: () => void client.destroy().catch(() => {}) };
  },
};

export type Finder = keyof typeof finders;

/** Those for clusters. */
export const clusterFinders: Finder[] = (Object.keys(finders) as Finder[]).filter((finder) => /luster/.test(finder));

function clusterPlace(scheme: "lua" | "set", finder: Finder, options: ManagerOptions = {}): Place {
  const open = async (): Promise<World> => {
    const cluster = await startCluster({ replicasEach: 0 });
    return worldOn(
      cluster.servers,
      { scheme, ...options },
      () => finders[finder](cluster.seeds),
      () => cluster.stop(),
    );
  };
  const under = options.prefix ? `, all in one slot,` : "";
  return { title: `${scheme}${under} on ${finder}`, scheme, isTopology: true, open };
}

function sentinelPlace(finder: Finder): Place {
  const open = async (): Promise<World> => {
    const sentinels = await startSentinels();
    return worldOn(
      [await sentinels.master()],
      {},
      () => finders[finder](sentinels.addresses),
      () => sentinels.stop(),
    );
  };
  return { title: `lua on ${finder}`, scheme: "lua", isTopology: true, open };
}

const poolPlace: Place = {
  title: "lua on a node-redis 6 pool",
  scheme: "lua",
  isTopology: true,
  open: async () => {
    const server = await startServer();
    const connect = async (): Promise<OpenClients> => {
      const client = createClientPool({ url: server.url }, { minimum: 2, maximum: 4 });
      client.on("error", () => {});
      await client.connect();
      return { client, end: () => client.destroy() };
    };
    return worldOn([server], {}, connect, () => server.stop());
  },
};

function serverPlace(scheme: "lua" | "set" | "redlock", clientName: ClientName): Place {
  return { title: `${scheme} on ${clientName}`, scheme, open: () => openWorld(scheme, clientName) };
}

function nodesPlace(count: number, clientName: ClientName): Place {
  const open = (): Promise<World> => openWorld("redlock", clientName, count);
  return { title: `redlock of ${count} on ${clientName}`, scheme: "redlock", open };
}

/** Over HTTP, where nothing is pushed. */
const httpPlace: Place = {
  title: "lua on @upstash/redis",
  scheme: "lua",
  isDeaf: true,
  open: async () => {
    const server = await startServer();
    const rest = await UpstashServer.start(server.url);
    const connect = async (): Promise<OpenClients> => {
      const { url, token } = rest;
      return { client: new Upstash({ url, token, enableTelemetry: false }), end: () => {} };
    };
    return worldOn([server], {}, connect, async () => {
      await rest.stop();
      await server.stop();
    });
  },
};

/** In memory with real time, in a store that nobody else sees. */
const memoryPlace: Place = {
  title: "memory",
  scheme: "memory",
  open: async () => {
    const locks = new TestLocks("real time");
    const opened: LockManager[] = [];
    return {
      server: undefined,
      get redis(): Redis {
        throw new Error("There is no server in memory.");
      },
      keys: async () => [],
      pttl: async () => -2,
      manager: async (options) => {
        const manager = locks.manager(options);
        opened.push(manager);
        return manager;
      },
      close: async () => {
        await Promise.all(opened.map((manager) => manager.close()));
      },
    };
  },
};

export const places: Place[] = [
  memoryPlace,
  ...placeClients.map((name) => serverPlace("lua", name)),
  ...otherClients.map((name) => serverPlace("set", name)),
  ...otherClients.map((name) => serverPlace("redlock", name)),
  httpPlace,
  clusterPlace("lua", "an ioredis 6 Cluster"),
  ...(isLong ? moreTopologies() : []),
];

function moreTopologies(): Place[] {
  return [
    clusterPlace("lua", "an ioredis 6 Cluster", { prefix: "{app}:" }),
    clusterPlace("lua", "an ioredis 5 Cluster"),
    clusterPlace("lua", "a node-redis 6 cluster"),
    clusterPlace("lua", "a GLIDE cluster client"),
    clusterPlace("set", "an ioredis 6 Cluster"),
    clusterPlace("set", "a node-redis 6 cluster"),
    sentinelPlace("ioredis 6 through Sentinels"),
    sentinelPlace("node-redis 6 through Sentinels"),
    poolPlace,
    nodesPlace(5, "ioredis 6"),
    nodesPlace(5, "node-redis 6"),
  ];
}

/** Each scheme once: for what no client library has a part in. */
export const schemes: Place[] = [memoryPlace, serverPlace("lua", "ioredis 6"), serverPlace("set", "ioredis 6")];

const onePerScheme = (all: Place[]): Place[] => all.filter(({ title }) => /^\w+ on ioredis 6$/.test(title));
/** Where waiters stand in a queue, and shared locks are. On several servers, not with every client library. */
export const queueing: Place[] = places.filter(
  ({ scheme, title, isDeaf }) => scheme !== "set" && title !== "redlock on glide" && !isDeaf,
);
/** One place of each scheme that has none of these. */
export const queueless: Place[] = onePerScheme(places.filter(({ scheme }) => scheme === "set"));
/** Where semaphores are, too. */
export const counting: Place[] = places.filter(({ scheme }) => scheme === "memory" || scheme === "lua");
/** Where values are shared, and those who wait for them are pushed. */
export const sharing: Place[] = counting.filter(({ isDeaf }) => !isDeaf);
/** One place of each scheme that has none of these. */
export const countless: Place[] = onePerScheme(places.filter((place) => !counting.includes(place)));
