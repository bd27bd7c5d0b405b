/**
 * The channels of a manager: one for all its locks; in a Cluster, where a channel lives in one slot, one for
 * what it holds, and one for each home in which it waits, for as long as somebody there has use for it.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Driver, Subscription } from "../drivers/driver.ts";
import type { Home } from "./keys.ts";
import { afterPromises } from "../runtime.ts";

interface Channel {
  readonly subscription: Subscription;
  /** How often it has risen. */
  generation: number;
  /** Nobody needs it after this time. */
  until: number;
}

export interface ChannelEvents {
  message(text: string): void;
  /** Messages arrive for the first time, or again: messages about the locks at these homes may have been missed. */
  up(homes: ReadonlySet<Home>): void;
}

/** How often channels that are of no use any more are looked for. */
const SWEEP_INTERVAL = 30_000;

export class Channels {
  readonly #driver: Driver;
  readonly #clock: Clock;
  readonly #clientId: string;
  readonly #events: ChannelEvents;
  /** By the home's channel. */
  readonly #channels = new Map<string, Channel>();
  readonly #risen = new Set<Home>();
  #sweep: Timer | undefined;
  #closed = false;

  constructor(driver: Driver, clock: Clock, clientId: string, events: ChannelEvents) {
    this.#driver = driver;
    this.#clock = clock;
    this.#clientId = clientId;
    this.#events = events;
  }

  /**
   * Listens to messages about the locks of that home, at least for this long from now; about its own, until it is
   * closed.
   */
  open(home: Home, time: number): void {
    if (this.#closed) return;
    const until = home.lock === undefined ? Infinity : this.#clock.now() + time;
    const known = this.#channels.get(home.channel);
    if (known) {
      known.until = Math.max(known.until, until);
      return;
    }
    const channel: Channel = {
      subscription: this.#driver.subscribe(home.channel + this.#clientId, {
        message: (text) => this.#events.message(text),
        up: () => {
          channel.generation++;
          this.#rise(home);
        },
      }),
      generation: 0,
      until,
    };
    this.#channels.set(home.channel, channel);
    if (until < Infinity) this.#sweepLater();
  }

  isUp(home: Home): boolean {
    return this.#channels.get(home.channel)?.subscription.up ?? false;
  }

  /** A number that changes whenever messages may have been missed; undefined while none arrive. */
  generation(home: Home): number | undefined {
    const channel = this.#channels.get(home.channel);
    return channel?.subscription.up ? channel.generation : undefined;
  }

  /** The id of the server that messages come from, if it is known. */
  serverOf(home: Home): string | undefined {
    return this.#channels.get(home.channel)?.subscription.server;
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    for (const { subscription } of this.#channels.values()) subscription.close();
    this.#channels.clear();
  }

  /** After a reconnection many channels rise at once; they are reported together. */
  #rise(home: Home): void {
    this.#risen.add(home);
    if (this.#risen.size > 1) return;
    afterPromises(() => {
      const risen = new Set(this.#risen);
      this.#risen.clear();
      if (!this.#closed) this.#events.up(risen);
    });
  }

  #sweepLater(): void {
    this.#sweep ??= this.#clock.after(SWEEP_INTERVAL, () => {
      this.#sweep = undefined;
      for (const [name, { subscription, until }] of this.#channels) {
        if (until > this.#clock.now()) continue;
        subscription.close();
        this.#channels.delete(name);
      }
      if (this.#channels.size > 0) this.#sweepLater();
    });
  }
}
