/**
 * What has gone wrong for whom and when, so that nobody is blamed for what follows from that. An error is excused only
 * if something explains it that happened to this very client, lock or server in the time in which it could matter.
 */
import { LockLostError } from "../../src/errors.ts";
import { drift } from "../../src/leases/deadline.ts";
import { DECIDED_WITHIN } from "../../src/schemes/redlock/verdict.ts";
import type { Attempt, Hold } from "../checks/attempt.ts";
import type { Incident, Incidents } from "../checks/incidents.ts";
import type { Keeping } from "../checks/keeping.ts";
import { atMostOf, Thrown } from "../load/program.ts";
import type { Operation, SchemeUnderTest } from "../plan/plan.ts";
import type { World } from "../world/world.ts";

/** A call fails this long at most after its cause has passed: a reconnection, and the time limit of the call. */
const LINGER = 12_000;
/** A waiter in the queue is patient for 30 s, and the time limit of a call comes on top. */
const PATIENCE = 40_000;
/** A dead waiter stands in the queue for 15 s after its last sign of life, and a poke comes within 5.5 s. */
const FELT_FOR = 21_000;
/** For how long whoever is let in is waited for, unless its ttl is shorter. */
export const CLAIM = 1_000;
/** A grant that was pushed counts from the waiter's latest question, which may be that old. */
const PUSH_AGE = 750;
/** How old the server's word that a lock is still held may be when the lock is handed on within a process. */
const OLDEST_WORD = 10;
/** What timers, a loop's other callbacks and questions that wait for each other may cost, in milliseconds. */
const SLACK = 20;
/** A renewal is due after a third of the ttl. */
const FOR_RENEWAL = 2 / 3;
/** A lease counts whole milliseconds: its renewal may come later by one, and its end be earlier by two. */
const ROUNDED = 3;
/**
 * How many messages a grant may need, there and back: a second question if the server did not know the script, if it
 * waited for the answer before it, or if the first fence of scheme `set` came without a floor. Scheme `redlock` may have
 * to meet a node, to draw a ticket, to bid, and to bring a fence to the others.
 */
const GRANT: Readonly<Record<SchemeUnderTest, number>> = { lua: 4, set: 4, redlock: 10 };
/** And a renewal. Scheme `set` needs two round trips, WATCH and EXEC, and waits for those of the batch that is out. */
const MESSAGES: Readonly<Record<SchemeUnderTest, number>> = { lua: 4, set: 8, redlock: 4 };
/** To a server and back. */
const ROUND_TRIP = 2;
/** So many times scheme `set` looks before it gives up a key that changes all the time. */
const MOST_ATTEMPTS = 30;

/** What it asks of others. */
export interface ExcuseTerms {
  keeping(): Keeping;
  /** Whether a program of the process takes the lock by force just now. */
  isForcing(process: string, lock: string): boolean;
}

export class Excuses {
  readonly #world: World;
  readonly #scheme: SchemeUnderTest;
  readonly #terms: ExcuseTerms;
  readonly #incidents: Incidents;
  #upsetAt = -Infinity;
  /** Connections that are down now, by client, server and purpose. */
  readonly #down = new Map<string, Incident>();

  constructor(world: World, scheme: SchemeUnderTest, incidents: Incidents, terms: ExcuseTerms) {
    this.#world = world;
    this.#scheme = scheme;
    this.#incidents = incidents;
    this.#terms = terms;
  }

