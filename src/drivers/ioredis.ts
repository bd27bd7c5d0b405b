import { messageOf } from "../driver.ts";
import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";

/** What all clients of ioredis have. */
export interface IoredisCommands {
  call(command: string, args: string[]): Promise<unknown>;
  multi(commands: string[][]): { exec(): Promise<[Error | null, unknown][] | null> };
}

/** What is used of an ioredis client (5 or 6; one server, or found through Sentinels). */
export interface IoredisClient extends IoredisCommands {
  readonly status: string;
  readonly options: object;
  readonly stream?: { cork?(): unknown; uncork?(): unknown; unref?(): unknown };
  connect?(): Promise<void>;
  duplicate(override?: object): IoredisClient;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** What is used of a connection that we opened ourselves. */
interface OwnConnection extends IoredisClient {
  connect(): Promise<void>;
  subscribe(channel: string): Promise<unknown>;
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

/** Before a connection that has ended without anybody's doing is opened again. */
const REVIVE_AFTER = 500;

/** As scripts compare it. */
function runId(info: unknown): string | undefined {
  return /^run_id:([0-9a-f]{8})/m.exec(String(info))?.[1];
}

export class IoredisDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #redis: IoredisClient;
  readonly #owned: boolean;
  /** Connect those that listen, where they do not. */
  readonly #listeners = new Set<() => void>();
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
    for (const connect of this.#listeners) connect();
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
    const connection = this.#duplicate({
      autoResubscribe: false,
      maxRetriesPerRequest: null,
      retryStrategy: (attempt: number) => Math.min(50 * 2 ** attempt, 2_000),
    });
    let up = false;
    let closed = false;
    let server: string | undefined;
    const connect = (): void => void (closed || connection.connect().catch(ignore));
    connection.on("message", (_, text) => events.message(String(text)));
    connection.on("close", () => {
      up = false;
    });
    connection.on("end", () => void setTimeout(connect, REVIVE_AFTER).unref());
    connection.on("ready", () => {
      // Sent first, because a connection that subscribes may ask nothing more.
      const known = connection.call("INFO", ["server"]).then(runId, () => undefined);
      Promise.all([known, connection.subscribe(channel)]).then(([id]) => {
        server = id;
        up = true;
        events.up();
      }, ignore);
    });
    this.#listeners.add(connect);
    connect();
    return {
      get up() {
        return up;
      },
      get server() {
        return server;
      },
      close: () => {
        closed = true;
        this.#listeners.delete(connect);
        connection.disconnect();
      },
    };
  }

  async session(): Promise<Driver> {
    const connection = this.#duplicate({ retryStrategy: null, autoResendUnfulfilledCommands: false });
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

  #duplicate(override: object): OwnConnection {
    const connection = this.#redis.duplicate({ ...override, lazyConnect: true }) as OwnConnection;
    connection.on("error", ignore);
    // A process whose own work is done must be able to end without closing its manager.
    connection.on("connect", () => connection.stream?.unref?.());
    return connection;
  }
}
