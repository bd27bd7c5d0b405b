import type { Subscription, SubscriptionEvents } from "../../src/drivers/driver.ts";
import type { Locate } from "./commands.ts";
import { Connection } from "./connection.ts";
import type { Link } from "./link.ts";

interface Channel {
  readonly name: string;
  readonly events: SubscriptionEvents;
  isUp: boolean;
  isClosed: boolean;
}

interface Terms {
  /** Whether the account may ask for the server's id. */
  readonly tellsServer: boolean;
  readonly events?: { lost(purpose: "pushes"): void; ready(purpose: "pushes"): void; heard(text: string): void };
}

const LONGEST_PAUSE = 1_000;

/** A client's connection for pushes. It opens with the first channel, comes back by itself, and goes with the last. */
export class Subscriptions {
  readonly #link: Link;
  readonly #locate: Locate;
  readonly #terms: Terms;
  readonly #channels = new Map<string, Channel>();
  #connection: Connection | undefined;
  /** The server that the connection leads to; undefined until it stands. */
  #server: string | undefined;
  #attempts = 0;
  #pause: NodeJS.Timeout | undefined;
  /** Channels whose SUBSCRIBE is out, in order; undefined where the answer is of no interest. */
  #asked: (Channel | undefined)[] = [];

  constructor(link: Link, locate: Locate, terms: Terms) {
    this.#link = link;
    this.#locate = locate;
    this.#terms = terms;
  }

  subscribe(name: string, events: SubscriptionEvents): Subscription {
    const channel: Channel = { name, events, isUp: false, isClosed: false };
    this.#channels.set(name, channel);
    if (this.#server !== undefined) this.#ask(channel);
    else if (!this.#connection && !this.#pause) {
      this.#terms.events?.lost("pushes");
      this.#connect();
    }
    const serverOf = (): string | undefined => (channel.isUp && this.#terms.tellsServer ? this.#server : undefined);
    return {
      get up() {
        return channel.isUp;
      },
      get server() {
        return serverOf();
      },
      close: () => this.#close(channel),
    };
  }

  /** The connection for commands has found the server: what pauses tries now. */
  hurry(): void {
    if (!this.#pause) return;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#connect();
  }

  #connect(): void {
    const server = this.#locate();
    if (!server) return this.#retry();
    this.#connection = new Connection(
      this.#link,
      server,
      { purpose: "pushes" },
      {
        ready: (id) => {
          this.#server = id;
          this.#attempts = 0;
          for (const channel of this.#channels.values()) this.#ask(channel);
        },
        replies: () => this.#subscribed(this.#asked.shift()),
        published: (name, text) => {
          const channel = this.#channels.get(name);
          if (!channel || channel.isClosed) return;
          this.#terms.events?.heard(text);
          channel.events.message(text);
        },
        closed: () => this.#lost(),
      },
    );
  }

  #ask(channel: Channel): void {
    this.#asked.push(channel);
    this.#connection?.send([["SUBSCRIBE", channel.name]]);
  }

  #subscribed(channel: Channel | undefined): void {
    if (!channel || channel.isClosed) return;
    channel.isUp = true;
    channel.events.up();
    if (this.#asked.length === 0) this.#terms.events?.ready("pushes");
  }

  #close(channel: Channel): void {
    if (channel.isClosed) return;
    channel.isClosed = true;
    channel.isUp = false;
    this.#channels.delete(channel.name);
    if (this.#channels.size > 0) {
      this.#asked.push(undefined);
      this.#connection?.send([["UNSUBSCRIBE", channel.name]]);
      return;
    }
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#forget();
    this.#terms.events?.ready("pushes");
  }

  #lost(): void {
    if (this.#server !== undefined) this.#terms.events?.lost("pushes");
    this.#forget();
    for (const channel of this.#channels.values()) channel.isUp = false;
    if (this.#channels.size > 0) this.#retry();
  }

  #forget(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#server = undefined;
    this.#asked = [];
  }

  #retry(): void {
    const longest = Math.min(25 * 2 ** this.#attempts++, LONGEST_PAUSE);
    this.#pause = setTimeout(
      () => {
        this.#pause = undefined;
        this.#connect();
      },
      longest * (0.5 + Math.random() / 2),
    );
  }
}
