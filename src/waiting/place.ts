import type { Timer } from "../clock.ts";
import type { Durability, Wish } from "../durability.ts";
import { SchemeError } from "../errors.ts";
import { events } from "../events.ts";
import { deadline } from "../leases/lease.ts";
import type { CheckedRequest } from "../options/request.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, report, STALE_AFTER } from "../schemes/scheme.ts";
import type { Answer, LockMode, Question, WaitedFor } from "../schemes/scheme.ts";
import type { Farewells } from "./farewells.ts";
import { Queue } from "./queue.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";

/**
 * What a place is at, and what ends that.
 *
 * | state   | meaning                                        | until                                               |
 * | ------- | ---------------------------------------------- | --------------------------------------------------- |
 * | new     | nothing has been asked                         | the line lets it ask                                |
 * | asked   | a question is out                              | its answer comes, or its failure; nothing else      |
 * | queued  | in the scheme's queue, or pausing after an     | a push, the time to ask again, or nobody waits here |
 * |         | error                                          |                                                     |
 * | granted | a turn has begun, and owns the token           |                                                     |
 * | over    | nobody wants it, and the scheme is told        |                                                     |
 */
type State = "new" | "asked" | "queued" | "granted" | "over";

/** A pushed grant must last this many milliseconds more to be held at once, while the scheme is asked to extend it. */
const CLAIM_TIME = 250;
/** Our clock may run that much faster than the server's. */
const RATE = 0.99;
/** For how long failures are put up with, in milliseconds: before the first answer, and in the queue. */
const PATIENCE = 5_000;
const PATIENCE_IN_QUEUE = 30_000;
const FIRST_PAUSE = 25;
const LONGEST_PAUSE = 1_000;
/** Answers that take longer than the ttl will not get faster by asking again and again. */
const MOST_LATE_ANSWERS = 3;
const SPARE_FENCES = 16;
/** How soon after a question the scheme hears that the number of requests at a place has changed. */
const COUNT_INTERVAL = 200;

/** A grant, as the line hears of it. */
export interface Granted {
  readonly fence: number;
  /** How many fences in a row it carries. */
  readonly fences: number;
  /** When it was surely running, and until when the scheme keeps it at least; by our clock. */
  readonly from: number;
  readonly until: number;
  readonly durability: Durability | undefined;
  /** It was pushed, so it is short. */
  readonly isPushed: boolean;
}

/** The line that a place belongs to. */
export interface PlaceOwner {
  readonly room: Room;
  readonly farewells: Farewells;
  granted(place: Place, grant: Granted): void;
  /** A question failed: end those requests that have no patience left. */
  failed(place: Place, error: unknown): void;
  /** A question has been answered, or the place is over: others may be asked for now. */
  moved(place: Place): void;
  /** The place goes by another token from now on. */
  renamed(place: Place, formerly: string): void;
  /** How many of this process wait at the place, or behind it for another. */
  waitingAt(place: Place): number;
}

/**
 * A place in the scheme's queue, or a question for one. Its token is its own, not that of any request: up to `turn`
 * requests that want the same wait at it, and one grant serves them all.
 */
export class Place implements Question {
  readonly lock: string;
  readonly mode: LockMode;
  readonly ttl: number;
  readonly label: string;
  readonly permits: number | undefined;
  readonly limit: number | undefined;
  readonly maxQueue: number | undefined;
  readonly durability: Wish | undefined;
  readonly wait: boolean;
  /** No other request may join. */
  readonly isSingle: boolean;
  opens = false;
  isSent = false;
  waiting = 1;
  token: string;
  ticket: string | undefined;
  askedAt = 0;
  state: State = "new";
  readonly requests: Queue<Request> = new Queue<Request>();
  /** When the scheme answered last. */
  answeredAt = -Infinity;
  /** Whom it waits for, as far as the scheme said. */
  holder: WaitedFor | undefined;
  /** What the latest question failed with. */
  trouble: unknown;
  /** The highest fence of this place that was taken away by force. */
  revoked = 0;
  readonly #owner: PlaceOwner;
  readonly #terms: CheckedRequest;
  /** When it asks again, and the latest that a notice allows while a question is out. */
  #due = Infinity;
  #latest = Infinity;
  #timer: Timer | undefined;
  /** A grant that was pushed, surely running at `since`. */
  #pushed: { readonly fence: number; readonly fences: number; readonly since: number | undefined } | undefined;
  /** There was news while the question was out. */
  #isStirred = false;
  #failures = 0;
  #troubleSince = 0;
  #lateAnswers = 0;

