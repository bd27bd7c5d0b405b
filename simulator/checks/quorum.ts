/**
 * What several servers keep together, for scheme `redlock`: nobody's word but a majority's counts. Votes are looked at
 * only when a program believes for longer than before, or waits; the rest is learnt from what servers were told.
 */
import { LOCKS } from "../plan/plan.ts";
import type { Executed, SimulatedServer } from "../server/server.ts";
import type { HolderRecord, LockRecord } from "../server/states.ts";
import type { World } from "../world/world.ts";
import type { Cause, Hold } from "./attempt.ts";
import type { History } from "./history.ts";
import type { Incident, Incidents } from "./incidents.ts";
import type { Keeping } from "./keeping.ts";
import { Leftovers } from "./leftovers.ts";
import { Order } from "./order.ts";
import { tell } from "./telling.ts";
import type { Names } from "./telling.ts";
import type { Verdict } from "./verdict.ts";

/** A lease is renewed at a third of its ttl, at all nodes that are free, so it is where it was again after that time. */
const RENEWED_WITHIN = 20_000;
/** A node without a mark is left out for that long at most: 2 s, the longest lease, and until somebody looks. */
const LEFT_OUT = 75_000;
/** And that long after it was marked until all count it again. */
const MET_WITHIN = 7_000;
/** Who takes a lock by force asks all nodes within that time. */
const BY_FORCE_WITHIN = 5_000;
/** How often all nodes are looked at for what is left of those who have given up. */
const LOOK_AROUND = 4_000;
/** Whether a lock is free is known for that long after somebody looked. */
const LOOK_LASTS = 1_500;
/** So soon all nodes have been told of a grant that a majority has made. */
const TOLD_WITHIN = 100;
/** A turn has no more fences than that. */
const LONGEST_TURN = 100;

/** What it asks of others. */
export interface QuorumTerms extends Names {
  /** Whether whoever begins to hold may not have heard of a loss that happened at that time. */
  mayNotKnow(hold: Hold, lostAt: number): boolean;
  /** Whether a manager of that id is alive, and has a request for the lock that has not ended. */
  isBusyWith(id: string, lock: string): boolean;
  /** Whether the manager of that id, or its process, has come to its end. */
  isGone(id: string): boolean;
  /** Whether something went wrong for that manager since then. */
  isTroubled(id: string, since: number): boolean;
}

/** A lock was taken by force at a node. */
interface Theft {
  readonly node: number;
  readonly at: number;
  /** The thief's token; "" if it does not want the lock for itself. */
  readonly by: string;
  /** The only token that it was taken from; "": all. */
  readonly from: string;
}

/** Why a node is left out. */
interface Lapse {
  readonly memory: Incident;
  readonly absence: Incident;
}

export class Quorum implements Keeping {
  commands = 0;
  readonly #world: World;
  readonly #servers: readonly SimulatedServer[];
  readonly #history: History;
  readonly #verdict: Verdict;
  readonly #incidents: Incidents;
  readonly #terms: QuorumTerms;
  readonly #order: Order;
  readonly #leftovers: Leftovers;
  #lookedAt = 0;
  readonly #thefts = new Map<string, Theft[]>();
  /** By token: the last fence that was stolen, which nodes told its manager, and when those were so many that no majority was left. */
  readonly #told = new Map<string, { readonly last: number; readonly nodes: Set<number>; at: number }>();
  readonly #lapses = new Map<SimulatedServer, Lapse>();
  /** By lock: who has held it, first to last. */
  readonly #holds = new Map<string, Hold[]>();
  /** By lock: since when it has been found free whenever somebody looked, and when that was last. */
  readonly #free = new Map<string, { since: number; at: number }>();

  constructor(
    world: World,
    servers: readonly SimulatedServer[],
    history: History,
    verdict: Verdict,
    incidents: Incidents,
    terms: QuorumTerms,
  ) {
    this.#world = world;
    this.#servers = servers;
    this.#history = history;
    this.#verdict = verdict;
    this.#incidents = incidents;
    this.#terms = terms;
    const isTroubled = (id: string, since: number): boolean =>
      incidents.between(since, world.now).some(({ node }) => node !== undefined) || terms.isTroubled(id, since);
    this.#leftovers = new Leftovers(world, verdict, { ...terms, isTroubled });
    this.#order = new Order(world, this.#quorum, incidents, verdict);
  }

