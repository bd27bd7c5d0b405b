import type { Driver, Send, Subscription, SubscriptionEvents } from "../driver.ts";
import { duplicate, NodeRedisDriver } from "./client.ts";
import type { NodeRedisClient } from "./client.ts";

/** What is used of a pool of node-redis clients (package `redis`, 5 or 6). */
export interface NodeRedisPool {
  readonly isOpen: boolean;
  readonly totalClients: number;
  execute<T>(run: (client: NodeRedisClient) => T): Promise<Awaited<T>>;
}

export function isNodeRedisPool(client: object): client is NodeRedisPool {
  const seen = client as Partial<NodeRedisPool>;
  return (
    typeof seen.execute === "function" && typeof seen.totalClients === "number" && typeof seen.isOpen === "boolean"
  );
}

/**
 * Of a pool, one connection of our own, opened like its members: on several, what is sent later could be done earlier,
 * and a lock be released before it is taken.
 */
export class NodeRedisPoolDriver implements Driver {
  readonly client = "node-redis";
  readonly isCluster = false;
  readonly keyPrefix: string;
  readonly #pool: NodeRedisPool;
  #opening: Promise<NodeRedisDriver> | undefined;
  #driver: NodeRedisDriver | undefined;
  #closed = false;

  constructor(pool: NodeRedisPool, keyPrefix: string) {
    this.#pool = pool;
    this.keyPrefix = keyPrefix;
  }

  get drops(): number {
    return this.#driver?.drops ?? 0;
  }

  get complaint(): unknown {
    return this.#driver?.complaint;
  }

  async send(command: readonly string[]): Promise<unknown> {
    return (this.#driver ?? (await this.#open())).send(command);
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    return (await this.#open()).inOrder(commands);
  }

  together(run: () => void): void {
    run();
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    return (await this.#open()).transaction(commands);
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    let subscription: Subscription | undefined;
    let closed = false;
    this.#open().then(
      (driver) => {
        if (!closed) subscription = driver.subscribe(channel, events);
      },
      () => {},
    );
    return {
      get up() {
        return subscription?.up ?? false;
      },
      close: () => {
        closed = true;
        subscription?.close();
      },
    };
  }

  async session(): Promise<Driver> {
    return (await this.#open()).session();
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.#closed = true;
    this.#driver?.close();
  }

  #open(): Promise<NodeRedisDriver> {
    this.#opening ??= this.#connect().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  async #connect(): Promise<NodeRedisDriver> {
    const connection = await this.#pool.execute((member) => duplicate(member));
    await connection.connect();
    connection.unref();
    this.#driver = new NodeRedisDriver(connection, { owned: true });
    if (this.#closed) this.#driver.close();
    return this.#driver;
  }
}