  constructor(owner: PlaceOwner, first: Request, isSingle: boolean) {
    const { terms } = first;
    this.#owner = owner;
    this.#terms = terms;
    this.lock = terms.lock;
    this.mode = terms.mode;
    this.ttl = terms.ttl;
    this.label = terms.label;
    this.permits = terms.permits;
    this.limit = terms.limit;
    this.maxQueue = terms.maxQueue;
    this.durability = terms.durability;
    this.wait = terms.manner === "wait" && !terms.from;
    this.isSingle = isSingle;
    this.token = owner.room.newToken();
    this.join(first);
  }

  /** More may join before it is granted. So few are spared that no server draws them faster than its clock runs. */
  get fences(): number {
    return this.isSingle ? 1 : Math.min(this.#owner.room.turn, Math.max(this.requests.size, SPARE_FENCES));
  }

  /** Whether the request may join: one grant would do for it too, and the turn would reach it. */
  takes({ terms: { mode, ttl, label } }: Request, turn: number): boolean {
    const isAlike = mode === this.mode && ttl === this.ttl && label === this.label;
    return isAlike && !this.isSingle && this.isWaiting && this.requests.size < turn;
  }

  get isSharable(): boolean {
    return this.wait && !this.isSingle;
  }

  /** It has not been granted, and may be. */
  get isWaiting(): boolean {
    return this.state === "new" || this.state === "asked" || this.state === "queued";
  }

  join(request: Request): void {
    request.place = this;
    this.requests.add(request);
    this.countChanged();
  }

  /** Before all others here. */
  joinFirst(request: Request): void {
    request.place = this;
    this.requests.addFirst(request);
    this.countChanged();
  }

  /** The last here goes elsewhere. */
  release(): Request {
    const last = this.requests.last as Request;
    this.leave(last);
    return last;
  }

  /** The request is over, or goes elsewhere. The last to leave gives the place up. */
  leave(request: Request): void {
    request.place = undefined;
    this.requests.remove(request);
    if (this.requests.size > 0) this.countChanged();
    else if (this.state === "new" || this.state === "queued") this.#giveUp();
  }

  /** Whoever looks from outside learns of it with the next question, which is asked earlier for that. */
  countChanged(): void {
    if (this.state === "asked" && !this.isSent) this.waiting = this.#owner.waitingAt(this);
    if (this.state !== "queued" || this.isSingle || !this.#owner.room.scheme.queues) return;
    this.#askWithin(Math.max(0, this.askedAt + COUNT_INTERVAL - this.#owner.room.clock.now()));
  }

  /** @param opens nobody else of this process holds the lock or waits for it */
  ask(opens = false): void {
    const { room } = this.#owner;
    this.#timer?.cancel();
    this.#due = Infinity;
    this.#isStirred = false;
    this.opens = opens;
    this.isSent = false;
    this.waiting = this.#owner.waitingAt(this);
    this.state = "asked";
    this.askedAt = room.clock.now();
    room.sent();
    if (this.#terms.from) report(room.scheme.handOver(this.#terms.from, this), this);
    else if (this.#terms.manner === "steal") report(room.scheme.steal(this), this);
    else room.scheme.acquire(this);
  }

  answered(answer: Answer): void {
    this.answeredAt = this.#owner.room.clock.now();
    this.trouble = undefined;
    this.#failures = 0;
    this.state = "queued";
    if (answer.kind === "busy" || answer.kind === "refused") this.#refused(answer);
    else if (this.requests.size === 0) this.#giveUp();
    else if (answer.kind === "granted") this.#granted(answer);
    else this.#pending(answer.pokeAfter, answer.ahead, answer.holder);
    this.#owner.moved(this);
    this.#owner.room.answered();
  }

  failed(error: unknown): void {
    const { room } = this.#owner;
    if (this.trouble === undefined) this.#troubleSince = this.askedAt;
    this.trouble = error;
    events.trouble({ lock: this.lock, token: this.token, doing: "acquire", error }, this.requests.first?.context);
    this.#owner.failed(this, error);
    this.state = "queued";
    if (!isPassing(error)) this.#giveUp(() => this.#end(error));
    else if (this.requests.size === 0) this.#giveUp();
    else if (this.#isStirred) this.ask();
    else this.#askWithin(Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++) * (0.5 + Math.random()));
    this.#owner.moved(this);
    room.answered();
  }

  /** Whether asking again for this request would be in vain. */
  isHopeless({ joinedAt }: Request): boolean {
    const since = Math.max(this.#troubleSince, joinedAt);
    const wasQueued = this.wait && this.answeredAt >= joinedAt;
    return this.#owner.room.clock.now() - since >= (wasQueued ? PATIENCE_IN_QUEUE : PATIENCE);
  }

  /** A grant was pushed. `since` is a moment when it was surely running; undefined if only asking tells. */
  pushed(fence: number, fences: number, since: number | undefined): void {
    this.#pushed = { fence, fences, since };
    this.stir();
  }

  /** It has become the first in the queue. The holder's time ends after that many milliseconds. */
  moveUp(remaining: number): void {
    const delay = remaining + EXPIRY_MARGIN;
    if (this.#owner.room.scheme.queues) this.#tell(0, undefined);
    if (this.state === "queued") this.#askWithin(delay);
    else this.#latest = this.#owner.room.clock.now() + delay;
  }

  revoke(fence: number): void {
    this.revoked = Math.max(this.revoked, fence);
    this.stir();
  }

  /** There is news: begin with what was pushed, or ask again. */
  stir(): void {
    if (this.state === "asked") this.#isStirred = true;
    else if (this.state === "queued" && !this.#beginPushed()) this.ask();
  }

  /** All requests here go elsewhere, and the scheme is told. */
  disband(): Request[] {
    const requests = [...this.requests];
    for (const request of requests) this.leave(request);
    return requests;
  }

  #granted({ fence, fences = 1, until = this.askedAt + this.ttl, durability }: Answer & { kind: "granted" }): void {
    const { clock } = this.#owner.room;
    // Of a grant that was made before it was asked again, the push knows how many fences it carries.
    const count = this.#pushed?.fence === fence ? this.#pushed.fences : fences;
    if (clock.now() < deadline(until, this.askedAt)) {
      this.#begin({ fence, fences: count, from: this.askedAt, until, durability, isPushed: false });
    } else if (++this.#lateAnswers >= MOST_LATE_ANSWERS) {
      this.#end(tooSlow(this.ttl, clock.now() - this.askedAt));
    } else this.#startOver();
  }

  #begin(grant: Granted): void {
    this.#timer?.cancel();
    this.state = "granted";
    this.#owner.granted(this, grant);
  }

  /** The answer came when its grant was over. A lease that has ended is never revived: the token is a new one. */
  #startOver(): void {
    const { token } = this;
    this.#owner.farewells.say(this, this.ttl);
    this.token = this.#owner.room.newToken();
    this.#owner.renamed(this, token);
    this.#pushed = undefined;
    this.ask();
  }

  #pending(pokeAfter: number, ahead: number | undefined, holder: WaitedFor | undefined): void {
    const { clock } = this.#owner.room;
    this.holder = holder;
    this.#tell(ahead, holder);
    // What `onWait` did may have ended it.
    if (this.state !== "queued") return;
    if (this.#isStirred) return this.stir();
    this.#askWithin(Math.min(pokeAfter, Math.max(0, this.#latest - clock.now())));
    this.#latest = Infinity;
    if (this.waiting !== this.#owner.waitingAt(this)) this.countChanged();
  }

  #refused(answer: Answer & { kind: "busy" | "refused" }): void {
    this.state = "over";
    if (answer.kind === "refused") this.#end(answer.error);
    else for (const request of this.requests) request.busy();
  }

  /** False if nothing was pushed that lasts long enough to begin with. */
  #beginPushed(): boolean {
    if (this.#pushed?.since === undefined) return false;
    const { fence, fences, since } = this.#pushed;
    const until = since + Math.min(this.ttl, CLAIM_WINDOW) * RATE;
    if (this.#owner.room.clock.now() + CLAIM_TIME >= until) return false;
    this.#begin({ fence, fences, from: since, until, durability: undefined, isPushed: true });
    return true;
  }

  /** @param told called when the scheme has heard of it: nothing is left behind then */
  #giveUp(told?: () => void): void {
    const wasAsked = this.state !== "new";
    this.#timer?.cancel();
    this.state = "over";
    // A place in the queue is forgotten only when nobody has asked for a while.
    if (wasAsked) this.#owner.farewells.say(this, Math.max(this.ttl, STALE_AFTER), told);
    this.#owner.moved(this);
  }

  #end(error: unknown): void {
    for (const request of this.requests) request.end(error);
  }

  #askWithin(delay: number): void {
    const { clock } = this.#owner.room;
    const due = clock.now() + delay;
    if (due >= this.#due) return;
    this.#due = due;
    this.#timer?.cancel();
    this.#timer = clock.after(delay, () => this.ask(), true);
  }

  #tell(ahead: number | undefined, holder: WaitedFor | undefined): void {
    if (!this.#terms.onWait) return;
    this.requests.first?.tell({ position: ahead === undefined ? undefined : ahead + 1, holder });
  }
}

/** Asking again may help. */
export function isPassing(error: unknown): boolean {
  return error instanceof SchemeError && error.transient;
}

function tooSlow(ttl: number, took: number): SchemeError {
  const message = `The server answered after ${Math.round(took)} ms, when a lease of ${ttl} ms was over already. Use a longer ttl.`;
  return new SchemeError("too-slow", message, []);
}
