import { messageOf } from "../server-errors.ts";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { Followers, serverId } from "../listening/followers.ts";
import type { Listener, ListenerEvents } from "../listening/followers.ts";

/** What all clients of ioredis have. */
export interface IoredisCommands {
  call(command: string, args: string[]): Promise<unknown>;
  multi(commands: string[][]): { exec(): Promise<[Error | null, unknown][] | null> };
}

interface Stream {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  cork?(): unknown;
  uncork?(): unknown;
  unref?(): unknown;
}

/** What is used of an ioredis client (5 or 6; one server, or found through Sentinels). */
export interface IoredisClient extends IoredisCommands {
  readonly status: string;
  readonly options: object;
  readonly stream?: Stream;
  connect?(): Promise<void>;
  duplicate(override?: object): IoredisClient;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** What is used of a connection that we opened ourselves. */
interface OwnConnection extends IoredisClient {
  connect(): Promise<void>;
  disconnect(): void;
}

/** How a driver came by its client. */
export interface Own {
  /** It is ours to close. */
  readonly owned?: boolean;
  /** What its user wants before every key, and it puts there no more. */
  readonly keyPrefix?: string;
}

export function isIoredis(client: object): client is IoredisClient {
  const seen = client as Partial<IoredisClient> & { readonly isCluster?: boolean };
  return (
    typeof seen.call === "function" &&
    typeof seen.multi === "function" &&
    typeof seen.duplicate === "function" &&
    typeof seen.status === "string" &&
    !seen.isCluster
  );
}

function ignore(): void {}

/** MULTI … EXEC. */
export async function exec(
  client: IoredisCommands,
  commands: readonly (readonly string[])[],
): Promise<unknown[] | null> {
  const replies = await client
    .multi(commands.map(([name = "", ...args]) => [name.toLowerCase(), ...args]))
    .exec()
    .catch((error: { readonly previousErrors?: Error[] }) => {
      // EXECABORT only says that some command was refused; this says which, and why.
      throw error.previousErrors?.[0] ?? error;
    });
  return replies && replies.map(([error, value]) => error ?? value);
}

export class IoredisDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #redis: IoredisClient;
  readonly #owned: boolean;
  readonly #channels: Followers;
  drops = 0;
  complaint: unknown;

  readonly #onClose = (): void => {
    this.drops++;
  };
  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
    // Where this connection finds the server, the others need not wait for their own next attempt.
    this.#channels.hurry();
  };

  /**
   * ioredis gives up for good when it hears of a failover just while it asks a Sentinel for the primary. Only then it
   * complains of that as well; not where somebody closed it.
   */
  readonly #onEnd = (): void => {
    if (!this.#owned && messageOf(this.complaint) === "Connection is closed.") this.#redis.connect?.().catch(ignore);
  };

  constructor(redis: IoredisClient, { owned = false, keyPrefix = "" }: Own = {}) {
    this.#redis = redis;
    this.#owned = owned;
    this.keyPrefix = keyPrefix;
    this.#channels = new Followers(
      {
        ownerOf: () => serverOf(redis),
        refresh: () => Promise.resolve(),
        listenOn: (server, events) => listenOn(redis, events, addressOf(redis, server)),
      },
      { sharded: false },
    );
    redis.on("end", this.#onEnd);
    redis.on("close", this.#onClose);
    redis.on("error", this.#onError);
    redis.on("ready", this.#onReady);
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#redis.call(command[0] ?? "", command.slice(1));
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const { drops } = this;
    const replies = await Promise.all(commands.map((command) => this.send(command).catch((error: unknown) => error)));
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    const { stream } = this.#redis;
    stream?.cork?.();
    try {
      run();
    } finally {
      stream?.uncork?.();
    }
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return exec(this.#redis, commands);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = duplicate(this.#redis);
    await connection.connect();
    return new IoredisDriver(connection, { owned: true });
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#redis.off("end", this.#onEnd);
    this.#redis.off("close", this.#onClose);
    this.#redis.off("error", this.#onError);
    this.#redis.off("ready", this.#onReady);
    if (this.#owned) (this.#redis as OwnConnection).disconnect();
  }
}

/** Behind Sentinels the server that the client has found, "" while it looks for one; else there is only one. */
function serverOf({ options, stream }: IoredisClient): string {
  if (!(options as { readonly sentinels?: unknown }).sentinels) return "the server";
  return stream?.remotePort ? `${stream.remoteAddress} ${stream.remotePort}` : "";
}

/** Straight to the server that the client has found: what the Sentinels say by now may be another. */
function addressOf({ options }: IoredisClient, server: string): object {
  const { sentinels, enableTLSForSentinelMode, tls } = options as Record<string, unknown>;
  if (!sentinels) return {};
  const [host, port] = server.split(" ");
  return {
    sentinels: null,
    failoverDetector: false,
    host,
    port: Number(port),
    tls: enableTLSForSentinelMode ? tls : undefined,
  };
}

/** A connection of our own that is given up when it breaks. */
export function duplicate(client: IoredisClient, override: object = {}): OwnConnection {
  const own = { lazyConnect: true, retryStrategy: null, autoResubscribe: false, autoResendUnfulfilledCommands: false };
  const connection = client.duplicate({ ...own, maxRetriesPerRequest: null, ...override }) as OwnConnection;
  connection.on("error", ignore);
  // A process whose own work is done must be able to end without closing its manager.
  connection.on("connect", () => connection.stream?.unref?.());
  return connection;
}

export async function listenOn(
  client: IoredisClient,
  events: ListenerEvents,
  override: object = {},
): Promise<Listener> {
  const connection = duplicate(client, { readOnly: false, ...override });
  const hear = (channel: unknown, text: unknown): void => events.message(String(channel), String(text));
  connection.on("message", hear);
  connection.on("smessage", hear);
  // Which channel a slot took along is not said by all versions: all are looked after.
  connection.on("moved", () => events.lost());
  connection.on("error", () => events.lost());
  connection.on("end", () => events.lost());
  await connection.connect();
  // Asked first, because a connection that subscribes may ask nothing more.
  const info = await connection.call("INFO", ["server"]).catch(ignore);
  return {
    id: serverId(info),
    subscribe: (channel, sharded) => connection.call(sharded ? "ssubscribe" : "subscribe", [channel]),
    unsubscribe: (channel, sharded) => connection.call(sharded ? "sunsubscribe" : "unsubscribe", [channel]),
    close: () => connection.disconnect(),
  };
}