  get #quorum(): number {
    return Math.floor(this.#servers.length / 2) + 1;
  }

  executed(executed: Executed): void {
    const { server, commands, replies } = executed;
    this.commands += commands.length;
    const names = tell(this.#history, this.#terms, executed);
    const node = this.#servers.indexOf(server);
    for (const [i, command] of commands.entries()) {
      const reply = replies[i];
      if (reply instanceof Error) continue;
      const name = names[i];
      if (name === "mark" && Array.isArray(reply) && reply[0] === 1) this.#marked(server);
      else if (name === "seize") {
        this.#seized(command, node);
        this.#order.robbed(reply, node);
      } else if (name === "take" || name === "ask") this.#order.asked(command, node);
    }
  }

  heard(text: string, node: number): void {
    const [, fence, token = ""] = /^lost (\d+) \d+ (\S+) \S+$/.exec(text) ?? [];
    if (token === "") return;
    const last = Number(fence);
    const before = this.#told.get(token);
    // A theft that has failed is tried again under the same token.
    const told = before?.last === last ? before : { last, nodes: new Set<number>(), at: Infinity };
    this.#told.set(token, told);
    // One node's word is no loss to those who have just won the votes of all.
    if (told.nodes.add(node).size > this.#incidents.tolerated) told.at = Math.min(told.at, this.#world.now);
  }

  begun(hold: Hold): void {
    const { lock, fence } = hold.terms;
    const holds = this.#holdsOf(lock);
    for (const other of holds) {
      if (other.terms.fence < fence || !mustGrow(other, hold, holds)) continue;
      const text = `${lock}: ${hold.label} has ${fence}; ${other.label}, granted before it, ${other.terms.fence}`;
      // Who has not heard of a loss may begin behind the next holder: stolen on its way, or handed on within a process.
      const cause = this.causeFor(hold);
      if (cause !== undefined) this.#verdict.except(cause, text);
      else if (this.#haveForgotten(other.beganAt, this.#world.now)) this.#verdict.except("memory lost", text);
      else this.#verdict.fail("growing fences", text);
    }
    this.#order.begun(hold, holds);
    holds.push(hold);
  }

  overdue(hold: Hold): number {
    const holds = this.#holdsOf(hold.terms.lock);
    const ends = this.#servers.map((server) =>
      server.timeOf(voteFor(hold, this.#look(server, hold.terms.lock), holds)),
    );
    // Until then a majority keeps it.
    const end = ends.sort((a, b) => b - a)[this.#quorum - 1] ?? -Infinity;
    return end === -Infinity ? Math.max(0, hold.deadlineTime - this.#world.now) : hold.deadlineTime - end;
  }

  causeFor(hold: Hold): Cause | undefined {
    const stolenAt = this.#stolenAt(hold);
    if (stolenAt !== undefined && !this.#knows(hold, stolenAt)) return "stolen";
    return this.#failure(hold);
  }

  lossOf(hold: Hold): Cause | undefined {
    return this.#stolenAt(hold) === undefined ? this.#failure(hold) : "stolen";
  }

  /** Order in a process is looked at with one server only. */
  mayHaveLostItsTurn(): boolean {
    return true;
  }

  takenAt(lock: string): number {
    const { now } = this.#world;
    const felt = this.#incidents
      .between(-Infinity, now)
      .filter((each) => each.node !== undefined && (each.lock === undefined || each.lock === lock));
    const losses = felt.filter(
      ({ kind, from, until }) => kind !== "away" && this.#incidents.areTooMany(felt, from, Math.min(until, now)),
    );
    const stolenAt = this.#thefts.get(lock)?.at(-1)?.at ?? -Infinity;
    return losses.reduce((last, { from }) => Math.max(last, from), stolenAt);
  }

  freeSince(lock: string): number {
    const { now } = this.#world;
    const holds = this.#holdsOf(lock);
    if (holds.some((hold) => hold.believes(now))) return Infinity;
    let free = this.#free.get(lock);
    if (!free) this.#free.set(lock, (free = { since: Infinity, at: now }));
    if (free.at < now - LOOK_LASTS) free.since = Infinity;
    if (free.at < now || free.since === Infinity) {
      if (!this.#isFree(lock)) free.since = Infinity;
      else if (free.since === Infinity) free.since = now;
      free.at = now;
    }
    const last = holds.at(-1);
    return last === undefined ? free.since : Math.max(free.since, Math.min(last.endedAt, last.deadlineTime));
  }

  renewalsSince(): number {
    return 0;
  }

  watch(): void {
    const { now } = this.#world;
    if (now < this.#lookedAt + LOOK_AROUND) return;
    this.#lookedAt = now;
    for (const server of this.#servers) {
      if (server.isDown) continue;
      for (const [lock, record] of server.look(LOCKS)) this.#leftovers.look(server.name, lock, record);
    }
  }

  jumped(server: SimulatedServer): void {
    this.#incidents.add(this.#world.now + RENEWED_WITHIN, { kind: "jumped", node: this.#servers.indexOf(server) });
  }

  forgot(server: SimulatedServer): void {
    this.#leftovers.restored(server.name, server.look(LOCKS));
    this.#leave(server, "forgot");
  }

  changed(server: SimulatedServer, cause: Cause | undefined, lock?: string): void {
    const node = this.#servers.indexOf(server);
    if (cause === "deleted") this.#incidents.add(this.#world.now + RENEWED_WITHIN, { kind: "deleted", node, lock });
    // Whoever finds another process leaves it out, even if that has forgotten nothing.
    if (cause === "memory lost" && !this.#lapses.has(server)) this.#leave(server, "away");
  }

  /** Nobody counts the node until somebody has marked it again. */
  #leave(server: SimulatedServer, kind: "forgot" | "away"): void {
    const node = this.#servers.indexOf(server);
    const until = this.#world.now + LEFT_OUT;
    const memory = this.#incidents.add(until, { kind, node });
    this.#lapses.set(server, { memory, absence: this.#incidents.add(until, { node }) });
  }

  #marked(server: SimulatedServer): void {
    const lapse = this.#lapses.get(server);
    if (!lapse) return;
    const { now } = this.#world;
    lapse.memory.until = Math.min(lapse.memory.until, now);
    lapse.absence.until = Math.min(lapse.absence.until, now + MET_WITHIN);
    this.#lapses.delete(server);
  }

  #seized(command: readonly string[], node: number): void {
    const keys = Number(command[2]);
    for (let item = 0; 1 + 5 * item < keys; item++) {
      const lock = this.#lockOf(command[4 + 5 * item] as string) ?? "";
      const [by = "", , , , from = ""] = command.slice(5 + keys + 6 * item);
      const thefts = this.#thefts.get(lock) ?? [];
      this.#thefts.set(lock, thefts);
      thefts.push({ node, at: this.#world.now, by, from });
    }
  }

  /** When nodes had been robbed of it, and those which were left were no majority; undefined if that was not so. */
  #stolenAt({ beganAt, terms: { lock, token, attempt } }: Hold): number | undefined {
    const { ttl = 30_000 } = attempt.operation;
    const thefts = (this.#thefts.get(lock) ?? []).filter(
      // A turn hands on the grant of its first holder under tokens of its own.
      ({ at, by, from }) => at >= beganAt - ttl && by !== token && (from === "" || idOf(from) === idOf(token)),
    );
    // What was stolen before it began may have been somebody else's: the latest theft counts.
    for (const first of thefts.toReversed()) {
      const nodes = new Set<number>();
      for (const { node, at, by } of thefts) {
        if (by !== first.by || at < first.at || at > first.at + BY_FORCE_WITHIN) continue;
        if (nodes.add(node).size > this.#incidents.tolerated) return at;
      }
      // The thief is on its way to the others.
      if (this.#world.now <= first.at + BY_FORCE_WITHIN) return first.at;
    }
    return undefined;
  }

  /** Whether whoever holds must have known of the theft when it began. */
  #knows(hold: Hold, stolenAt: number): boolean {
    const told = this.#told.get(hold.terms.token);
    if (told && told.last >= hold.terms.fence && hold.beganAt >= told.at) return true;
    return hold.beganAt > stolenAt && !this.#terms.mayNotKnow(hold, stolenAt);
  }

  /** Whether more nodes than may have failed at once, of which one lost the lease. */
  #failure({ beganAt, terms: { lock, attempt } }: Hold): Cause | undefined {
    const { now } = this.#world;
    const { ttl = 30_000 } = attempt.operation;
    const lately = this.#incidents.between(now - ttl - RENEWED_WITHIN, now);
    for (const { kind, node, from, until, lock: only } of lately) {
      if (kind === "away" || until < now - ttl || (only !== undefined && only !== lock)) continue;
      // A node that was away lacks the leases that began meanwhile, until they are renewed.
      const late = kind === "forgot" ? 0 : RENEWED_WITHIN;
      // Right behind a grant the nodes that were not asked first are still to be told.
      if (from >= beganAt - TOLD_WITHIN && now <= beganAt + TOLD_WITHIN) return CAUSES[kind];
      const nodes = new Set([node]);
      for (const other of lately) {
        if (other.node === undefined || (other.lock !== undefined && other.lock !== lock)) continue;
        if (other.from <= until && other.until + late >= from) nodes.add(other.node);
      }
      if (nodes.size > this.#incidents.tolerated) return CAUSES[kind];
    }
    return undefined;
  }

  /** Whether more nodes than may had lost their memory, or were away meanwhile, at some moment between those times. */
  #haveForgotten(from: number, until: number): boolean {
    const incidents = this.#incidents.between(from, until);
    return incidents.some(
      (each) => each.kind === "forgot" && this.#incidents.areTooMany(incidents, each.from, Math.min(each.until, until)),
    );
  }

  /** Whether a majority works, and votes for nobody who cannot be made to give way. */
  #isFree(lock: string): boolean {
    const holders = new Map<string, number>();
    let free = 0;
    const { now } = this.#world;
    const bad = new Set(this.#incidents.between(now, now).map(({ node }) => node));
    for (const [node, server] of this.#servers.entries()) {
      if (bad.has(node)) continue;
      const record = this.#look(server, lock);
      for (const { token } of record.holders) holders.set(token, (holders.get(token) ?? 0) + 1);
      if (record.holders.every(({ token }) => record.kind !== "foreign" && !this.#terms.isGone(idOf(token)))) free++;
    }
    if (free < this.#quorum) return false;
    const isHeld = ([token, nodes]: [string, number]): boolean =>
      nodes >= this.#quorum && this.#terms.isBusyWith(idOf(token), lock);
    return ![...holders].some(isHeld);
  }

  #look(server: SimulatedServer, lock: string): LockRecord {
    return server.look([lock]).get(lock) as LockRecord;
  }

  #holdsOf(lock: string): Hold[] {
    let holds = this.#holds.get(lock);
    if (!holds) this.#holds.set(lock, (holds = []));
    return holds;
  }

  #lockOf(key: string): string | undefined {
    return this.#servers[0]?.locks.lockOf(key);
  }
}

const CAUSES = { forgot: "memory lost", jumped: "clock jumped", deleted: "deleted" } as const;

function idOf(token: string): string {
  return token.slice(0, token.indexOf(":"));
}

/**
 * Readers that asked before another reader began may have been granted the lock before it, but with another fence. Those
 * of a turn have one grant, so what counts is when the first of them asked.
 */
function mustGrow(earlier: Hold, later: Hold, holds: readonly Hold[]): boolean {
  const areReaders = earlier.terms.mode === "shared" && later.terms.mode === "shared";
  if (!areReaders || later.terms.fence === earlier.terms.fence) return true;
  const turn = holds.filter((hold) => hold.beganAt === later.beganAt && isOfTurn(hold, later.terms));
  return [later, ...turn].every(({ terms }) => terms.attempt.askedAt >= earlier.beganAt);
}

/** Whether it is of the turn of that holder, and before it in this turn. */
function isOfTurn({ terms }: Hold, { token, fence }: Hold["terms"]): boolean {
  return idOf(terms.token) === idOf(token) && terms.fence < fence && fence - terms.fence < LONGEST_TURN;
}

/** Until when, by the server's clock, it votes for the grant of which this is a turn; -Infinity if it does not. */
function voteFor({ terms }: Hold, { holders }: LockRecord, holds: readonly Hold[]): number {
  const { token, fence } = terms;
  const exact = holders.find((holder) => holder.token === token);
  if (exact) return exact.expiry;
  const isEarlier = (holder: HolderRecord): boolean =>
    idOf(holder.token) === idOf(token) && (holder.fence ?? Infinity) <= fence;
  const [latest] = holders.filter(isEarlier).sort((a, b) => (b.fence ?? 0) - (a.fence ?? 0));
  if (latest) return latest.expiry;
  // Nodes may have been told larger fences than the turn has, before a majority voted with smaller ones.
  const first = holders.find((holder) =>
    holds.some((hold) => hold.terms.token === holder.token && isOfTurn(hold, terms)),
  );
  return first?.expiry ?? -Infinity;
}
