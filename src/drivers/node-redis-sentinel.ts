import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { duplicate, listenOn, NodeRedisDriver, sendInOrder, transact } from "./node-redis.ts";
import type { NodeRedisClient } from "./node-redis.ts";
import { Followers } from "./followers.ts";

/** What is used of a node-redis Sentinel client (package `redis`, 5 or 6). It follows the primary by itself. */
export interface NodeRedisSentinel {
  readonly isOpen: boolean;
  getMasterNode(): { readonly host: string; readonly port: number } | undefined;
  /** Not documented, but what its own commands go through: only here it shows that a command was sent again. */
  _execute<T>(isReadonly: boolean, run: (primary: NodeRedisClient) => Promise<T>): Promise<T>;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

export function isNodeRedisSentinel(client: object): client is NodeRedisSentinel {
  const seen = client as Partial<NodeRedisSentinel>;
  return (
    typeof seen._execute === "function" && typeof seen.getMasterNode === "function" && typeof seen.isOpen === "boolean"
  );
}

export class NodeRedisSentinelDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #sentinel: NodeRedisSentinel;
  readonly #channels: Followers;
  drops = 0;
  complaint: unknown;

  readonly #onError = (error: unknown): void => {
    this.complaint = error;
  };
  readonly #onReady = (): void => {
    this.complaint = undefined;
  };
  readonly #onReconnecting = (): void => {
    this.drops++;
  };

  constructor(sentinel: NodeRedisSentinel, keyPrefix: string) {
    this.#sentinel = sentinel;
    this.keyPrefix = keyPrefix;
    sentinel.on("error", this.#onError);
    sentinel.on("ready", this.#onReady);
    sentinel.on("reconnecting", this.#onReconnecting);
    this.#channels = new Followers(
      {
        ownerOf: () => this.#primary(),
        refresh: () => this.send(["PING"]),
        listenOn: (_, events) => this.#run((primary) => listenOn(primary, events)),
      },
      { sharded: false },
    );
  }

  send(command: readonly string[]): Promise<unknown> {
    return this.#run((primary) => primary.sendCommand(command as string[]));
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const { drops } = this;
    const replies = await this.#run((primary) => sendInOrder(primary, commands));
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    run();
  }

  transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return this.#run((primary) => {
      const multi = primary.multi();
      for (const command of commands) multi.addCommand([...command]);
      return transact(multi);
    });
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#channels.subscribe(channel, events);
  }

  async session(): Promise<Driver> {
    const connection = await this.#run((primary) => Promise.resolve(duplicate(primary, false)));
    await connection.connect();
    connection.unref();
    return new NodeRedisDriver(connection, { owned: true });
  }

  ownerOf(): string {
    return this.#primary();
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#sentinel.off("error", this.#onError);
    this.#sentinel.off("ready", this.#onReady);
    this.#sentinel.off("reconnecting", this.#onReconnecting);
  }

  #primary(): string {
    const node = this.#sentinel.getMasterNode();
    return node ? `${node.host}:${node.port}` : "";
  }

  /** Whatever is run a second time may have been done twice. */
  async #run<T>(run: (primary: NodeRedisClient) => Promise<T>): Promise<T> {
    if (!this.#sentinel.isOpen) throw new Error("The client is closed");
    let attempts = 0;
    return this.#sentinel._execute(false, (primary) => {
      if (attempts++ > 0) this.drops++;
      return run(primary);
    });
  }
}
