import type { Process } from "../world/process.ts";
import type { Random } from "../world/random.ts";
import type { World } from "../world/world.ts";
import type { Connection } from "./connection.ts";

/** How far a process is from the servers, in milliseconds. */
export interface LinkTerms {
  readonly latency: number;
  /** How much a message may take longer, as a share of the latency. */
  readonly jitter: number;
}

/** How a connection breaks. */
export interface Break {
  /** How long what the client sends still arrives after what the server sends is lost. */
  readonly deafFor: number;
  /** How long it takes until each side notices. */
  readonly clientNotices: number;
  readonly serverNotices: number;
}

/** The way between one process and the servers, with all its connections. */
export class Link {
  readonly world: World;
  readonly process: Process;
  readonly connections: Set<Connection> = new Set();
  readonly #random: Random;
  readonly #terms: LinkTerms;
  #slowness = 1;
  /** The longest that a message has been under way. */
  longest: number;
  heldUntil = 0;

  constructor(world: World, process: Process, random: Random, terms: LinkTerms) {
    this.world = world;
    this.process = process;
    this.#random = random;
    this.#terms = terms;
    this.longest = terms.latency;
  }

  readonly latency = (): number => {
    const { latency, jitter } = this.#terms;
    const drawn = latency * (1 + jitter * this.#random.next() ** 3) * this.#slowness;
    this.longest = Math.max(this.longest, drawn);
    return drawn;
  };

  /** Everything takes that many times as long for a while. */
  slow(factor: number, time: number): void {
    this.#slowness = factor;
    this.world.at(this.world.now + time, () => void (this.#slowness = 1));
  }

  /** Nothing arrives for a while, and then all of it, in order. */
  stall(time: number): void {
    this.heldUntil = Math.max(this.heldUntil, this.world.now + time);
    for (const connection of this.connections) connection.hold(this.heldUntil);
  }

  breakAll(how: Break, which: (connection: Connection) => boolean = () => true): void {
    for (const connection of this.connections) if (which(connection)) connection.breakOff(how);
  }
}
