import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { messageOf } from "../driver.ts";

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

/** What is used of a connection that we opened ourselves. */
interface OwnConnection extends NodeRedisClient {
  readonly options?: { readonly socket?: object };
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>;
  destroy(): void;
  unref(): void;
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
  readonly keyPrefix = "";
  readonly #redis: NodeRedisClient;
  readonly #owned: boolean;
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
  };

  constructor(redis: NodeRedisClient, owned = false) {
    this.#redis = redis;
    this.#owned = owned;
    redis.on("reconnecting", this.#onReconnecting);
    redis.on("error", this.#onError);
    redis.on("ready", this.#onReady);
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#redis.sendCommand(command as string[]);
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const { drops } = this;
    const replies = await Promise.all(commands.map((command) => this.send(command).catch((error: unknown) => error)));
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    run();
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const multi = this.#redis.multi();
    for (const command of commands) multi.addCommand([...command]);
    try {
      return (await multi.exec()) as unknown[];
    } catch (error) {
      const { name, constructor, replies } = error as Error & { replies?: unknown[] };
      if (constructor.name === "WatchError" || name === "WatchError") return null;
      if (Array.isArray(replies)) return replies;
      throw error;
    }
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    const connection = this.#duplicate((attempt: number) => Math.min(50 * 2 ** attempt, 2_000));
    let up = false;
    let subscribed = false;
    const rise = (): void => {
      up = true;
      events.up();
    };
    connection.on("error", () => {
      up = false;
    });
    // The client has subscribed again by itself when it says that it is ready again.
    connection.on("ready", () => subscribed && rise());
    connection
      .connect()
      .then(() => {
        connection.unref();
        return connection.subscribe(channel, (text) => events.message(text));
      })
      .then(() => {
        subscribed = true;
        rise();
      }, ignore);
    return {
      get up() {
        return up;
      },
      close: () => close(connection),
    };
  }

  async session(): Promise<Driver> {
    const connection = this.#duplicate(false);
    await connection.connect();
    connection.unref();
    return new NodeRedisDriver(connection, true);
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

  #duplicate(reconnectStrategy: false | ((attempt: number) => number)): OwnConnection {
    const socket = (this.#redis as OwnConnection).options?.socket;
    const connection = this.#redis.duplicate({ socket: { ...socket, reconnectStrategy } }) as OwnConnection;
    connection.on("error", ignore);
    return connection;
  }
}

function close(connection: OwnConnection): void {
  try {
    connection.destroy();
  } catch (error) {
    // It says so when it is closed already; there is nothing left to do then.
    if (!/closed/i.test(messageOf(error))) throw error;
  }
}
