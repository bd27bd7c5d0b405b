import type { Reply } from "../server/wire.ts";
import type { SimulatedServer } from "../server/server.ts";
import type { Session } from "../server/session.ts";
import type { Break, Link } from "./link.ts";
import { Pipe } from "./pipe.ts";

/** What a client sends in one write. */
export interface Request {
  readonly commands: readonly (readonly string[])[];
}

/** What a server sends. */
export type Message =
  | { readonly kind: "ready"; readonly server: string }
  | { readonly kind: "replies"; readonly replies: readonly Reply[] }
  | { readonly kind: "published"; readonly channel: string; readonly text: string }
  | { readonly kind: "refused" };

/** Who hears of a connection, in its process, when that comes to it. */
export interface ConnectionEvents {
  ready(server: string): void;
  replies(replies: readonly Reply[]): void;
  published(channel: string, text: string): void;
  closed(error: Error): void;
}

export interface ConnectionTerms {
  readonly purpose: "commands" | "pushes" | "session";
}

/** A connection as its client has it: two pipes to a session of the server. */
export class Connection {
  readonly purpose: ConnectionTerms["purpose"];
  readonly server: SimulatedServer;
  /** Whose it is. */
  readonly client: string;
  readonly #link: Link;
  readonly #events: ConnectionEvents;
  readonly #up: Pipe<Request>;
  readonly #down: Pipe<Message>;
  #session: Session | undefined;
  #isOver = false;

  /** Begins to connect. */
  constructor(link: Link, server: SimulatedServer, { purpose }: ConnectionTerms, events: ConnectionEvents) {
    this.purpose = purpose;
    this.server = server;
    this.client = link.process.name;
    this.#link = link;
    this.#events = events;
    const { world, latency, process } = link;
    this.#down = new Pipe(world, latency, (message) => process.receive(() => this.#hear(message)));
    this.#up = new Pipe(world, latency, (request) => this.#arrive(request));
    this.hold(link.heldUntil);
    link.connections.add(this);
    this.#up.send({ commands: [] }, process.time);
  }

  send(commands: readonly (readonly string[])[]): void {
    this.#up.send({ commands }, this.#link.process.time);
  }

  hold(until: number): void {
    this.#up.hold(until);
    this.#down.hold(until);
  }

  /** The client closes it, and hears nothing more of it. */
  close(): void {
    this.#end();
    const { world, process, latency } = this.#link;
    world.at(process.time + latency(), () => this.#session?.close());
  }

  /** The network, or the server, ends it. */
  breakOff({ deafFor, clientNotices, serverNotices }: Break): void {
    const { world, process } = this.#link;
    const lost = this.#down.cut();
    this.#session?.lose(lost);
    world.at(world.now + deafFor, () => void this.#up.cut());
    world.at(world.now + serverNotices, () => this.#session?.close());
    world.at(world.now + clientNotices, () => process.receive(() => this.#closed("Socket closed unexpectedly")));
  }

  #arrive(request: Request): void {
    if (this.#session) return this.server.receive(this.#session, request);
    const down = (message: Message): boolean => this.#down.send(message, this.#link.world.now);
    this.#session = this.server.accept(this, down);
    if (!this.#session) down({ kind: "refused" });
  }

  #hear(message: Message): void {
    if (this.#isOver) return;
    if (message.kind === "ready") this.#events.ready(message.server);
    else if (message.kind === "replies") this.#events.replies(message.replies);
    else if (message.kind === "published") this.#events.published(message.channel, message.text);
    else this.#closed("connect ECONNREFUSED");
  }

  #closed(why: string): void {
    if (this.#isOver) return;
    this.#end();
    this.#events.closed(new Error(why));
  }

  #end(): void {
    this.#isOver = true;
    this.#link.connections.delete(this);
  }
}
