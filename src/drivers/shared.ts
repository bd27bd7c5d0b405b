/**
 * One driver for each client, however many managers and guards use it: its listeners, and its connection for pushes,
 * exist once. What it starts (sockets, timers, subscriptions) belongs to the client and not to the request that
 * happened to need it first, so all of it runs outside of any async context.
 */
import { outsideContext } from "../async-context.ts";
import type { ClientLibrary, Driver, Send, Subscription, SubscriptionEvents } from "./driver.ts";

interface Shared {
  readonly driver: Driver;
  users: number;
}

const inUse = new WeakMap<object, Shared>();

/** @param open makes the client's driver, unless there is one */
export function share(client: object, open: () => Driver): Driver {
  let shared = inUse.get(client);
  if (!shared) inUse.set(client, (shared = { driver: outsideContext(open), users: 0 }));
  const { driver } = shared;
  shared.users++;
  return new SharedDriver(driver, () => {
    if (--shared.users > 0) return;
    inUse.delete(client);
    driver.close();
  });
}

/** A server's answer to a command that it queues until EXEC. None of our scripts and writes answers that. */
const KEPT = "QUEUED";

function inTransaction(): Error {
  return new Error("The client is in a MULTI, so its commands wait for EXEC");
}

/** A client's driver as one of its users has it. The last one to close it closes the driver itself. */
class SharedDriver implements Driver {
  readonly client: ClientLibrary;
  readonly isCluster: boolean;
  readonly keyPrefix: string;
  readonly scripts: Map<string, Set<string>>;
  readonly #driver: Driver;
  readonly #leave: () => void;
  readonly #subscriptions = new Set<Subscription>();
  #isClosed = false;

  constructor(driver: Driver, leave: () => void) {
    this.client = driver.client;
    this.isCluster = driver.isCluster;
    this.keyPrefix = driver.keyPrefix;
    this.scripts = driver.scripts;
    this.#driver = driver;
    this.#leave = leave;
  }

  get drops(): number {
    return this.#driver.drops;
  }

  get complaint(): unknown {
    return this.#driver.complaint;
  }

  async send(command: readonly string[], key?: string): Promise<unknown> {
    // Written out, because a call of another async function would cost each command two more promises.
    let reply;
    try {
      reply = await outsideContext(() => this.#driver.send(command, key));
    } catch (error) {
      throw this.#meant(error);
    }
    if (reply === KEPT && command[0] !== "GET") throw inTransaction();
    return reply;
  }

  async inOrder(commands: readonly (readonly string[])[], key: string): Promise<unknown[]> {
    const replies = (await this.#call(() => this.#driver.inOrder(commands, key))).map((reply) => this.#meant(reply));
    // In our own MULTI, all but the first and the last are queued.
    const isOurs = commands[0]?.[0] === "MULTI" && replies[0] === "OK";
    if (!isOurs && replies.includes(KEPT)) throw inTransaction();
    return replies;
  }

  together(run: () => void): void {
    this.#driver.together(run);
  }

  async transaction(commands: readonly (readonly string[])[], key?: string): Promise<unknown[] | null> {
    const replies = await this.#call(() => this.#driver.transaction(commands, key));
    // More commands were executed than we sent: ours became part of a MULTI that somebody else had begun.
    if (replies && replies.length !== commands.length) throw inTransaction();
    return replies;
  }

  written(key: string): Promise<void> {
    return outsideContext(() => this.#driver.written(key));
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    const subscription = outsideContext(() => this.#driver.subscribe(channel, events));
    const close = (): void => {
      this.#subscriptions.delete(mine);
      subscription.close();
    };
    const mine: Subscription = {
      get up() {
        return subscription.up;
      },
      get server() {
        return subscription.server;
      },
      close,
    };
    this.#subscriptions.add(mine);
    return mine;
  }

  session(key: string): Promise<Driver> {
    return outsideContext(() => this.#driver.session(key));
  }

  ownerOf(key: string): string {
    return this.#driver.ownerOf(key);
  }

  async servers(): Promise<readonly Send[]> {
    const servers = await outsideContext(() => this.#driver.servers());
    return servers.map((send) => (command, key) => outsideContext(() => send(command, key)));
  }

  watchServer(): void {
    this.#driver.watchServer?.();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const subscription of this.#subscriptions) subscription.close();
    this.#leave();
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await outsideContext(call);
    } catch (error) {
      throw this.#meant(error);
    }
  }

  /** What only a Cluster says means something else to a client of a single server. */
  #meant(reply: unknown): unknown {
    if (this.isCluster || !(reply instanceof Error) || !/^(MOVED|ASK|CROSSSLOT)\b/.test(reply.message)) return reply;
    return new Error(`It is one server of a Cluster, and knows other keys (${reply.message})`, { cause: reply });
  }
}
