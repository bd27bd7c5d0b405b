import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { messageOf } from "../server-errors.ts";
import { Followers, serverId } from "../listening/followers.ts";
import type { Listener, ListenerEvents } from "../listening/followers.ts";

/** What is used of a node-redis client (package `redis`, 5 or 6). */
export interface NodeRedisClient {
  readonly isOpen: boolean;
  readonly isReady: boolean;
  sendCommand(args: string[]): Promise<unknown>;
  multi(): NodeRedisMulti;
  duplicate(overrides?: object): NodeRedisClient;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

interface NodeRedisMulti {
  addCommand(args: string[]): unknown;
  exec(): Promise<unknown>;
}

type Hear = (text: string, channel: string) => void;

/** What is used of a connection that we opened ourselves. */
interface OwnConnection extends NodeRedisClient {
  readonly options?: { readonly socket?: object };
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: Hear): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  sSubscribe(channel: string, listener: Hear): Promise<unknown>;
  sUnsubscribe(channel: string): Promise<unknown>;
  destroy(): void;
  unref(): void;
}

/** How a driver came by its client. */
interface Own {
  /** It is ours to close. */
  readonly owned?: boolean;
  /** What its user wants before every key; raw commands never have it. */
  readonly keyPrefix?: string;
}

export function isNodeRedis(client: object): client is NodeRedisClient {
  const seen = client as Partial<OwnConnection>;
  return (
    typeof seen.sendCommand === "function" &&
    typeof seen.multi === "function" &&
    typeof seen.duplicate === "function" &&
    typeof seen.isOpen === "boolean" &&
    typeof seen.isReady === "boolean" &&
    // Its cluster and Sentinel clients look the same, and take other arguments.
    typeof seen.unref === "function"
  );
}

function ignore(): void {}

export class NodeRedisDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #redis: NodeRedisClient;
  readonly #owned: boolean;
  readonly #channels: Followers;
  drops = 0;
  complaint: unknown;

  readonly #onReconnecting = (): void => {
    this.drops++;
  };
  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
    this.#channels.hurry();
  };

  constructor(redis: NodeRedisClient, { owned = false, keyPrefix = "" }: Own = {}) {
    this.#redis = redis;
    this.#owned = owned;
    this.keyPrefix = keyPrefix;
    this.#channels = new Followers(
      {
        ownerOf: () => "the server",
        refresh: () => Promise.resolve(),
        listenOn: (_, events) => listenOn(redis, events),
      },
      { sharded: false },
    );
    redis.on("reconnecting", this.#onReconnecting);
    redis.on("error", this.#onError);
    redis.on("ready", this.#onReady);
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#redis.sendCommand(command as string[]);
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const { drops } = this;
    const replies = await sendInOrder(this.#redis, commands);
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const multi = this.#redis.multi();
    for (const command of commands) multi.addCommand([...command]);
    return transact(multi);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = duplicate(this.#redis, false);
    await connection.connect();
    connection.unref();
    return new NodeRedisDriver(connection, { owned: true });
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#redis.off("reconnecting", this.#onReconnecting);
    this.#redis.off("error", this.#onError);
    this.#redis.off("ready", this.#onReady);
    if (this.#owned) close(this.#redis as OwnConnection);
  }
}

/** @param reconnectStrategy undefined for the client's own */
export function duplicate(
  client: NodeRedisClient,
  reconnectStrategy?: false | ((attempt: number) => number),
): OwnConnection {
  const socket = (client as OwnConnection).options?.socket;
  const override = reconnectStrategy === undefined ? {} : { socket: { ...socket, reconnectStrategy } };
  const connection = client.duplicate(override) as OwnConnection;
  connection.on("error", ignore);
  return connection;
}

/** One right behind the other, where the client stays the same. A command that failed is an Error in the result. */
export function sendInOrder(client: NodeRedisClient, commands: readonly (readonly string[])[]): Promise<unknown[]> {
  return Promise.all(
    commands.map((command) => client.sendCommand(command as string[]).catch((error: unknown) => error)),
  );
}

/** MULTI … EXEC. Null when a watched key has changed. */
export async function transact(multi: { exec(): Promise<unknown> }): Promise<unknown[] | null> {
  try {
    return (await multi.exec()) as unknown[];
  } catch (error) {
    const { name, constructor, replies } = error as Error & { replies?: unknown[] };
    if (constructor.name === "WatchError" || name === "WatchError") return null;
    if (Array.isArray(replies)) return replies;
    throw error;
  }
}

/** A connection like that of the client, to listen. One that breaks is given up: another is opened where it belongs. */
export async function listenOn(client: NodeRedisClient, events: ListenerEvents): Promise<Listener> {
  const connection = duplicate(client, false);
  const hear: Hear = (text, channel) => events.message(channel, text);
  connection.on("error", () => events.lost());
  connection.on("end", () => events.lost());
  connection.on("sharded-channel-moved", (channel) => events.lost(String(channel)));
  // Before, because a server that hangs may keep it waiting for long.
  connection.unref();
  await connection.connect();
  // Asked first, because a connection that subscribes may ask nothing more.
  const info = await connection.sendCommand(["INFO", "server"]).catch(ignore);
  return {
    id: serverId(info),
    subscribe: (channel, sharded) =>
      sharded ? connection.sSubscribe(channel, hear) : connection.subscribe(channel, hear),
    unsubscribe: (channel, sharded) => (sharded ? connection.sUnsubscribe(channel) : connection.unsubscribe(channel)),
    close: () => close(connection),
  };
}

function close(connection: OwnConnection): void {
  try {
    connection.destroy();
  } catch (error) {
    // It says so when it is closed already; there is nothing left to do then.
    if (!/closed/i.test(messageOf(error))) throw error;
  }
}
