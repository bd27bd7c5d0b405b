import { report } from "../caller.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Wish } from "../durability.ts";
import { SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import type { Origin } from "../events.ts";
import { deadline } from "../leases/deadline.ts";
import type { Terms } from "../options/request.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, STALE_AFTER } from "../schemes/scheme.ts";
import type { Answer, Granted, LockMode, Question, WaitedFor } from "../schemes/scheme.ts";
import { Queue } from "../queue.ts";
import type { Queued } from "../queue.ts";
import type { Request, Standing } from "./request.ts";
import { originOf } from "./room.ts";
import type { Room } from "./room.ts";
import { Trouble } from "./trouble.ts";

/**
 * The states of a place, and what ends each.
 *
 * | state   | meaning                                        | until                                               |
 * | ------- | ---------------------------------------------- | --------------------------------------------------- |
 * | new     | nothing has been asked                         | the line lets it ask                                |
 * | asked   | a question is unanswered                       | its answer comes, or its failure; nothing else      |
 * | queued  | in the scheme's queue, or pausing after an     | a push, the time to ask again, or nobody waits here |
 * |         | error                                          |                                                     |
 * | granted | a turn has begun, and owns the token           |                                                     |
 * | over    | nobody wants it; the scheme is notified        |                                                     |
 */
type State = "new" | "asked" | "queued" | "granted" | "over";

/** A pushed grant must last this many more milliseconds to be held at once, while the scheme extends it. */
const CLAIM_TIME = 250;
/** Our clock may run this much faster than the server's. */
const RATE = 0.99;
/** If answers take longer than the ttl, asking again and again does not help. */
const MOST_LATE_ANSWERS = 3;
const SPARE_FENCES = 16;
/** How soon after a question the scheme is told that the number of requests at a place has changed. */
const COUNT_INTERVAL = 200;

/** The line that a place belongs to. */
export interface PlaceOwner {
  readonly lock: string;
  readonly room: Room;
  /** @param from a time when it was certainly running */
  granted(place: Place, grant: Granted, from: number): void;
  /** A question failed: end the requests that have waited too long for an answer. */
  failed(place: Place, error: unknown): void;
  /** A question has been answered, or the place is over: other places may ask now. */
  moved(place: Place): void;
  /** How many requests of this process wait at the place, or behind it for another. */
  waitingAt(place: Place): number;
}

/**
 * A place in the scheme's queue, or a question for one. It has its own token, not that of any request: up to `turn`
 * requests that want the same wait at it, and one grant serves all of them.
 */
export class Place implements Question, Standing, Queued<Place> {
  readonly terms: Terms;
  /** No other request may join. */
  readonly isSingle: boolean;
  token: string;
  state: State = "new";
  readonly requests: Queue<Request> = new Queue<Request>();
  before: Place | undefined;
  behind: Place | undefined;
  opens = false;
  isSent = false;
  waiting = 1;
  ticket: string | undefined;
  askedAt = 0;
  /** Also undefined while it is granted at the first attempt. */
  answeredAt: number | undefined;
  holder: WaitedFor | undefined;
  /** Its grant was pushed, so it is short. */
  isPushed = false;
  /** The highest fence of this place that was revoked by force. */
  revoked = 0;
  readonly #owner: PlaceOwner;
  #trouble: Trouble | undefined;
  #timer: Timer | undefined;
  /** When it asks again, and the latest time for that which a notice allows while a question is unanswered. */
  #due: number | undefined;
  #latest: number | undefined;
  /** A grant that was pushed, and was certainly running at `since`. */
  #pushed: { readonly fence: number; readonly fences: number; readonly since: number | undefined } | undefined;
  /** There was news while the question was unanswered. */
  #isStirred = false;
  #lateAnswers = 0;

  constructor(owner: PlaceOwner, first: Request, isSingle: boolean) {
    this.#owner = owner;
    this.terms = first.terms;
    this.isSingle = isSingle;
    this.token = owner.room.newToken(first.terms.isCandidacy);
    this.join(first);
  }

  get lock(): string {
    return this.#owner.lock;
  }

  get origin(): Origin {
    return originOf(this.#owner.room, this.terms.label);
  }

  get mode(): LockMode {
    return this.terms.mode;
  }

  get ttl(): number {
    return this.terms.ttl;
  }

  get label(): string {
    return this.terms.label;
  }

  get permits(): number | undefined {
    return this.terms.permits;
  }

  get limit(): number | undefined {
    return this.terms.limit;
  }

  get maxQueue(): number | undefined {
    return this.terms.maxQueue;
  }

  get durability(): Wish | undefined {
    return this.terms.durability;
  }

  get wait(): boolean {
    return mayWait(this.terms);
  }

  /** More requests may join before it is granted, but so few that fences stay behind the server's clock. */
  get fences(): number {
    return this.isSingle ? 1 : Math.min(this.#owner.room.turn, Math.max(this.requests.size, SPARE_FENCES));
  }

  get trouble(): unknown {
    return this.#trouble?.error;
  }

  get isSharable(): boolean {
    return !this.isSingle && this.wait;
  }

  /** It has not been granted, and may be. */
  get isWaiting(): boolean {
    return this.state === "new" || this.state === "asked" || this.state === "queued";
  }

  get #clock(): Clock {
    return this.#owner.room.clock;
  }

  /** Whether the request may join: one grant would do for it too, and the turn would reach it. */
  takes({ terms: { mode, ttl, label, isCandidacy } }: Request, turn: number): boolean {
    const isAlike =
      mode === this.mode && ttl === this.ttl && label === this.label && isCandidacy === this.terms.isCandidacy;
    return isAlike && !this.isSingle && this.isWaiting && this.requests.size < turn;
  }

  join(request: Request): void {
    request.place = this;
    this.requests.add(request);
    if (this.state === "queued") events.queued(request, undefined);
    this.countChanged();
  }

  /** Puts it before all others here. */
  joinFirst(request: Request): void {
    request.place = this;
    this.requests.addFirst(request);
    this.countChanged();
  }

  /** The last request here goes elsewhere. */
  release(): Request {
    const last = this.requests.last as Request;
    this.leave(last);
    return last;
  }

  /** The last one to leave withdraws the place. */
  leave(request: Request): void {
    request.place = undefined;
    this.requests.remove(request);
    if (this.requests.size > 0) this.countChanged();
    else if (this.state === "new" || this.state === "queued") this.#giveUp();
  }

  /** All requests here go elsewhere, and the scheme is notified. */
  disband(): Request[] {
    const requests = [...this.requests];
    for (const request of requests) this.leave(request);
    return requests;
  }

  /** Other processes learn of it with the next question, which is sent earlier for that reason. */
  countChanged(): void {
    if (this.state === "asked" && !this.isSent) this.waiting = this.#owner.waitingAt(this);
    if (this.state !== "queued" || this.isSingle || !this.#owner.room.scheme.queues) return;
    this.#askWithin(Math.max(0, this.askedAt + COUNT_INTERVAL - this.#clock.now()));
  }

  /** @param opens whether no other request of this process holds the lock or waits for it */
  ask(opens = false): void {
    const { scheme, clock } = this.#owner.room;
    this.#timer?.cancel();
    this.#due = undefined;
    this.#isStirred = false;
    this.opens = opens;
    this.isSent = false;
    this.waiting = this.#owner.waitingAt(this);
    this.state = "asked";
    this.askedAt = clock.now();
    this.#owner.room.sent();
    if (this.terms.from) report(scheme.handOver(this.terms.from, this), this);
    else if (this.terms.manner === "steal") report(scheme.steal(this), this);
    else scheme.acquire(this);
  }

  answered(answer: Answer): void {
    this.#trouble = undefined;
    this.state = "queued";
    if (answer.kind !== "granted") this.answeredAt = this.#clock.now();
    if (answer.kind === "busy" || answer.kind === "refused") this.#refused(answer);
    else if (this.requests.size === 0) this.#giveUp();
    else if (answer.kind === "granted") this.#granted(answer);
    else this.#pending(answer.pokeAfter, answer.ahead, answer.holder);
    this.#owner.moved(this);
    this.#owner.room.answered();
  }

  failed(error: unknown): void {
    this.#trouble = new Trouble(error, this.askedAt, this.#trouble);
    events.trouble("acquire", error, this, this, this.requests.first?.context);
    this.#owner.failed(this, error);
    this.state = "queued";
    if (!isPassing(error)) this.#giveUp(error);
    else if (this.requests.size === 0) this.#giveUp();
    else if (this.#isStirred) this.ask();
    else this.#askWithin(this.#trouble.pause);
    this.#owner.moved(this);
    this.#owner.room.answered();
  }

  /** Whether asking again for this request would be useless. */
  isHopeless(request: Request): boolean {
    const wasQueued = this.wait && this.answeredAt !== undefined && this.answeredAt >= request.joinedAt;
    return this.#trouble?.isHopelessFor(request, wasQueued, this.#clock.now()) ?? false;
  }

  /** A grant was pushed. `since`: when it was certainly running; undefined if only another question can tell. */
  pushed(fence: number, fences: number, since: number | undefined): void {
    this.#pushed = { fence, fences, since };
    this.stir();
  }

  /** It has become the first in the queue. The holder's time ends after that many milliseconds. */
  moveUp(remaining: number): void {
    const delay = remaining + EXPIRY_MARGIN;
    if (this.#owner.room.scheme.queues) this.#tell(0, undefined);
    if (this.state === "queued") this.#askWithin(delay);
    else this.#latest = this.#clock.now() + delay;
  }

  revoke(fence: number): void {
    this.revoked = Math.max(this.revoked, fence);
    this.stir();
  }

  /** There is news: begin with the pushed grant, or ask again. */
  stir(): void {
    if (this.state === "asked") this.#isStirred = true;
    else if (this.state === "queued" && !this.#beginPushed()) this.ask();
  }

  #granted(grant: Granted): void {
    const { askedAt, ttl } = this;
    const now = this.#clock.now();
    if (now < deadline(grant.until ?? askedAt + ttl, askedAt)) {
      // If the grant was made before the place asked again, the push says how many fences it carries.
      const isPushed = this.#pushed?.fence === grant.fence;
      this.#begin(isPushed ? { ...grant, fences: this.#pushed?.fences ?? 1 } : grant, askedAt);
    } else if (++this.#lateAnswers >= MOST_LATE_ANSWERS) this.#end(tooSlow(ttl, now - askedAt));
    else this.#startOver();
  }

  #begin(grant: Granted, from: number): void {
    this.#timer?.cancel();
    this.state = "granted";
    this.#owner.granted(this, grant, from);
  }

  /** The answer came when its grant was over. Ended leases are never revived, so the place takes a new token. */
  #startOver(): void {
    const { lock, token, ttl } = this;
    this.answeredAt = this.#clock.now();
    this.#owner.room.farewell({ lock, token }, ttl);
    this.token = this.#owner.room.newToken(this.terms.isCandidacy);
    this.#pushed = undefined;
    this.ask();
  }

  #pending(pokeAfter: number, ahead: number | undefined, holder: WaitedFor | undefined): void {
    this.holder = holder;
    if (events.isQueueHeard) this.#reportQueued(ahead);
    this.#tell(ahead, holder);
    // `onWait` may have ended it.
    if (this.state !== "queued") return;
    if (this.#isStirred) return this.stir();
    const latest = this.#latest === undefined ? Infinity : Math.max(0, this.#latest - this.#clock.now());
    this.#askWithin(Math.min(pokeAfter, latest));
    this.#latest = undefined;
    if (this.waiting !== this.#owner.waitingAt(this)) this.countChanged();
  }

  #refused(answer: Answer & { kind: "busy" | "refused" }): void {
    this.state = "over";
    if (answer.kind === "refused") this.#end(answer.error);
    else for (const request of this.requests) request.busy();
  }

  /** False if no pushed grant lasts long enough to begin with. */
  #beginPushed(): boolean {
    if (this.#pushed?.since === undefined) return false;
    const { fence, fences, since } = this.#pushed;
    const until = since + Math.min(this.ttl, CLAIM_WINDOW) * RATE;
    if (this.#clock.now() + CLAIM_TIME >= until) return false;
    this.isPushed = true;
    this.#begin({ kind: "granted", fence, fences, until }, since);
    return true;
  }

  /** @param error ends the requests that wait here, once the scheme has answered, so that nothing is left behind */
  #giveUp(error?: unknown): void {
    const wasAsked = this.state !== "new";
    this.#timer?.cancel();
    this.state = "over";
    const departing = error === undefined ? undefined : { departed: (): void => this.#end(error) };
    const { lock, token, ttl } = this;
    // The scheme forgets a place in the queue only if nobody has asked for a while.
    if (wasAsked) this.#owner.room.farewell({ lock, token }, Math.max(ttl, STALE_AFTER), departing);
    this.#owner.moved(this);
  }

  #end(error: unknown): void {
    for (const request of this.requests) request.end(error);
  }

  #askWithin(delay: number): void {
    const due = this.#clock.now() + delay;
    if (this.#due !== undefined && due >= this.#due) return;
    this.#due = due;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delay, () => this.ask(), true);
  }

  /** All requests here have one rank among the waiters of other processes: only the first one's position is exact. */
  #reportQueued(ahead: number | undefined): void {
    const { first } = this.requests;
    for (const request of Array.from(this.requests)) {
      const isFirst = request === first;
      events.queued(request, isFirst && ahead !== undefined ? ahead + 1 : undefined);
    }
  }

  #tell(ahead: number | undefined, holder: WaitedFor | undefined): void {
    if (!this.terms.onWait) return;
    this.requests.first?.tell({ position: ahead === undefined ? undefined : ahead + 1, holder });
  }
}

/** Whether a request on these terms may wait in the queue. */
export function mayWait({ manner, from }: Terms): boolean {
  return manner === "wait" && !from;
}

/** Asking again may help. */
export function isPassing(error: unknown): boolean {
  return error instanceof SchemeError && error.transient;
}

function tooSlow(ttl: number, took: number): SchemeError {
  const message = `The server answered after ${Math.round(took)} ms, when a lease of ${ttl} ms was over already. Use a longer ttl.`;
  return new SchemeError("too-slow", message, []);
}
