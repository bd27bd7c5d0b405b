/**
 * What the server has granted, as its keys show it behind each command: which grants it keeps and until when, whether
 * fences grow from grant to grant, and whether anybody was let in before those who stood in line.
 */
import { LOCKS } from "../plan/plan.ts";
import type { SchemeUnderTest } from "../plan/plan.ts";
import type { Executed, SimulatedServer } from "../server/server.ts";
import { FREE } from "../server/states.ts";
import type { HolderRecord, LockRecord } from "../server/states.ts";
import type { World } from "../world/world.ts";
import type { Cause, Hold } from "./attempt.ts";
import type { History } from "./history.ts";
import type { Keeping } from "./keeping.ts";
import { Leftovers } from "./leftovers.ts";
import type { LeftoverTerms } from "./leftovers.ts";
import { tell } from "./telling.ts";
import type { Names } from "./telling.ts";
import type { Verdict } from "./verdict.ts";

/** Times are the server's wall clock's. */
export interface ServerGrant {
  readonly lock: string;
  readonly token: string;
  /** Undefined as long as only its holder knows it (scheme `set`). */
  fence: number | undefined;
  /** The end of the lease, as the server had it last. */
  expiry: number;
  /** The server keeps it, as far as its time is not over. */
  isKept: boolean;
  /** Why the server lost it though its time was not over, and nobody gave it back. */
  lost: Cause | undefined;
  /** When that was, in the world's time. */
  lostAt: number;
  /** When its process was told that it was stolen. */
  toldAt: number;
  /** The first was the earliest. */
  readonly order: number;
  /** In the world's time. */
  readonly grantedAt: number;
  /** A program has held with it. */
  hasBegun: boolean;
  /** Programs of one process that have held with it, one after the other or, shared, together. */
  readonly turn: Hold[];
}

interface LockBook {
  record: LockRecord;
  /** When nobody held it any more, in the world's time, as far as commands have shown. */
  freeSince: number;
  readonly kept: Map<string, ServerGrant>;
  lastFence: number;
  /** When its leases were lengthened, in the world's time: the latest few. */
  readonly renewals: number[];
  /** The places that tokens have had in the queue. */
  readonly tickets: Map<string, number>;
}

/** How many renewals of a lock are remembered. */
const RENEWALS = 100;
/** PTTL tells whole milliseconds: an end that nobody has changed seems to be later by less than that. */
const ROUNDING = 1;
/** What a command may do to a lock beside giving it to whoever stands first in line. */
const BY_FORCE = new Set(["steal", "handover"]);

/** What it asks of others. */
export interface LedgerTerms extends Names, LeftoverTerms {
  readonly scheme: SchemeUnderTest;
  /** Whether a program of the process takes the lock by force just now. */
  isForcing(process: string, lock: string): boolean;
  /** Whether whoever begins to hold may not have heard of a loss that happened at that time. */
  mayNotKnow(hold: Hold, lostAt: number): boolean;
}

/** Of one server. */
export class Ledger implements Keeping {
  readonly #world: World;
  readonly #server: SimulatedServer;
  readonly #history: History;
  readonly #verdict: Verdict;
  readonly #terms: LedgerTerms;
  readonly #leftovers: Leftovers;
  readonly #books = new Map<string, LockBook>();
  readonly #grants = new Map<string, ServerGrant>();
  /** By lock, in the order in which they were granted. */
  readonly #orders = new Map<string, ServerGrant[]>();
  #count = 0;
  /** When somebody last lost a lock that he had every right to, by lock. */
  readonly #takenAt = new Map<string, number>();
  /** The largest fence so far. */
  #highest = 0;
  /** Up to this one fences may fall: the counter was lost while the clock, which was set back, was behind it. */
  #mayFallTo = 0;
  /** When it last lost what it knew, its queues included. */
  #forgotAt = -Infinity;
  /** Commands that the server has carried out. */
  commands = 0;

  constructor(world: World, server: SimulatedServer, history: History, verdict: Verdict, terms: LedgerTerms) {
    this.#world = world;
    this.#server = server;
    this.#history = history;
    this.#verdict = verdict;
    this.#terms = terms;
    this.#leftovers = new Leftovers(world, verdict, terms);
  }

