/**
 * Our own connections, instead of a user's: made by the client library that is installed, kept until they are
 * closed, and silent. See docs/decisions/023-urls-and-owned-connections.md.
 */
import { outsideContext } from "../../async-context.ts";
import { LockError } from "../../errors.ts";
import { builtin } from "../../runtime.ts";
import { backoff } from "../backoff.ts";
import type { RedisClient } from "../index.ts";
import { loadLibrary, mayLoad } from "../load.ts";
import { messageOf } from "../server-errors.ts";
import { parseUrls } from "./url.ts";
import type { Address, Place } from "./url.ts";

/** In the order of preference. */
export const LIBRARIES = ["ioredis", "iovalkey", "redis"] as const;
export type Library = (typeof LIBRARIES)[number];

/** When an attempt to connect is abandoned, to try again: less than a command's limit, so that it can say why. */
const CONNECT_TIMEOUT = 4_000;
/** A Sentinel that is connected and does not answer is passed over. */
const SENTINEL_TIMEOUT = 1_000;
/**
 * For servers that others can replace. node-redis would wait forever for one that hangs while it connects to it;
 * its connections are abandoned if nothing came for this long, although it was asked in between.
 */
const SILENCE_LIMIT = 6_000;
const ASK_INTERVAL = 2_000;
/** How often a Cluster is asked which server keeps which slots. */
const SLOTS_INTERVAL = 5_000;
/** Since when nothing was heard of a silent peer until it is asked whether it is there (TCP). */
const KEEP_ALIVE = 5_000;

/** A connection that reconnects until it is closed. */
export interface Connection {
  readonly place: Place;
  readonly client: RedisClient;
  /** The client's latest error since it was last connected: its rejections often say less. */
  readonly complaint: unknown;
  /**
   * Begin. Resolves when it stands; rejects, and goes on trying, when the first attempt failed. Of Sentinels and of a
   * Cluster it waits for as long as it takes, for another of them may be there, or soon be the master.
   */
  open(): Promise<void>;
  close(): void;
}

/** The connections for one manager: nothing is opened before `open()`. */
export class Connections {
  readonly all: readonly Connection[];
  /** What a manager gets instead of the URLs. */
  readonly client: RedisClient | readonly RedisClient[];

  /**
   * @param urls a string for one, an array for Redlock
   * @throws TypeError for URLs that cannot be used; LockError `no-client`
   */
  constructor(urls: string | readonly string[], library?: Library) {
    const places = parseUrls(urls);
    const connect = connector(library);
    this.all = places.map(connect);
    const clients = this.all.map(({ client }) => client);
    this.client = typeof urls === "string" ? (clients[0] as RedisClient) : clients;
  }

  /** Begin to connect. Calls that wait for an answer fail if it fails. */
  open(): void {
    outsideContext(() => {
      for (const connection of this.all) connection.open().catch(ignore);
    });
  }

  close(): void {
    for (const connection of this.all) connection.close();
  }
}

/** @throws LockError `no-client` */
function connector(library: Library | undefined): (place: Place) => Connection {
  for (const name of library ? [library] : LIBRARIES) {
    const loaded = load(name);
    if (loaded === undefined) continue;
    return name === "redis"
      ? (place) => new NodeRedisConnection(loaded as NodeRedisLibrary, place)
      : (place) => new IoredisConnection(loaded as IoredisLibrary, place);
  }
  if (!mayLoad) {
    throw new LockError(
      "no-client",
      "This runtime cannot open a URL. Make a client, of @upstash/redis for example, and pass that.",
    );
  }
  const missing = library ? `${library}, which is not installed` : "a Redis client library, and none is installed";
  throw new LockError(
    "no-client",
    `To connect to a URL, holdfast needs ${missing}. Run: npm install ${library ?? LIBRARIES[0]}`,
  );
}

function load(name: Library): unknown {
  try {
    return loadLibrary(name);
  } catch (error) {
    const why = messageOf(error).split("\n", 1)[0];
    const message = `${name} is installed, but could not be loaded: ${why}. Install it again: npm install ${name}`;
    throw new LockError("no-client", message, { cause: error });
  }
}

function ignore(): void {}

