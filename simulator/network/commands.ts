import type { Reply } from "../server/wire.ts";
import type { SimulatedServer } from "../server/server.ts";
import { Connection } from "./connection.ts";
import type { ConnectionTerms } from "./connection.ts";
import type { Link } from "./link.ts";

/** How a client library treats what was out when its connection was lost: ioredis sends it again, node-redis fails it. */
export type LossPolicy = "resend" | "reject";

/** Where a client finds its server. Undefined while it does not know. */
export type Locate = () => SimulatedServer | undefined;

interface Call {
  readonly commands: readonly (readonly string[])[];
  resolve(replies: Reply[]): void;
  reject(error: Error): void;
}

export interface LineEvents {
  lost(error: Error): void;
  ready(): void;
}

/** A client's connection for commands, which comes back by itself; what is sent while it is away waits. */
export class CommandLine {
  readonly #link: Link;
  readonly #locate: Locate;
  readonly #policy: LossPolicy;
  readonly #events: LineEvents;
  readonly #purpose: ConnectionTerms["purpose"];
  #connection: Connection | undefined;
  #isUp = false;
  #isClosed = false;
  #out: Call[] = [];
  #waiting: Call[] = [];
  #attempts = 0;
  #whenUp: (() => void)[] = [];

  constructor(
    link: Link,
    locate: Locate,
    terms: { readonly policy: LossPolicy; readonly purpose: ConnectionTerms["purpose"] },
    events: LineEvents,
  ) {
    this.#link = link;
    this.#locate = locate;
    this.#policy = terms.policy;
    this.#purpose = terms.purpose;
    this.#events = events;
    this.#connect();
  }

  call(commands: readonly (readonly string[])[]): Promise<Reply[]> {
    return new Promise((resolve, reject) => {
      const call = { commands, resolve, reject };
      if (this.#isClosed) reject(new Error("Connection is closed."));
      else if (this.#isUp) this.#send(call);
      else this.#waiting.push(call);
    });
  }

  /** Resolves when all that was given to it is with the kernel. */
  written(): Promise<void> {
    if (this.#isUp || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => this.#whenUp.push(resolve));
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.close();
    this.#fail([...this.#out.splice(0), ...this.#waiting.splice(0)], new Error("Connection is closed."));
    this.#tellWritten();
  }

  #send(call: Call): void {
    this.#out.push(call);
    this.#connection?.send(call.commands);
  }

  #connect(): void {
    if (this.#isClosed) return;
    const server = this.#locate();
    if (!server) return this.#retry();
    this.#connection = new Connection(
      this.#link,
      server,
      { purpose: this.#purpose },
      {
        ready: () => this.#ready(),
        replies: (replies) => this.#out.shift()?.resolve([...replies]),
        published: () => {},
        closed: (error) => this.#lost(error),
      },
    );
  }

  #ready(): void {
    this.#isUp = true;
    this.#attempts = 0;
    this.#events.ready();
    for (const call of this.#waiting.splice(0)) this.#send(call);
    this.#tellWritten();
  }

  #lost(error: Error): void {
    this.#connection = undefined;
    this.#isUp = false;
    this.#events.lost(error);
    const out = this.#out.splice(0);
    if (this.#policy === "resend") this.#waiting.unshift(...out);
    else this.#fail(out, error);
    this.#retry();
  }

  #retry(): void {
    if (this.#isClosed) return;
    this.#attempts++;
    setTimeout(() => this.#connect(), Math.min(50 * this.#attempts, 2_000));
  }

  #fail(calls: readonly Call[], error: Error): void {
    for (const call of calls) call.reject(error);
  }

  #tellWritten(): void {
    for (const resolve of this.#whenUp.splice(0)) resolve();
  }
}
