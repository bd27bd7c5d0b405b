/** What has gone wrong, for whom, where and when. With several servers, nothing is excused by what a minority of them does. */
import type { World } from "../world/world.ts";

/**
 * | kind    | meaning                                                                               |
 * | ------- | ------------------------------------------------------------------------------------- |
 * | away    | it cannot be reached, or answers late, or is left out; its leases are as they were      |
 * | forgot  | it runs, and has lost what it knew; until it has a new mark (scheme `redlock`)          |
 * | jumped  | its clock jumped forward, and its leases ended early                                    |
 * | deleted | the key of a lock was deleted by hand                                                   |
 */
export type IncidentKind = "away" | "forgot" | "jumped" | "deleted";

/** Times are the world's. */
export interface Incident {
  readonly kind: IncidentKind;
  /** Undefined: all clients. */
  readonly client: string | undefined;
  /** Undefined: all servers, from this client's point of view. */
  readonly node: number | undefined;
  /** Undefined: all locks. */
  readonly lock: string | undefined;
  readonly from: number;
  until: number;
}

export class Incidents {
  /** How many servers may fail at once. */
  readonly tolerated: number;
  readonly #world: World;
  readonly #all: Incident[] = [];

  constructor(world: World, tolerated: number) {
    this.#world = world;
    this.tolerated = tolerated;
  }

  /** From now on, until the time. */
  add(until: number, where: Partial<Pick<Incident, "kind" | "client" | "node" | "lock">>): Incident {
    const { kind = "away", client, node, lock } = where;
    const incident: Incident = { kind, client, node, lock, from: this.#world.now, until };
    this.#all.push(incident);
    return incident;
  }

  /** Those that this client feels. */
  of(client: string): Incident[] {
    const name = client.replace(/'+$/, "");
    return this.#all.filter((incident) => incident.client === undefined || incident.client === name);
  }

  /**
   * Those that may keep this client waiting. With several servers, also what happens on the way of others to them: a
   * holder that cannot reach a server leaves its vote there.
   */
  delaying(client: string): Incident[] {
    if (this.tolerated === 0) return this.of(client);
    const own = new Set(this.of(client));
    return this.#all.filter((incident) => own.has(incident) || incident.node !== undefined);
  }

  /** Those of an interval, whoever feels them. */
  between(from: number, until: number): Incident[] {
    return this.#all.filter((incident) => incident.from <= until && incident.until >= from);
  }

  /** Whether at some moment between those times more went wrong than may. */
  areTooMany(incidents: readonly Incident[], from: number, until: number): boolean {
    const within = incidents.filter((each) => each.from <= until && each.until >= from);
    // If there is such a moment, one of them begins then, or had begun before.
    return within.some(({ from: start }) => this.#isTooMuchAt(within, Math.max(start, from)));
  }

  /** When that was the case last; it may be going to be. 0 if it never was. */
  lastTooMany(incidents: readonly Incident[]): number {
    const byEnd = [...incidents].sort((a, b) => b.until - a.until);
    return byEnd.find(({ until }) => this.#isTooMuchAt(byEnd, until))?.until ?? 0;
  }

  /** When the last of all ends. */
  get last(): number {
    return this.#all.reduce((last, { until }) => Math.max(last, until), -Infinity);
  }

  #isTooMuchAt(incidents: readonly Incident[], time: number): boolean {
    const nodes = new Set<number>();
    for (const { node, from, until } of incidents) {
      if (from > time || until < time) continue;
      if (node === undefined || nodes.add(node).size > this.tolerated) return true;
    }
    return false;
  }
}
