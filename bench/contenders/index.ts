/** Ends what `acquire` began. */
export type Release = () => Promise<unknown>;

interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where locks are kept, and how it is reached. `wait` is no lock: a bare SET and WAIT. */
export type Place =
  | { readonly kind: "one" | "durable" | "wait"; readonly url: string }
  | { readonly kind: "sentinel"; readonly addresses: readonly Address[]; readonly name: string }
  | { readonly kind: "cluster"; readonly addresses: readonly Address[] }
  | { readonly kind: "redlock"; readonly urls: readonly string[] };

export type Places = (place: Place) => Promise<Pick<Session, "acquire">>;

/** One connected library or client, in one process. */
export interface Session {
  /** Waits for as long as it takes, where the contender can wait. */
  acquire(name: string, ttl: number): Promise<Release>;
  readonly extras?: Extras;
}

/** What some contenders have beside locks; each is asked for by one scenario, which takes only those that have it. */
export interface Extras {
  publish?(channel: string): unknown;
  subscribe?(channel: string, heard: () => void): Promise<unknown>;
  /** Waits for one of so many permits. */
  acquirePermit?(name: string, limit: number, ttl: number): Promise<Release>;
  /** A value that is computed once for all who ask. */
  share?<T>(name: string, ttl: number, compute: () => Promise<T>): Promise<T>;
  /** A term each time that this process leads. */
  elect?(name: string, ttl: number): AsyncIterable<{ resign: Release }>;
  /** Milliseconds until the lease of the lock's holder ends. */
  remaining?(name: string): Promise<number>;
  /** Also elsewhere, in the same process. */
  open?: Places;
}

export type Open = (url: string) => Promise<Session>;
/** Over independent servers, of which a majority decides. */
export type OpenNodes = (urls: readonly string[]) => Promise<Session>;

export interface Contender {
  readonly id: string;
  /** As it stands in tables, at most 22 characters. */
  readonly title: string;
  /** holdfast; another library; or the bare commands, which cannot wait. */
  readonly kind: "holdfast" | "rival" | "floor";
  /** Folders under node_modules, the library first. */
  readonly packages: readonly string[];
  /** How it is set up, where that is a choice. */
  readonly settings: string;
  load(): Promise<Open>;
  loadNodes?(): Promise<OpenNodes>;
}

const bare = "SET NX PX, then compare-and-delete by EVALSHA";
const polls = "retryDelay 200, retryJitter 200, driftFactor 0.01 as in the README; retryCount -1, for ever";

export const contenders: readonly Contender[] = [
  {
    id: "holdfast",
    title: "holdfast",
    kind: "holdfast",
    packages: ["holdfast", "ioredis"],
    settings: "defaults, on ioredis 6",
    load: async () => (await import("./holdfast.ts")).onIoredis,
    loadNodes: async () => (await import("./holdfast.ts")).onNodes,
  },
  {
    id: "holdfast-node-redis",
    title: "holdfast (node-redis)",
    kind: "holdfast",
    packages: ["holdfast", "redis"],
    settings: "defaults, on node-redis 6",
    load: async () => (await import("./holdfast.ts")).onNodeRedis,
  },
  {
    id: "redlock4",
    title: "redlock 4",
    kind: "rival",
    packages: ["redlock4", "ioredis"],
    settings: polls,
    load: async () => (await import("./redlock4.ts")).open,
  },
  {
    id: "redlock5",
    title: "redlock 5 beta",
    kind: "rival",
    packages: ["redlock5", "ioredis"],
    settings: `${polls}. Over 5 servers retryCount 10, as by default, again and again: only then it gives votes back`,
    load: async () => (await import("./redlock5.ts")).open,
    loadNodes: async () => (await import("./redlock5.ts")).openNodes,
  },
  {
    id: "sesamecare",
    title: "sesamecare redlock",
    kind: "rival",
    packages: ["@sesamecare-oss/redlock", "ioredis"],
    settings: polls,
    load: async () => (await import("./sesamecare.ts")).open,
  },
  {
    id: "redis-semaphore",
    title: "redis-semaphore",
    kind: "rival",
    packages: ["redis-semaphore", "ioredis"],
    settings: "Mutex and Semaphore, retryInterval 10 as by default; acquireTimeout 10 minutes",
    load: async () => (await import("./redis-semaphore.ts")).open,
  },
  {
    id: "redlock-universal",
    title: "redlock-universal",
    kind: "rival",
    packages: ["redlock-universal", "ioredis"],
    settings: "createLock, one object a name, retryDelay 100 as by default; a million retryAttempts",
    load: async () => (await import("./redlock-universal.ts")).open,
  },
  {
    id: "simple-redis-mutex",
    title: "simple-redis-mutex",
    kind: "rival",
    packages: ["simple-redis-mutex", "redis"],
    settings: "defaults: woken by publish, polls every 10 s, waits for ever; on node-redis 6",
    load: async () => (await import("./simple-redis-mutex.ts")).open,
  },
  {
    id: "bare-ioredis",
    title: "bare ioredis 6",
    kind: "floor",
    packages: ["ioredis"],
    settings: bare,
    load: async () => (await import("./bare-ioredis.ts")).open6,
    loadNodes: async () => (await import("./bare-ioredis.ts")).openNodes,
  },
  {
    id: "bare-ioredis5",
    title: "bare ioredis 5",
    kind: "floor",
    packages: ["ioredis5"],
    settings: bare,
    load: async () => (await import("./bare-ioredis.ts")).open5,
  },
  {
    id: "bare-node-redis",
    title: "bare node-redis 6",
    kind: "floor",
    packages: ["redis"],
    settings: bare,
    load: async () => (await import("./bare-node-redis.ts")).open,
  },
  {
    id: "bare-glide",
    title: "bare GLIDE 2",
    kind: "floor",
    packages: ["@valkey/valkey-glide"],
    settings: `${bare} (its Script)`,
    load: async () => (await import("./bare-glide.ts")).open,
  },
];

export function contenderNamed(id: string): Contender {
  const found = contenders.find((contender) => contender.id === id);
  if (!found) throw new Error(`Expected a contender among ${contenders.map((each) => each.id).join(", ")}; got ${id}.`);
  return found;
}
