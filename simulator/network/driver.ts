import type { Driver, Send, Subscription, SubscriptionEvents } from "../../src/drivers/driver.ts";
import type { Reply } from "../server/wire.ts";
import { CommandLine } from "./commands.ts";
import type { Locate, LossPolicy } from "./commands.ts";
import type { ConnectionTerms } from "./connection.ts";
import type { Link } from "./link.ts";
import { Subscriptions } from "./subscriptions.ts";

export interface NetworkEvents {
  lost(purpose: ConnectionTerms["purpose"]): void;
  /** It is there again, or not needed any more. */
  ready(purpose: ConnectionTerms["purpose"]): void;
  /** What was published has come to its process. */
  heard(text: string): void;
}

export interface DriverTerms {
  readonly policy: LossPolicy;
  /** Whether its account may ask which server it listens to. */
  readonly tellsServer: boolean;
  /** Who hears that it cannot reach the server, or be reached, and that it can. */
  readonly events?: NetworkEvents;
}

/** The adapter to a client library that does not exist, on a network that does not exist either. */
export class SimulatedDriver implements Driver {
  readonly client = "ioredis";
  readonly isCluster = false;
  readonly keyPrefix = "";
  readonly scripts: Map<string, Set<string>> = new Map();
  drops = 0;
  complaint: unknown;
  isClosed = false;
  readonly #link: Link;
  readonly #locate: Locate;
  readonly #terms: DriverTerms;
  readonly #line: CommandLine;
  readonly #subscriptions: Subscriptions;
  readonly #purpose: ConnectionTerms["purpose"];

  constructor(link: Link, locate: Locate, terms: DriverTerms, purpose: ConnectionTerms["purpose"] = "commands") {
    this.#link = link;
    this.#locate = locate;
    this.#terms = terms;
    this.#purpose = purpose;
    this.#subscriptions = new Subscriptions(link, locate, terms);
    this.#line = new CommandLine(
      link,
      locate,
      { policy: terms.policy, purpose },
      {
        lost: (error) => {
          this.drops++;
          this.scripts.clear();
          this.complaint = error;
          // A session that came back would have forgotten what it watched.
          if (purpose === "session") this.#line.close();
          this.#terms.events?.lost(purpose);
        },
        ready: () => {
          this.complaint = undefined;
          this.#subscriptions.hurry();
          this.#terms.events?.ready(purpose);
        },
      },
    );
  }

  async send(command: readonly string[]): Promise<unknown> {
    const [reply] = await this.#line.call([command]);
    if (reply instanceof Error) throw reply;
    return reply;
  }

  async inOrder(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    const { drops } = this;
    const replies = await this.#line.call(commands);
    if (drops !== this.drops) throw new Error("Connection was lost between two commands");
    return replies;
  }

  together(run: () => void): void {
    run();
  }

  async transaction(commands: readonly (readonly string[])[]): Promise<unknown[] | null> {
    const replies = await this.#line.call([["MULTI"], ...commands, ["EXEC"]]);
    const done = replies.at(-1) as Reply;
    if (done instanceof Error) throw replies.find((reply) => reply instanceof Error);
    return done as Reply[] | null;
  }

  written(): Promise<void> {
    return this.#line.written();
  }

  subscribe(channel: string, events: SubscriptionEvents): Subscription {
    return this.#subscriptions.subscribe(channel, events);
  }

  session(): Promise<Driver> {
    return Promise.resolve(
      new SimulatedDriver(this.#link, this.#locate, { tellsServer: false, policy: "reject" }, "session"),
    );
  }

  ownerOf(): string {
    return "";
  }

  servers(): Promise<readonly Send[]> {
    return Promise.resolve([(command) => this.send(command)]);
  }

  close(): void {
    this.isClosed = true;
    if (this.#purpose === "session") this.end();
  }

  /** What the user of a client does, who owns its connection. */
  end(): void {
    this.#line.close();
  }
}
