/**
 * What a manager listens to: one channel for all its locks; in a Cluster, where a channel lives in one slot, one for
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
  /** Nobody has use for it after that. */
  until: number;
}

export interface ChannelEvents {
  message(text: string): void;
  /** Messages arrive for the first time, or again: of the locks at these homes something may have been missed. */
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

  /** Listen to what concerns the locks of that home, at least for so long from now; to its own, until it is closed. */
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

  /** The id of the server that messages come from, where that is known. */
  serverOf(home: Home): string | undefined {
    return this.#channels.get(home.channel)?.subscription.server;
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    for (const { subscription } of this.#channels.values()) subscription.close();
    this.#channels.clear();
  }

  /** After a reconnection many rise at once; they are told of in one go. */
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
