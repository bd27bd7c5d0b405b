/**
 * Listens for releases, so that a waiter need not wait for its next try. The drop-ins' release scripts publish on a
 * channel of the key; the libraries they replace do not, so waiters try at their usual pace as well, and a message that
 * is missed costs nothing more than that.
 */
import { systemClock } from "../clock.ts";
import type { Timer } from "../clock.ts";
import type { Driver, Subscription } from "../drivers/driver.ts";
import { driverFor } from "../drivers/index.ts";
import type { RedisClient } from "../drivers/index.ts";

export interface Waiter {
  /** It needs nothing but this key, so nobody behind it has a chance before it. */
  readonly isSimple: boolean;
  /** @param by the server's */
  heard(by: Releases): void;
}

interface Channel {
  readonly subscription: Subscription;
  /** In the order in which they came. */
  readonly waiters: Set<Waiter>;
  closing: Timer | undefined;
}

/** A channel is listened to for this long after its last waiter left: the next one often comes soon. */
const LINGER = 1_000;

const known = new WeakMap<object, Releases>();

/**
 * The listeners on one server, shared by everyone in this process who uses the same client: each channel is subscribed
 * once.
 */
export class Releases {
  readonly #client: RedisClient;
  /** There while something is listened to. */
  #driver: Driver | undefined;
  readonly #channels = new Map<string, Channel>();

  private constructor(client: RedisClient) {
    this.#client = client;
  }

  static on(client: RedisClient): Releases {
    let releases = known.get(client);
    if (!releases) known.set(client, (releases = new Releases(client)));
    return releases;
  }

  hear(name: string, waiter: Waiter): void {
    const channel = this.#channels.get(name) ?? this.#open(name);
    channel.closing?.cancel();
    channel.closing = undefined;
    channel.waiters.add(waiter);
  }

  leave(name: string, waiter: Waiter): void {
    const channel = this.#channels.get(name);
    if (!channel?.waiters.delete(waiter) || channel.waiters.size > 0) return;
    channel.closing ??= systemClock.after(LINGER, () => {
      channel.subscription.close();
      this.#channels.delete(name);
      if (this.#channels.size > 0) return;
      this.#driver?.close();
      this.#driver = undefined;
    });
  }

  #open(name: string): Channel {
    const waiters = new Set<Waiter>();
    // One is enough to take what was released; who needs other keys too may not be able to.
    const wake = (): void => {
      for (const waiter of waiters) {
        waiter.heard(this);
        if (waiter.isSimple) return;
      }
    };
    // Before it was up, a release may have been missed.
    this.#driver ??= driverFor(this.#client);
    const subscription = this.#driver.subscribe(name, { message: wake, up: wake });
    const channel: Channel = { subscription, waiters, closing: undefined };
    this.#channels.set(name, channel);
    return channel;
  }
}
