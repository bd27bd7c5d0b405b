/** First come, first served, over several servers: who asks for a lock behind a request that a majority knows is behind it. */
import type { Reply } from "../server/wire.ts";
import type { World } from "../world/world.ts";
import type { Hold } from "./attempt.ts";
import type { Incidents } from "./incidents.ts";
import type { Verdict } from "./verdict.ts";

/** What went wrong may be felt for that long: a dead waiter counts as alive for 15 s, and a poke comes within 5.5 s. */
const FELT_FOR = 21_000;
const TOKEN = /^[\w-]{22}:\w+$/;

/** A place in the queues, by its token. */
interface Place {
  /** When the first server heard of it, or of another place of its manager with its ticket, in the world's time. */
  bornAt: number;
  readonly nodes: Set<number>;
  /** When a majority had it in their queues, or had let it in; Infinity if thefts have left no majority. */
  knownAt: number;
}

export class Order {
  readonly #world: World;
  readonly #quorum: number;
  readonly #incidents: Incidents;
  readonly #verdict: Verdict;
  readonly #places = new Map<string, Place>();
  /** By manager and ticket: when its first place was born. A place that is left leaves its ticket to the next. */
  readonly #tickets = new Map<string, number>();

  constructor(world: World, quorum: number, incidents: Incidents, verdict: Verdict) {
    this.#world = world;
    this.#quorum = quorum;
    this.#incidents = incidents;
    this.#verdict = verdict;
  }

  /** A server has answered a script that asks for its vote. */
  asked(command: readonly string[], node: number): void {
    const { now } = this.#world;
    for (const [i, word] of command.entries()) {
      if (!TOKEN.test(word)) continue;
      let place = this.#places.get(word);
      if (!place) this.#places.set(word, (place = { bornAt: now, nodes: new Set(), knownAt: Infinity }));
      // What stands behind the token says how it asks.
      if (command[i + 1] !== "bid" && command[i + 1] !== "back") continue;
      const ticket = `${word.slice(0, word.indexOf(":"))} ${command[i + 6]}`;
      place.bornAt = Math.min(place.bornAt, this.#tickets.get(ticket) ?? Infinity);
      this.#tickets.set(ticket, place.bornAt);
      if (place.nodes.add(node).size === this.#quorum) place.knownAt = Math.min(place.knownAt, now);
    }
  }

  /** A server was told of a theft: whoever it had let in stands in its queue again only once it has asked again. */
  robbed(reply: Reply | undefined, node: number): void {
    if (!Array.isArray(reply)) return;
    for (const word of reply.flat()) {
      const place = this.#places.get(String(word));
      if (place?.nodes.delete(node) && place.nodes.size < this.#quorum) place.knownAt = Infinity;
    }
  }

  /** @param earlier who began to hold the lock before */
  begun(hold: Hold, earlier: readonly Hold[]): void {
    const place = this.#places.get(hold.terms.token);
    if (!place || place.knownAt === Infinity) return;
    const { bornAt, knownAt } = place;
    // Whoever did not come when it was let in has lost its turn.
    if (this.#incidents.between(bornAt - FELT_FOR, this.#world.now).length > 0) return;
    if (hold.process.blockedBetween(bornAt, this.#world.now) > 0) return;
    for (const other of earlier.toReversed()) {
      if (other.beganAt < knownAt) break;
      const { attempt, token, lock, mode } = other.terms;
      if (attempt.by === hold.terms.attempt.by || attempt.operation.do === "steal") continue;
      // Readers are let in together, and which of them begins first is chance.
      if (mode === "shared" && hold.terms.mode === "shared") continue;
      const born = this.#places.get(token)?.bornAt ?? -Infinity;
      if (born <= knownAt) continue;
      const text = `${lock}: ${hold.label} was known to a majority before ${other.label} asked, and served after it`;
      this.#verdict.fail("order on the server", text);
    }
  }
}