  /** A connection of the client to the server is down. */
  disturb(client: string, node: number, purpose: string): void {
    const key = `${client} ${node} ${purpose}`;
    if (!this.#down.has(key)) this.#down.set(key, this.#incidents.add(Infinity, { client, node }));
  }

  /** It is up again, or not needed any more. */
  settle(client: string, node: number, purpose: string): void {
    this.#settle(`${client} ${node} ${purpose}`);
  }

  /** The client is no more. */
  forget(client: string): void {
    for (const key of this.#down.keys()) if (key.startsWith(`${client} `)) this.#settle(key);
  }

  #settle(key: string): void {
    const incident = this.#down.get(key);
    if (incident) incident.until = this.#world.now;
    this.#down.delete(key);
  }

  /** Something goes wrong that fails no call, but may keep waiters waiting. */
  upset(): void {
    this.#upsetAt = this.#world.now;
  }

  /** Whether nothing had gone wrong for anybody by then, for so long that nobody could feel it any more. */
  isCalmAt(time: number): boolean {
    return time >= Math.max(this.#upsetAt, this.#incidents.last) + FELT_FOR;
  }

  /** Since when enough of what it needs works; Infinity while its connection is down. */
  quietSince(client: string): number {
    return this.#incidents.lastTooMany(this.#incidents.delaying(client));
  }

  /**
   * Whether the older one was let in and did not come, or the server forgot its queue; or something kept the questions of
   * the two from coming to the server in order.
   */
  mayHaveMissed(older: Attempt, younger: Attempt): boolean {
    const { by, askedAt, operation } = older;
    const [lock = ""] = operation.locks;
    if (this.#terms.keeping().mayHaveLostItsTurn(by.id, lock, askedAt)) return true;
    const asked = younger.askedAt + GRANT[this.#scheme] * by.latency + SLACK;
    const until = Math.min(by.process.time, asked + by.process.blockedBetween(askedAt, asked));
    return this.#isTroubled(older, askedAt - LINGER, until);
  }

  /** Whether the server's word that it is still held may have been on its way, or 10 ms old, when the hold began. */
  mayNotKnow({ terms: { attempt }, beganAt }: Hold, lostAt: number): boolean {
    // Nothing is pushed there: the next renewal tells.
    if (this.#scheme === "set") return true;
    const alone = GRANT[this.#scheme] * attempt.by.latency + OLDEST_WORD;
    return this.#isDelayed(attempt, alone, beganAt - lostAt, lostAt - LINGER, beganAt);
  }

  /** Whether the program had to reckon with that error. */
  cover(attempt: Attempt, error: unknown): boolean {
    const { waitTimeout, maxQueue, deed } = attempt.operation;
    if (error instanceof Thrown) return deed === "throw";
    const loss = lossIn(error);
    if (loss) return this.#coversLoss(attempt, loss);
    const { name, code = "" } = error as { name?: string; code?: string };
    if (name === "LockTimeoutError") return waitTimeout !== undefined && this.#hasWaited(attempt, waitTimeout);
    if (name === "QueueFullError") return maxQueue !== undefined;
    if (name === "AbortError") return attempt.abortedAt !== undefined;
    if (code === "closed") return attempt.by.isClosed;
    const now = attempt.by.process.time;
    if (code === "too-slow") {
      // Scheme `set` hears that it was robbed only when it asks for its fence, and that may be too late to count.
      const isTaken = attempt.operation.locks.some((lock) => this.#terms.keeping().takenAt(lock) >= attempt.askedAt);
      if (this.#scheme === "set" && isTaken) return true;
      const time = ttlOf(attempt) - drift(ttlOf(attempt));
      return this.#isDelayed(attempt, GRANT[this.#scheme] * attempt.by.latency, time, attempt.askedAt, now);
    }
    // A majority must answer in time.
    if (
      name === "QuorumError" &&
      this.#isDelayed(attempt, ROUND_TRIP * attempt.by.latency, nodeLimit(ttlOf(attempt)), attempt.askedAt, now)
    )
      return true;
    if (name !== "SchemeError" && name !== "QuorumError") return false;
    // Of thieves that come at the same time, none may get a majority, or one be robbed before it has it.
    if (code === "no-quorum" && this.#wasRobbed(attempt)) return true;
    if (this.#neverStandsStill(attempt, error as Error)) return true;
    return this.#isTroubled(attempt, Math.max(attempt.askedAt, now - PATIENCE) - LINGER, now);
  }

  /** A healthy client of a healthy server loses no lease before its time. */
  #coversLoss(attempt: Attempt, { reason }: LockLostError): boolean {
    const { by, operation, holds } = attempt;
    // Where its code has come to: it may have been stopped in its midst more than once since the world's time.
    const now = by.process.time;
    if (reason === "closed") return by.isClosed;
    const isTaken = holds.some((hold) => this.#terms.keeping().lossOf(hold) !== undefined);
    // What was lost before the program heard that it had it, in a request for several, is not among its holds.
    const isTakenBefore =
      holds.length === 0 && operation.locks.some((lock) => this.#terms.keeping().takenAt(lock) >= attempt.askedAt);
    if (isTaken || isTakenBefore) return true;
    // If its clock stood still, its lease is not over for it when it finds the lock with the next holder.
    if (by.process.hasSlept && this.#isTroubled(attempt, attempt.askedAt, now)) return true;
    // Of several who read under one grant, those of the thief's own process hear of it before the server does.
    if (reason === "stolen") return operation.locks.some((lock) => this.#terms.isForcing(by.process.name, lock));
    // What its program has limited ends in time.
    if (this.#isOver(attempt, longestHold(operation))) return true;
    if (this.#wasDeaf(attempt)) return true;
    if (operation.renew === false) return this.#isOver(attempt, ttlOf(attempt));
    const ttl = ttlOf(attempt);
    // Whoever never believed, because its process stood still before its code began, has no deadline.
    const ends = holds.map(({ deadlineTime, beganAt }) => (Number.isFinite(deadlineTime) ? deadlineTime : beganAt));
    const at = Math.min(now, ...ends);
    const one = MESSAGES[this.#scheme] * attempt.by.latency;
    // Of a lease one renewal is out at a time: if it takes longer than a third of the ttl, the next is late by the rest.
    const renewal = one + Math.max(0, one - ttl * (1 - FOR_RENEWAL));
    const spare = ttl * FOR_RENEWAL - drift(ttl) - ROUNDED;
    return this.#isDelayed(attempt, renewal, spare, at - ttl, at) || this.#isTooFar(attempt, ttl);
  }

  /** Whether the nodes are so far that they do not answer in the time that they have. */
  #isTooFar({ by }: Attempt, ttl: number): boolean {
    return this.#scheme === "redlock" && ROUND_TRIP * by.latency + SLACK >= nodeLimit(ttl);
  }

  /** Whether it was blocked right behind a grant for so long that what the nodes answered did not count together. */
  #wasDeaf({ by: { process }, holds }: Attempt): boolean {
    if (this.#scheme !== "redlock") return false;
    // By other code of its process, if its own has not begun.
    const granted = holds.length > 0 ? holds.map(({ beganAt }) => beganAt) : [process.time - CLAIM];
    return granted.some((at) => process.blockedBetween(at, at + CLAIM) >= DECIDED_WITHIN - SLACK);
  }

  #wasRobbed({ operation, askedAt }: Attempt): boolean {
    const keeping = this.#terms.keeping();
    return operation.do === "steal" && operation.locks.some((lock) => keeping.takenAt(lock) >= askedAt);
  }

  /** WATCH finds that the key was touched each time, if its holder renews it more often than WATCH and EXEC travel. */
  #neverStandsStill({ operation, askedAt }: Attempt, { message }: Error): boolean {
    if (operation.do !== "force" || this.#scheme !== "set" || !message.includes("changes all the time")) return false;
    return operation.locks.some((lock) => this.#terms.keeping().renewalsSince(lock, askedAt) >= MOST_ATTEMPTS);
  }

  /** That time has gone by since it was granted, as far as that can be seen from outside. */
  #isOver(attempt: Attempt, time: number): boolean {
    if (time === Infinity) return false;
    const { process, latency } = attempt.by;
    const now = process.time;
    const early =
      PUSH_AGE + drift(time) + GRANT[this.#scheme] * latency + SLACK + process.blockedBetween(now - time, now);
    const held = Math.max(0, ...attempt.holds.map((hold) => now - hold.beganAt));
    return held >= time - early || this.#isTroubled(attempt, attempt.askedAt, now);
  }

  /** Whether something explains that an answer took longer than the time. @param alone how long it takes on a good day */
  #isDelayed(attempt: Attempt, alone: number, time: number, from: number, until: number): boolean {
    const { process } = attempt.by;
    // A process that is stopped between a look at its clock and the timer that it sets then is late by twice that time.
    const blocked = process.blockedBetween(from, until) * (process.hitches > 0 ? 2 : 1);
    return alone + blocked + SLACK >= time || this.#isTroubled(attempt, from, until);
  }

  #hasWaited(attempt: Attempt, time: number): boolean {
    const { process } = attempt.by;
    return process.local(process.time) - process.local(attempt.askedAt) >= time - 1;
  }

  #isTroubled({ by }: Attempt, from: number, until: number): boolean {
    return this.#incidents.areTooMany(this.#incidents.of(by.name), from, until);
  }
}

/** The Web Locks API wants an AbortError for a theft. */
function lossIn(error: unknown): LockLostError | undefined {
  if (error instanceof LockLostError) return error;
  return error instanceof DOMException && error.cause instanceof LockLostError ? error.cause : undefined;
}

/** For how long a lease of the attempt is asked for. */
function ttlOf({ operation }: Attempt): number {
  return Math.min(operation.ttl ?? 30_000, longestHold(operation));
}

/** After what time its lease is over though it is renewed. */
function longestHold(operation: Operation): number {
  return operation.do === "once" ? atMostOf(operation) : (operation.maxHold ?? Infinity);
}

/** How long a node of scheme `redlock` may take to answer what is asked for that long. */
function nodeLimit(ttl: number): number {
  return Math.max(10, Math.min(Math.max(ttl / 20, 100), ttl / 4, 2_000));
}
