import { backoff } from "../backoff.ts";
import type { Subscription, SubscriptionEvents } from "../driver.ts";
import { AS_STRINGS, closeOwn, plain } from "./library.ts";
import type { OwnGlideClient } from "./library.ts";

/** Which connections a client has, as one text, and how they take channels. */
export interface Connections {
  readonly identity: string;
  readonly sharded: boolean;
  /** Which server keeps which slots, where plain channels have to follow them. */
  readonly layout?: string;
}

/** How long GLIDE may take to subscribe before it goes on trying in the background. */
const SUBSCRIBE_LIMIT = 1_000;
/**
 * GLIDE subscribes again after a loss, but reports neither the loss nor the new subscription. So we ask it
 * what it is subscribed to, which costs no network, and the server for the connection's number, which does.
 */
const CHECK_INTERVAL = 500;

const EXACT = 0;
const SHARDED = 2;

interface Channel {
  readonly events: SubscriptionEvents;
  up: boolean;
}

interface Message {
  readonly channel: unknown;
  readonly message: unknown;
}

/** Listens to all channels of a driver on one client of its own, which is there as long as there are any. */
export class GlideListener {
  readonly #open: (settings: object) => Promise<OwnGlideClient>;
  readonly #look: (client: OwnGlideClient) => Promise<Connections>;
  readonly #channels = new Map<string, Channel>();
  #client: OwnGlideClient | undefined;
  #opening = false;
  #attempt = 0;
  #connections: Connections | undefined;
  #timer: NodeJS.Timeout | undefined;
  #checking = false;
  #checkAgain = false;

  constructor(
    open: (settings: object) => Promise<OwnGlideClient>,
    look: (client: OwnGlideClient) => Promise<Connections> = lookAtOne,
  ) {
    this.#open = open;
    this.#look = look;
  }

  subscribe(name: string, events: SubscriptionEvents): Subscription {
    const channel: Channel = { events, up: false };
    this.#channels.set(name, channel);
    if (this.#client) this.#enter(this.#client, [name]);
    else this.#start();
    return {
      get up() {
        return channel.up;
      },
      close: () => this.#leave(name, channel),
    };
  }

  close(): void {
    this.#channels.clear();
    this.#stop();
  }

  #start(): void {
    if (this.#opening || this.#client) return;
    this.#opening = true;
    clearTimeout(this.#timer);
    const callback = (message: Message): void => this.#hear(message);
    this.#open({ pubsubSubscriptions: { channelsAndPatterns: {}, callback } })
      .then(async (client) => {
        const connections = await this.#look(client).catch((error: unknown) => {
          closeOwn(client);
          throw error;
        });
        this.#opening = false;
        if (this.#channels.size === 0) return closeOwn(client);
        this.#attempt = 0;
        this.#client = client;
        this.#connections = connections;
        this.#timer = setInterval(() => this.#check(), CHECK_INTERVAL).unref();
        this.#enter(client, [...this.#channels.keys()]);
      })
      .catch(() => {
        this.#opening = false;
        if (this.#channels.size === 0) return;
        this.#timer = setTimeout(() => this.#start(), backoff(this.#attempt++)).unref();
      });
  }

  #enter(client: OwnGlideClient, names: string[]): void {
    const channels = new Set(names);
    const entered = this.#connections?.sharded
      ? client.ssubscribe(channels, SUBSCRIBE_LIMIT)
      : client.subscribe(channels, SUBSCRIBE_LIMIT);
    // If it took too long, GLIDE keeps trying, and the next check finds out.
    entered.then(
      () => this.#check(),
      () => {},
    );
  }

  #leave(name: string, channel: Channel): void {
    channel.up = false;
    if (this.#channels.get(name) !== channel) return;
    this.#channels.delete(name);
    if (this.#channels.size === 0) return this.#stop();
    const client = this.#client;
    if (!client) return;
    const channels = new Set([name]);
    const left = this.#connections?.sharded
      ? client.sunsubscribe(channels, SUBSCRIBE_LIMIT)
      : client.unsubscribe(channels, SUBSCRIBE_LIMIT);
    left.catch(() => {});
  }

  #stop(): void {
    clearTimeout(this.#timer);
    if (this.#client) closeOwn(this.#client);
    this.#client = undefined;
    this.#connections = undefined;
  }

  #hear({ channel, message }: Message): void {
    this.#channels.get(String(channel))?.events.message(String(message));
  }

  #check(): void {
    const client = this.#client;
    if (!client) return;
    if (this.#checking) {
      this.#checkAgain = true;
      return;
    }
    this.#checking = true;
    this.#checkAgain = false;
    void this.#compare(client).finally(() => {
      this.#checking = false;
      if (this.#checkAgain) this.#check();
    });
  }

  async #compare(client: OwnGlideClient): Promise<void> {
    let subscribed: Set<unknown> | undefined;
    let connections: Connections | undefined;
    try {
      connections = await this.#look(client);
      const { actualSubscriptions } = await client.getSubscriptions();
      subscribed = actualSubscriptions[connections.sharded ? SHARDED : EXACT];
    } catch {
      // Then no message comes through, either.
    }
    if (client !== this.#client) return;
    // Another connection has replaced the former one: in between, something may have been missed.
    const replaced = connections !== undefined && connections.identity !== this.#connections?.identity;
    const moved = connections !== undefined && connections.layout !== this.#connections?.layout;
    if (connections) this.#connections = connections;
    if (moved) await this.#follow(client);
    for (const [name, channel] of this.#channels) {
      // Those that had to follow rise with the next look.
      const up = !moved && (subscribed?.has(name) ?? false);
      const rises = up && (!channel.up || replaced);
      channel.up = up;
      if (rises) channel.events.up();
    }
  }

  /**
   * From a server whose slot moves away, a plain channel is not sent off. GLIDE learns where the slot is by a command
   * that is refused, and then subscribes there.
   */
  async #follow(client: OwnGlideClient): Promise<void> {
    const names = [...this.#channels.keys()];
    const look = (key: string): Promise<unknown> =>
      client.customCommand(["EXISTS", key], { ...AS_STRINGS, route: { type: "primarySlotKey", key } });
    await Promise.allSettled(names.map(look));
    const channels = new Set(names.filter((name) => this.#channels.has(name)));
    if (client !== this.#client || channels.size === 0) return;
    await client.unsubscribe(channels, SUBSCRIBE_LIMIT).catch(() => {});
    this.#enter(client, [...channels]);
  }
}

/** Tells of a connection. It speaks RESP3 already; before 6.2 the number may not be left out. */
export const HELLO: string[] = ["HELLO", "3"];

/** The connection of a client that has only one. A server lets everybody ask for it, whatever else is forbidden. */
async function lookAtOne(client: OwnGlideClient): Promise<Connections> {
  return { identity: numberIn(plain(await client.customCommand(HELLO, AS_STRINGS))), sharded: false };
}

/** The connection's number in a server's HELLO. */
export function numberIn(hello: unknown): string {
  return fieldOf(hello, "id");
}

export function fieldOf(hello: unknown, name: string): string {
  const words = hello as unknown[];
  return String(words[words.indexOf(name) + 1]);
}