/** What to ask for in TLS (SNI), so that one endpoint can stand before many servers. Addresses are no names. */
function serverName(host: string): { servername?: string } {
  return builtin("node:net")?.isIP(host) ? {} : { servername: host };
}

/** A node as others name it, to which `options` belong that depend on its host. */
function mapped<T>(node: string, options: (host: string) => T): Address & T {
  const colon = node.lastIndexOf(":");
  const host = node.slice(0, colon);
  return { host, port: Number(node.slice(colon + 1)), ...options(host) };
}

/** The parts of ioredis (5 and 6) and iovalkey that we use. */
interface IoredisLibrary {
  readonly Redis: new (options: object) => IoredisOwn;
  readonly Cluster: new (nodes: readonly Address[], options: object) => IoredisOwn;
  readonly SentinelConnector: new (options: object) => SentinelConnector;
}

interface SentinelConnector {
  connectToSentinel(...args: unknown[]): Pick<IoredisOwn, "on">;
}

interface IoredisOwn {
  on(event: string, listener: (argument: unknown) => void): unknown;
  once(event: string, listener: () => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): void;
}

class IoredisConnection implements Connection {
  readonly place: Place;
  readonly #own: IoredisOwn;
  complaint: unknown;

  constructor(library: IoredisLibrary, place: Place) {
    this.place = place;
    this.#own =
      place.kind === "cluster"
        ? new library.Cluster(ioredisNodes(place), ioredisClusterOptions(place))
        : new library.Redis({ ...ioredisOptions(place), ...silentSentinels(library, place) });
    // For as long as there is this client: an error that nobody hears it prints, or it ends the process.
    this.#own.on("error", (error) => (this.complaint = error));
    this.#own.on("ready", () => (this.complaint = undefined));
  }

  get client(): RedisClient {
    return this.#own as unknown as RedisClient;
  }

  open(): Promise<void> {
    if (this.place.kind === "server") return this.#own.connect().then(ignore);
    const ready = new Promise<void>((resolve) => this.#own.once("ready", resolve));
    this.#own.connect().catch(ignore);
    return ready;
  }

  close(): void {
    this.#own.disconnect();
  }
}

function ioredisOptions({ kind, addresses, path, master, db, tls, ...place }: Place): object {
  const [address] = addresses;
  const options = {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT,
    keepAlive: KEEP_ALIVE,
    enableReadyCheck: true,
    // We set the time limit of commands.
    maxRetriesPerRequest: null,
    retryStrategy: backoff,
    username: place.username,
    password: place.password,
    db,
    ...(tls ? { tls: kind === "server" && address ? serverName(address.host) : {} } : {}),
  };
  if (kind === "server") return { ...options, ...(path === undefined ? address : { path }) };
  return {
    ...options,
    sentinels: [...addresses],
    name: master,
    sentinelUsername: place.sentinelUsername,
    sentinelPassword: place.sentinelPassword,
    sentinelCommandTimeout: SENTINEL_TIMEOUT,
    sentinelRetryStrategy: backoff,
    sentinelReconnectStrategy: backoff,
    // A master that was replaced may live on, and its connections with it: the Sentinels tell.
    failoverDetector: true,
    // It is called so, and means the servers that the Sentinels name.
    enableTLSForSentinelMode: tls,
    ...(tls ? { natMap: (node: string) => mapped(node, serverName) } : {}),
  };
}

/** Its own connections to Sentinels print each of their errors, because they have no listener. */
function silentSentinels({ SentinelConnector }: IoredisLibrary, { kind }: Place): object {
  if (kind !== "sentinel") return {};
  return {
    Connector: class extends SentinelConnector {
      override connectToSentinel(...args: unknown[]): Pick<IoredisOwn, "on"> {
        const sentinel = super.connectToSentinel(...args);
        sentinel.on("error", ignore);
        return sentinel;
      }
    },
  };
}

function ioredisNodes({ addresses, tls }: Place): readonly Address[] {
  return tls ? addresses.map((address) => ({ ...address, tls: serverName(address.host) })) : addresses;
}

function ioredisClusterOptions({ tls, username, password }: Place): object {
  return {
    lazyConnect: true,
    enableReadyCheck: true,
    clusterRetryStrategy: backoff,
    // A server that was replaced while it hangs does not say so itself.
    slotsRefreshInterval: SLOTS_INTERVAL,
    redisOptions: {
      connectTimeout: CONNECT_TIMEOUT,
      keepAlive: KEEP_ALIVE,
      maxRetriesPerRequest: null,
      username,
      password,
      ...(tls ? { tls: {} } : {}),
    },
    ...(tls
      ? {
          // Certificates are for names, so names are not to be looked up before.
          dnsLookup: (host: string, done: (error: null, host: string) => void) => done(null, host),
          natMap: (node: string) => mapped(node, (host) => ({ tls: serverName(host) })),
        }
      : {}),
  };
}

/** The parts of the package redis (5 and 6) that we use. */
interface NodeRedisLibrary {
  createClient(options: object): NodeRedisOwn;
  createSentinel(options: object): NodeRedisOwn;
  createCluster(options: object): NodeRedisOwn;
}

interface NodeRedisOwn {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
}

class NodeRedisConnection implements Connection {
  readonly place: Place;
  readonly #own: NodeRedisOwn;
  complaint: unknown;
  #closed = false;
  #pause: NodeJS.Timeout | undefined;

