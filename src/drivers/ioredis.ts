import { messageOf } from "../driver.ts";
import type { Driver, Subscription, SubscriptionEvents } from "../driver.ts";

interface Stream {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  cork?(): unknown;
  uncork?(): unknown;
  unref?(): unknown;
  destroy?(): unknown;
}

/** What is used of an ioredis client (5 or 6; one server, or found through Sentinels). */
export interface IoredisClient {
  readonly status: string;
  readonly options: object;
  readonly stream?: Stream;
  call(command: string, args: string[]): Promise<unknown>;
  multi(commands: string[][]): { exec(): Promise<[Error | null, unknown][] | null> };
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

/** Before a connection that has ended without anybody's doing is opened again. */
const REVIVE_AFTER = 500;

/** As scripts compare it. */
function runId(info: unknown): string | undefined {
  return /^run_id:([0-9a-f]{8})/m.exec(String(info))?.[1];
}

export class IoredisDriver implements Driver {
  readonly client = "ioredis";
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

  constructor(redis: IoredisClient, owned = false) {
    this.#redis = redis;
    this.#owned = owned;
    redis.on("end", this.#onEnd);
    redis.on("close", this.#onClose);
    redis.on("error", this.#onError);
    redis.on("ready", this.#onReady);
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#redis.call(command[0] ?? "", command.slice(1));
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

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const replies = await this.#redis
      .multi(commands.map(([name = "", ...args]) => [name.toLowerCase(), ...args]))
      .exec()
      .catch((error: { readonly previousErrors?: Error[] }) => {
        // EXECABORT only says that some command was refused; this says which, and why.
        throw error.previousErrors?.[0] ?? error;
      });
    return replies && replies.map(([error, value]) => error ?? value);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    const connection = this.#duplicate({
      autoResubscribe: false,
      maxRetriesPerRequest: null,
      // It follows the client: on news of its own it would leave again a server that both have found already.
      failoverDetector: false,
      retryStrategy: (attempt: number) => Math.min(50 * 2 ** attempt, 2_000),
    });
    let up = false;
    let closed = false;
    let server: string | undefined;
    const connect = (): void => {
      if (closed) return;
      if (this.#isElsewhere(connection)) connection.stream?.destroy?.();
      else connection.connect().catch(ignore);
    };
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
    return new IoredisDriver(connection, true);
  }

  /** True of a connection to a server that the Sentinels have replaced: it may be frozen, and never break by itself. */
  #isElsewhere({ stream }: OwnConnection): boolean {
    const ours = this.#redis.stream;
    const isFollowing = (this.#redis.options as { readonly sentinels?: unknown }).sentinels && ours?.remotePort;
    if (!isFollowing || stream?.remotePort === undefined) return false;
    return stream.remotePort !== ours.remotePort || stream.remoteAddress !== ours.remoteAddress;
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
