/** Every scheme on every client library, on a real server; each world opens managers as other processes would. */
import { Redis } from "ioredis";
import { Redis as Redis5 } from "ioredis5";
import { Redis as Valkey } from "iovalkey";
import { createClient } from "redis";
import { startServer, type Server } from "../../scripts/servers.ts";
import type { LockManager, ManagerOptions, RedisClient } from "../../src/index.ts";
import { LockManager as Manager } from "../../src/index.ts";
import { TestLocks } from "../../src/testing.ts";
import { openGlide } from "./glide.ts";

export type ClientName = "ioredis 6" | "ioredis 5" | "iovalkey" | "node-redis 6" | "glide";

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
};

export const clientNames = Object.keys(clients) as ClientName[];

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
  close(): Promise<void>;
}

export interface Place {
  readonly title: string;
  readonly scheme: "memory" | "lua" | "set" | "redlock";
  open(): Promise<World>;
}

export async function openWorld(scheme: "lua" | "set" | "redlock", clientName: ClientName): Promise<World> {
  const servers = await Promise.all(Array.from({ length: scheme === "redlock" ? 3 : 1 }, () => startServer()));
  const [server] = servers as [Server];
  const redis = new Redis(server.url);
  redis.on("error", () => {});
  const opened: { manager: LockManager; end: () => void }[] = [];
  return {
    server,
    redis,
    manager: async (options) => {
      const connected = await Promise.all(servers.map(({ url }) => openClient(clientName, url)));
      const end = (): void => connected.forEach((each) => each.end());
      const [client, ...others] = connected.map((each) => each.client);
      const manager = new Manager(others.length > 0 ? [client!, ...others] : client, { scheme, ...options });
      opened.push({ manager, end });
      return manager;
    },
    close: async () => {
      server.thaw();
      await Promise.all(opened.map(({ manager }) => manager.close()));
      for (const { end } of opened) end();
      redis.disconnect();
      await Promise.all(servers.map((each) => each.stop()));
    },
  };
}

function serverPlace(scheme: "lua" | "set" | "redlock", clientName: ClientName): Place {
  return { title: `${scheme} on ${clientName}`, scheme, open: () => openWorld(scheme, clientName) };
}

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
  ...clientNames.map((name) => serverPlace("lua", name)),
  ...clientNames.map((name) => serverPlace("set", name)),
  ...clientNames.map((name) => serverPlace("redlock", name)),
];

/** Each scheme once: for what no client library has a part in. */
export const schemes: Place[] = [memoryPlace, serverPlace("lua", "ioredis 6"), serverPlace("set", "ioredis 6")];

const queues = ({ scheme }: Place): boolean => scheme === "memory" || scheme === "lua";
/** Where waiters stand in a queue, and permits and shared locks are. */
export const queueing: Place[] = places.filter(queues);
/** One place of each scheme that has none of these. */
export const queueless: Place[] = places.filter((place) => !queues(place) && /^\w+ on ioredis 6$/.test(place.title));