  constructor(library: NodeRedisLibrary, place: Place) {
    this.place = place;
    this.#own = nodeRedisClient(library, place);
    this.#own.on("error", (error) => (this.complaint = error));
    this.#own.on("ready", () => (this.complaint = undefined));
  }

  get client(): RedisClient {
    return this.#own as unknown as RedisClient;
  }

  open(): Promise<void> {
    const stands = new Promise<void>((resolve) => this.#connect(0, resolve));
    if (this.place.kind !== "server") return stands;
    let fail = ignore as (error: unknown) => void;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    this.#own.on("error", fail);
    return Promise.race([stands, failed]).finally(() => this.#own.off("error", fail));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#destroy();
  }

  /** A client of one server goes on by itself; one of Sentinels gives up after a while, one of a Cluster at once. */
  #connect(attempt: number, stood: () => void): void {
    this.#own.connect().then(
      () => {
        if (this.#closed) return this.#destroy();
        this.complaint = undefined;
        stood();
      },
      (error: unknown) => {
        if (this.#closed) return;
        this.complaint ??= error;
        this.#pause = setTimeout(() => this.#connect(attempt + 1, stood), backoff(attempt));
      },
    );
  }

  /** Some clients throw, others reject where they are closed already; there is nothing left to do then. */
  #destroy(): void {
    const destroy = async (): Promise<unknown> => this.#own.destroy();
    destroy().catch(ignore);
  }
}

function nodeRedisClient(library: NodeRedisLibrary, place: Place): NodeRedisOwn {
  const { kind, addresses, path, tls, username, password, db, master } = place;
  const timing = { connectTimeout: CONNECT_TIMEOUT, reconnectStrategy: backoff };
  const settings = { username, password, database: db, socket: { tls, ...timing } };
  if (kind === "server") {
    const [address] = addresses;
    const where = address ? { ...address, ...(tls && serverName(address.host)) } : { path };
    return library.createClient({ ...settings, socket: { ...settings.socket, ...where } });
  }
  const replaceable = {
    username,
    password,
    pingInterval: ASK_INTERVAL,
    socket: { ...settings.socket, socketTimeout: SILENCE_LIMIT },
  };
  if (kind === "cluster") {
    const rootNodes = addresses.map((address) => ({ socket: { ...address, ...(tls && serverName(address.host)) } }));
    const byName = tls ? { nodeAddressMap: (node: string) => mapped(node, serverName) } : {};
    return library.createCluster({ rootNodes, defaults: replaceable, ...byName });
  }
  return library.createSentinel({
    name: master,
    sentinelRootNodes: [...addresses],
    nodeClientOptions: { ...replaceable, database: db },
    sentinelClientOptions: {
      username: place.sentinelUsername,
      password: place.sentinelPassword,
      // Otherwise a server that hangs would be waited for, and believed to have no news, forever.
      pingInterval: SENTINEL_TIMEOUT,
      socket: { connectTimeout: CONNECT_TIMEOUT, socketTimeout: 2 * SENTINEL_TIMEOUT },
    },
    // Otherwise a server's complaint, such as a wrong password, would not be noticed.
    passthroughClientErrorEvents: true,
  });
}