  executed(executed: Executed): void {
    const { server, session, commands, records } = executed;
    this.commands += commands.length;
    const names = tell(this.#history, this.#terms, executed);
    const isByForce = names.some((name) => BY_FORCE.has(name));
    // The scheme `set` has no script that says so.
    const isSteal = (lock: string): boolean =>
      names.includes("steal") || (names.includes("MULTI") && this.#terms.isForcing(session.client, lock));
    for (const [i, name] of names.entries())
      if (name === "acquire") this.#learnTickets(commands[i] ?? [], records.keys());
    for (const [lock, record] of records) {
      const cause = isSteal(lock) ? "stolen" : undefined;
      this.#update(server, lock, record, { isByForce, isLook: false, cause });
    }
  }

  /** Who takes over the place of one that has left brings its ticket along: behind the token, its mode, ttl and ear. */
  #learnTickets(command: readonly string[], locks: Iterable<string>): void {
    const known = command.flatMap((word, i): [string, number][] => {
      const ticket = Number(command[i + 4] ?? "");
      return ticket > 0 && /^[\w-]{22}:\w+$/.test(word) ? [[word, ticket]] : [];
    });
    for (const lock of locks) for (const [token, ticket] of known) this.#bookOf(lock).tickets.set(token, ticket);
  }

  changed(server: SimulatedServer, cause: Cause | undefined): void {
    for (const [lock, record] of server.look(LOCKS))
      this.#update(server, lock, record, { isByForce: true, isLook: true, cause });
  }

  /** Leases end early, until they are renewed. */
  jumped(server: SimulatedServer, by: number): void {
    const before = server.wall() - by;
    for (const { kept } of this.#books.values()) {
      for (const grant of kept.values()) if (grant.expiry > before) grant.lost ??= "clock jumped";
    }
  }

  heard(text: string): void {
    const [, fence, token = "", key] = /^lost (\d+) 0 0 (\S+) (\S+)$/.exec(text) ?? [];
    if (fence === undefined) return;
    for (const [lock, grants] of this.#orders) {
      if (!key?.endsWith(`:${lock}`)) continue;
      const stolen = grants.find((grant) => grant.token === token && grant.fence === Number(fence));
      if (stolen) stolen.toldAt = Math.min(stolen.toldAt, this.#world.now);
    }
  }

  /** It has lost its counter. Its time replaces that, unless it was set back and has not caught up. */
  forgot(server: SimulatedServer): void {
    this.#forgotAt = this.#world.now;
    this.#leftovers.restored(server.name, server.look(LOCKS));
    if (server.wall() * 1_000 <= this.#highest) this.#mayFallTo = Math.max(this.#mayFallTo, this.#highest);
  }

  #fencesFall(text: string, fence: number): void {
    if (fence <= this.#mayFallTo) this.#verdict.except("clock jumped", text);
    else this.#verdict.fail("growing fences", text);
  }

  begun(hold: Hold): void {
    const { lock, fence } = hold.terms;
    const grant = this.#grantOf(hold);
    if (grant) {
      grant.hasBegun = true;
      this.#learnFence(grant, fence);
      this.#compareInTurn(hold, grant);
    } else
      this.#verdict.fail("growing fences", `${hold.label} holds ${lock} with ${fence}, which the server never gave`);
  }

  /** Those of a turn have fences of their own, which grow as long as one follows the other, up to the next grant's. */
  #compareInTurn(hold: Hold, grant: ServerGrant): void {
    const { lock, fence, mode } = hold.terms;
    const mustGrow = ({ terms: { fence: other } }: Hold): boolean =>
      other === fence || (mode === "exclusive" && other > fence);
    const earlier = grant.turn.find(mustGrow);
    if (earlier)
      this.#fencesFall(`${lock}: ${hold.label} has ${fence} after ${earlier.label}, ${earlier.terms.fence}`, fence);
    const next = this.#orders.get(lock)?.find(({ order, fence: other }) => order > grant.order && other !== undefined);
    if (next?.fence !== undefined && next.fence <= fence)
      this.#fencesFall(
        `${lock}: ${hold.label} has ${fence} before ${this.#terms.alias(next.token)}, ${next.fence}`,
        fence,
      );
    grant.turn.push(hold);
    this.#highest = Math.max(this.#highest, fence);
    // A server whose keys name no fences (scheme `set`) names that of a kept lock later, when it was granted long ago.
    if (this.#terms.scheme === "set") return;
    const book = this.#bookOf(lock);
    book.lastFence = Math.max(book.lastFence, fence);
  }

  overdue(hold: Hold): number {
    const grant = this.#grantOf(hold);
    return grant ? hold.deadlineTime - this.#server.timeOf(grant.expiry) : 0;
  }

  lossOf(hold: Hold): Cause | undefined {
    return this.#grantOf(hold)?.lost;
  }

  causeFor(hold: Hold): Cause | undefined {
    const { lost, lostAt = 0, toldAt = Infinity } = this.#grantOf(hold) ?? {};
    if (hold.beganAt >= toldAt) return undefined;
    // What was taken away is not handed on within a process once that is known there.
    // Who asks for several locks begins with the last. That a key was deleted meanwhile, only a renewal tells.
    if (lost === "deleted" && hold.terms.attempt.operation.locks.length > 1) return lost;
    const isKnown = (lost === "stolen" || lost === "deleted") && !this.#terms.mayNotKnow(hold, lostAt);
    return isKnown ? undefined : lost;
  }

  watch(): void {
    if (this.#terms.scheme !== "set") return;
    const now = this.#server.wall();
    for (const [lock, { record }] of this.#books) {
      // A job's lock is kept on purpose.
      if (lock === "j") continue;
      const holders = record.holders.filter(({ expiry }) => expiry > now);
      this.#leftovers.look(this.#server.name, lock, { ...record, holders });
    }
  }

  mayHaveLostItsTurn(id: string, lock: string, since: number): boolean {
    if (this.#forgotAt >= since) return true;
    const all = this.#orders.get(lock) ?? [];
    return all.some(({ grantedAt, hasBegun, token }) => grantedAt >= since && !hasBegun && token.startsWith(`${id}:`));
  }

  takenAt(lock: string): number {
    return this.#takenAt.get(lock) ?? -Infinity;
  }

  #grantOf({ terms: { lock, token, fence } }: Hold): ServerGrant | undefined {
    const exact = this.#grants.get(`${lock} ${token} ${fence}`) ?? this.#grants.get(`${lock} ${token} undefined`);
    if (exact) return exact;
    // One grant carries several fences in a row, for those of one process that follow one another.
    const client = token.slice(0, token.indexOf(":"));
    return this.#orders
      .get(lock)
      ?.findLast((grant) => grant.fence !== undefined && grant.fence <= fence && grant.token.startsWith(client));
  }

  /** Its holder says which fence it has. */
  #learnFence(grant: ServerGrant, fence: number): void {
    if (grant.fence !== undefined) return;
    grant.fence = fence;
    this.#highest = Math.max(this.#highest, fence);
    for (const other of this.#orders.get(grant.lock) ?? []) {
      if (other === grant || other.fence === undefined) continue;
      const isRight = other.order < grant.order ? other.fence < fence : other.fence > fence;
      if (isRight) continue;
      const order = other.order < grant.order ? "before" : "after";
      const text = `${this.#terms.alias(grant.token)} has ${fence}; ${this.#terms.alias(other.token)}, granted ${order} it, ${other.fence}`;
      this.#fencesFall(`${grant.lock}: ${text}`, Math.min(fence, other.fence));
    }
  }

  freeSince(lock: string): number {
    const { record, freeSince } = this.#bookOf(lock);
    if (record.holders.length === 0) return freeSince;
    const expiry = Math.max(...record.holders.map((holder) => holder.expiry));
    const time = this.#server.timeOf(expiry);
    return time <= this.#world.now ? time : Infinity;
  }

  renewalsSince(lock: string, time: number): number {
    return this.#bookOf(lock).renewals.filter((at) => at >= time).length;
  }

  #update(
    server: SimulatedServer,
    lock: string,
    record: LockRecord,
    how: { readonly isByForce: boolean; readonly isLook: boolean; readonly cause: Cause | undefined },
  ): void {
    const book = this.#bookOf(lock);
    const now = server.wall();
    const before = book.record;
    // Of several that were let in in one step, the server knows them by their ends.
    const inOrder = [...record.holders].sort((a, b) => (a.fence ?? 0) - (b.fence ?? 0));
    const holders = new Map(inOrder.map((holder) => [keyOf(lock, holder), holder]));
    for (const [key, grant] of book.kept) {
      if (holders.has(key)) continue;
      book.kept.delete(key);
      grant.isKept = false;
      // What is lost by a holder's own release is no loss, and an end in time none either.
      if (grant.expiry > now) {
        if (how.cause !== undefined) {
          if (grant.lost === undefined) grant.lostAt = this.#world.now;
          grant.lost ??= how.cause;
          this.#takenAt.set(lock, this.#world.now);
        }
        grant.expiry = Math.min(grant.expiry, now);
      }
    }
    for (const [key, holder] of holders) {
      if (record.kind === "foreign") continue;
      const grant = this.#grants.get(key) ?? this.#granted(lock, holder, before, record, how);
      book.kept.set(key, grant);
      const isRenewed = holder.expiry > grant.expiry + ROUNDING;
      // Set back in time it may end earlier than it was said to.
      if (how.isLook && holder.expiry < grant.expiry) grant.lost ??= how.cause;
      else if (!how.isLook && isRenewed) grant.lost = undefined;
      if (isRenewed && book.renewals.push(this.#world.now) > RENEWALS) book.renewals.shift();
      grant.expiry = holder.expiry;
      grant.isKept = true;
    }
    if (record.holders.length === 0 && before.holders.length > 0) {
      const ended = server.timeOf(Math.max(...before.holders.map(({ expiry }) => expiry)));
      book.freeSince = Math.min(this.#world.now, ended);
    }
    for (const [token, ticket] of record.queue) book.tickets.set(token, ticket);
    book.record = record;
  }

  #granted(
    lock: string,
    holder: HolderRecord,
    before: LockRecord,
    after: LockRecord,
    how: { readonly isByForce: boolean },
  ): ServerGrant {
    const { token, fence, expiry } = holder;
    const grant: ServerGrant = {
      lock,
      token,
      fence,
      expiry,
      isKept: true,
      lost: undefined,
      lostAt: 0,
      toldAt: Infinity,
      order: this.#count++,
      grantedAt: this.#world.now,
      hasBegun: false,
      turn: [],
    };
    this.#grants.set(keyOf(lock, holder), grant);
    const all = this.#orders.get(lock) ?? [];
    this.#orders.set(lock, all);
    all.push(grant);
    const who = this.#terms.alias(token);
    this.#history.add("", () => `  ${lock} is granted to ${who}, fence ${fence}`);
    const book = this.#bookOf(lock);
    if (fence !== undefined) {
      if (fence <= book.lastFence)
        this.#fencesFall(`${lock}: ${who} is granted ${fence} after ${book.lastFence}`, fence);
      this.#highest = Math.max(this.#highest, fence);
      book.lastFence = Math.max(book.lastFence, fence);
    }
    if (how.isByForce) return grant;
    // Whoever was let in and came too late brings the ticket back that it had.
    const ticket = book.tickets.get(token) ?? Infinity;
    const earlier = before.queue.filter(([, other]) => other < ticket).map(([queued]) => queued);
    const still = new Set(after.queue.map(([queued]) => queued));
    const overtaken = earlier.filter((queued) => still.has(queued));
    if (overtaken.length === 0) return grant;
    this.#verdict.fail(
      "order on the server",
      `${lock}: ${who} was let in before ${overtaken.map((each) => this.#terms.alias(each)).join(", ")}`,
    );
    return grant;
  }

  #bookOf(lock: string): LockBook {
    let book = this.#books.get(lock);
    if (!book)
      this.#books.set(
        lock,
        (book = { record: FREE, freeSince: 0, kept: new Map(), lastFence: 0, renewals: [], tickets: new Map() }),
      );
    return book;
  }
}

function keyOf(lock: string, { token, fence }: HolderRecord): string {
  return `${lock} ${token} ${fence}`;
}
