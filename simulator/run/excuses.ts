/** What has gone wrong for whom and when, so that nobody is blamed for what follows from that. */
import type { Attempt } from "../checks/attempt.ts";
import { Thrown } from "../load/program.ts";
import type { World } from "../world/world.ts";

/** Failures of a server or a connection are put up with for that long after it is well again, in milliseconds. */
const LINGER = 12_000;

export class Excuses {
  readonly #world: World;
  /** By client: when it was last in trouble; Infinity while it is. */
  readonly #clients = new Map<string, number>();
  #server = 0;
  #serverUntil = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** The client's connection is down. */
  disturb(client: string): void {
    this.#clients.set(client, Infinity);
  }

  /** Its connection is up again. */
  settle(client: string): void {
    this.#clients.set(client, this.#world.now);
  }

  /** Something goes wrong for the client until then. */
  disturbUntil(client: string, time: number): void {
    this.#clients.set(client, Math.max(this.#clients.get(client) ?? 0, time));
  }

  /** Something goes wrong for all of them until then. */
  disturbAll(time: number): void {
    this.#serverUntil = Math.max(this.#serverUntil, time);
    this.#server = this.#world.now;
  }

  /** Since when nothing has gone wrong for it; Infinity while something does. */
  quietSince(client: string): number {
    const name = client.replace(/'+$/, "");
    return Math.max(this.#clients.get(name) ?? 0, this.#server, this.#serverUntil);
  }

  /** Whether the program had to reckon with that error. */
  cover(attempt: Attempt, error: unknown): boolean {
    if (error instanceof Thrown) return true;
    const { name, code = "" } = error as { name?: string; code?: string };
    const { waitTimeout, abortAfter, maxQueue } = attempt.operation;
    if (name === "LockTimeoutError") return waitTimeout !== undefined;
    if (name === "QueueFullError") return maxQueue !== undefined;
    if (name === "AbortError") return abortAfter !== undefined || String(error).includes("by force");
    if (name === "LockLostError") return true;
    // So short a lease may be over when its answer comes; a session for WATCH breaks without a word.
    if (code === "too-slow") return (attempt.operation.ttl ?? Infinity) < 500;
    if (String(error).includes("WATCH")) return true;
    if (name === "SchemeError") return this.quietSince(attempt.by.name) + LINGER >= attempt.askedAt;
    return code === "closed";
  }
}
