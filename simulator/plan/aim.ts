/** Chooses the servers at which a fault strikes. Fewer than half of them are bad at a time, except in some plans. */
import type { Random } from "../world/random.ts";
import type { Fault } from "./plan.ts";

/** How long it takes, after a fault is over, until everybody has found the server again. */
const RECONNECTION = 10_000;
/** A server that was restarted is left out for that long, and then until the longest lease is over. */
const DECISION = 2_000;

export class Aim {
  readonly #chances: Random;
  readonly #longest: number;
  /** How many may be bad at a time. */
  readonly #most: number;
  /** Until when each is bad. */
  readonly #badUntil: number[];

  /** @param longest the longest lease */
  constructor(chances: Random, servers: number, longest: number) {
    this.#chances = chances;
    this.#longest = longest;
    this.#most = chances.chance(0.15) ? servers : Math.ceil(servers / 2) - 1;
    this.#badUntil = Array.from({ length: servers }, () => 0);
  }

  /** The same fault, at some of the servers. */
  at(time: number, fault: Fault): Fault {
    const lasts = this.#lasts(fault);
    // What strikes a whole client strikes no server; and it may lose its way to all of them.
    if (lasts === undefined || ("client" in fault && this.#chances.chance(0.3))) return fault;
    if ("lock" in fault && this.#chances.chance(0.4)) return fault;
    const nodes = this.#choose(time);
    for (const node of nodes) this.#badUntil[node] = Math.max(this.#badUntil[node] as number, time + lasts);
    return { ...fault, nodes };
  }

  #choose(time: number): number[] {
    const count = 1 + this.#chances.below(this.#most);
    const all = this.#badUntil.map((until, node) => ({ node, isBad: until > time, rank: this.#chances.next() }));
    all.sort((a, b) => a.rank - b.rank);
    const fresh = Math.max(0, this.#most - all.filter(({ isBad }) => isBad).length);
    const good = all.filter(({ isBad }) => !isBad).slice(0, fresh);
    const chosen = [...good, ...all.filter(({ isBad }) => isBad)].slice(0, count);
    return chosen.map(({ node }) => node).sort((a, b) => a - b);
  }

  /** For how long a server may be the worse for it. Undefined: it is none of a server's. */
  #lasts(fault: Fault): number | undefined {
    switch (fault.fault) {
      case "crash":
      case "freeze":
      case "sleep":
        return undefined;
      case "restart":
        return fault.down + DECISION + this.#longest + RECONNECTION;
      case "break":
        return fault.clientNotices + RECONNECTION;
      case "clock jump":
      case "delete":
        return this.#longest;
      case "forget scripts":
        return 0;
      case "foreign holder":
        return fault.hold;
      default:
        return fault.time + RECONNECTION;
    }
  }
}
