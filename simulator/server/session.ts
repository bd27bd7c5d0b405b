import type { Message } from "../network/connection.ts";
import type { SimulatedServer } from "./server.ts";
import type { Wire } from "./wire.ts";

/** A connection as the server has it, until it notices that it is over. */
export class Session {
  readonly server: SimulatedServer;
  /** Whose it is. */
  readonly client: string;
  readonly channels: Set<string> = new Set();
  /** A connection to the real server of its own, if it needs one: WATCH belongs to a connection. */
  wire: Wire | undefined;
  /** @returns false if it is lost */
  readonly send: (message: Message) => boolean;
  /** What was under way to the client when the connection broke. */
  readonly lose: (messages: readonly Message[]) => void;
  isOpen = true;

  constructor(
    server: SimulatedServer,
    client: string,
    send: (message: Message) => boolean,
    lose: (messages: readonly Message[]) => void,
  ) {
    this.server = server;
    this.client = client;
    this.send = send;
    this.lose = lose;
  }

  /** The server has noticed. */
  close(): void {
    this.server.forget(this);
  }
}
