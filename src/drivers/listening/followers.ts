/**
 * Listening while servers change: in a Cluster each channel on the server that keeps its slot, otherwise on the
 * primary; over one connection to each such server. A channel is subscribed again after a loss, and follows when it
 * belongs to another server: at once if the server says so, otherwise when the client has learned of it.
 */
import { backoff } from "../backoff.ts";
import { messageOf } from "../server-errors.ts";
import type { Subscription, SubscriptionEvents } from "../driver.ts";
import { clearTimeout, setTimeout, unref } from "../../runtime.ts";
import type { Timeout } from "../../runtime.ts";

/** Our own connection to one server. Rejections are the server's own words. */
export interface Listener {
  /** The server's, if it reports it. */
  readonly id: string | undefined;
  /** @param sharded with the commands for channels that belong to a slot */
  subscribe(channel: string, sharded: boolean): Promise<unknown>;
  unsubscribe(channel: string, sharded: boolean): Promise<unknown>;
  close(): void;
}

export interface ListenerEvents {
  message(channel: string, text: string): void;
  /** Channels, or any that it had, are not listened to any more: the connection is gone, or a slot has moved. */
  lost(channel?: string): void;
}

/** What the client knows about its servers. */
export interface Servers {
  /** The server that the channel belongs to; "" if that is not known. */
  ownerOf(channel: string): string;
  /** Make the client find out. */
  refresh(channel: string): Promise<unknown>;
  listenOn(server: string, events: ListenerEvents): Promise<Listener>;
}

interface Channel {
  readonly name: string;
  readonly events: SubscriptionEvents;
  up: boolean;
  /** The server that it was listened to last. */
  server: string | undefined;
  closed: boolean;
  /** Ends the time in which it is listened to, or the pause before the next attempt. */
  wake: () => void;
}

interface Server {
  readonly listener: Promise<Listener>;
  readonly channels: Map<string, Channel>;
}

/** How often the actual and the correct servers of channels are compared. */
const LOOK_INTERVAL = 500;

export class Followers {
  readonly #known: Servers;
  /** Those that are listened to. */
  readonly #servers = new Map<string, Server>();
  /** False, too, from the first server on that knows no channels of slots (Redis before 7). */
  #sharded: boolean;
  #looking: Timeout | undefined;
  /** Between two attempts. */
  readonly #pausing = new Set<Channel>();

  constructor(known: Servers, { sharded }: { readonly sharded: boolean }) {
    this.#known = known;
    this.#sharded = sharded;
  }

  subscribe(name: string, events: SubscriptionEvents): Subscription {
    const channel: Channel = { name, events, up: false, server: undefined, closed: false, wake: () => {} };
    void this.#keep(channel);
    return {
      get up() {
        return channel.up;
      },
      get server() {
        return channel.server;
      },
      close: () => {
        channel.closed = true;
        channel.up = false;
        channel.wake();
      },
    };
  }

  /** The client has found its server again: what listens elsewhere comes back to it, what pauses tries now. */
  hurry(): void {
    for (const channel of this.#pausing) channel.wake();
    this.#compare();
  }

  /** Listens, again and again, until the subscription is closed. Never rejects. */
  async #keep(channel: Channel): Promise<void> {
    for (let failures = 0; !channel.closed;) {
      const server = this.#known.ownerOf(channel.name);
      try {
        await this.#listen(server, channel);
        failures = 0;
      } catch (error) {
        if (this.#sharded && /unknown command/i.test(messageOf(error))) {
          this.#sharded = false;
          continue;
        }
        this.#leave(server, channel);
        if (channel.closed) return;
        this.#known.refresh(channel.name).catch(() => {});
        this.#pausing.add(channel);
        await sleep(channel, backoff(failures++));
        this.#pausing.delete(channel);
      }
    }
  }

  /** Resolves when the channel, which was listened to there, is not any more. */
  async #listen(server: string, channel: Channel): Promise<void> {
    if (server === "") throw new Error("It is not known which server the channel belongs to.");
    const sharded = this.#sharded;
    const lost = new Promise<undefined>((resolve) => (channel.wake = () => resolve(undefined)));
    const listener = await Promise.race([this.#join(server, channel), lost]);
    // A server that hangs does not hold up the look for another.
    const subscribed =
      listener && (await Promise.race([listener.subscribe(channel.name, sharded).then(() => true), lost]));
    if (!subscribed || channel.closed || !this.#isThere(server, channel)) {
      listener?.unsubscribe(channel.name, sharded).catch(() => {});
      throw new Error("The connection was lost, or the channel closed.");
    }
    channel.up = true;
    channel.server = listener.id;
    channel.events.up();
    await lost;
    channel.up = false;
    listener.unsubscribe(channel.name, sharded).catch(() => {});
    this.#leave(server, channel);
  }

  #join(server: string, channel: Channel): Promise<Listener> {
    let found = this.#servers.get(server);
    if (!found) {
      const channels = new Map<string, Channel>();
      const opened: Server = {
        channels,
        listener: this.#known.listenOn(server, {
          message: (name, text) => channels.get(name)?.events.message(text),
          lost: (name) => {
            if (name === undefined) this.#drop(server, opened);
            else channels.get(name)?.wake();
          },
        }),
      };
      opened.listener.catch(() => this.#drop(server, opened));
      this.#servers.set(server, (found = opened));
      this.#look();
    }
    found.channels.set(channel.name, channel);
    return found.listener;
  }

  #isThere(server: string, channel: Channel): boolean {
    return this.#servers.get(server)?.channels.get(channel.name) === channel;
  }

  /** The last channel to leave closes the connection. */
  #leave(name: string, channel: Channel): void {
    const server = this.#servers.get(name);
    if (!server || server.channels.get(channel.name) !== channel) return;
    server.channels.delete(channel.name);
    if (server.channels.size === 0) this.#drop(name, server);
  }

  #drop(name: string, server: Server): void {
    if (this.#servers.get(name) !== server) return;
    this.#servers.delete(name);
    for (const channel of server.channels.values()) channel.wake();
    server.listener.then((listener) => listener.close()).catch(() => {});
  }

  #look(): void {
    if (this.#looking) return;
    this.#looking = setTimeout(() => {
      this.#looking = undefined;
      this.#compare();
      if (this.#servers.size > 0) this.#look();
    }, LOOK_INTERVAL);
    unref(this.#looking);
  }

  #compare(): void {
    for (const [name, { channels }] of this.#servers) {
      for (const channel of channels.values()) {
        const owner = this.#known.ownerOf(channel.name);
        if (owner !== name && owner !== "") channel.wake();
      }
    }
  }
}

function sleep(channel: Channel, time: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    unref(timer);
    channel.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
