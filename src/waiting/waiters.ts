import { Queue } from "../queue.ts";
import type { Timer } from "../clock.ts";
import { events } from "../events.ts";
import type { Granted } from "../schemes/scheme.ts";
import { isPassing, mayWait, Place } from "./place.ts";
import type { PlaceOwner } from "./place.ts";
import { standsAlone } from "./request.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";
import type { Turn } from "./turn.ts";

/**
 * How long a new turn may hold back the next question of this process, in milliseconds. If the turn ends by then, the
 * question leaves with the release, and is granted at once if nobody else waits.
 */
const HELD_BACK = 5;

const NO_RANKS: readonly undefined[] = [];

/** The line that they wait in. */
interface WaitersOwner {
  readonly lock: string;
  readonly room: Room;
  /** No turn of this process has the lock. */
  readonly isFree: boolean;
  /** Until when the present turn holds back the next question, by our clock; 0 if it does not. */
  heldBackUntil: number;
  /** A turn that has not begun. */
  granted(place: Place, grant: Granted, from: number): Turn;
  /** They wait again, before all that came after them. */
  putBack(requests: readonly Request[]): void;
  /** Nobody waits any more. */
  deserted(waiters: Waiters): void;
}

/**
 * The requests of this process that wait for one lock, and their places in the scheme's queue. There is such an object
 * only while somebody waits or asks, so a held lock costs no memory for what waiting needs.
 *
 * Requests that want the same share a place, up to `turn` of them, and only one such place waits at a time. So
 * processes take turns, however many requests each has. A request that must be in the queue by itself gets its own
 * place at once, and so do all requests before it.
 */
export class Waiters implements PlaceOwner {
  readonly lock: string;
  readonly room: Room;
  readonly #line: WaitersOwner;
  /** Requests without a place, in order; and how many of them need their own. */
  readonly #unplaced = new Queue<Request>();
  #singles = 0;
  /** Places that have not been granted, in order. */
  readonly #places = new Queue<Place>();
  /** The first place that has not been requested yet. No place is behind it. */
  #fresh: Place | undefined;
  /** The last place in the queue, and how many there are that may be shared. */
  #last: Place | undefined;
  #sharable = 0;
  /**
   * The unanswered question that was sent while nobody else was here: until its answer, nobody knows whether there is a
   * queue.
   */
  #opening: Place | undefined;
  #asked: Place | undefined;
  /** Requests are being moved: the consequences are handled once all are where they belong. */
  #isPaused = false;
  /** Ends the time in which a turn holds back the next question. */
  #holdBack: Timer | undefined;
  /** What must come after the opening question. */
  #behind: (() => void)[] | undefined;

  constructor(line: WaitersOwner) {
    this.#line = line;
    this.lock = line.lock;
    this.room = line.room;
  }

  /** A question has been asked but not sent. */
  get isAsking(): boolean {
    return this.#asked?.state === "asked" && !this.#asked.isSent;
  }

  /** The last place in the queue, which the next request may join. */
  get last(): Place | undefined {
    return this.#last;
  }

  /** In order, as far as they have one. */
  get requests(): Request[] {
    return [...[...this.#places].flatMap(({ requests }) => [...requests]), ...this.#unplaced];
  }

  add(request: Request): void {
    if (mayWait(request.terms)) this.#queue(request);
    else {
      // Requests made after a steal join no place that it robs.
      if (request.terms.manner === "steal") this.#last = undefined;
      this.#open(request, true, undefined);
    }
    this.#proceed();
    if (!request.place && !request.isOver) events.queued(request, undefined);
  }

  left(request: Request): void {
    if (request.place) request.place.leave(request);
    else if (this.#unplaced.has(request)) this.#unqueue(request);
    this.#last?.countChanged();
    this.#proceed();
  }

  granted(place: Place, grant: Granted, from: number): void {
    this.#forget(place);
    const { fences = 1 } = grant;
    let surplus: Request[] | undefined;
    while (place.requests.size > fences) (surplus ??= []).unshift(place.release());
    const turn = this.#line.granted(place, grant, from);
    // Everything that waits for its turn here must find the earlier questions sent. In whole milliseconds, because such
    // numbers need no memory of their own.
    if (!this.#behind) this.#line.heldBackUntil = Math.ceil(this.room.clock.now() + HELD_BACK);
    if (surplus) this.#line.putBack(surplus);
    turn.begin();
    this.#proceed();
  }

  failed(place: Place, error: unknown): void {
    const isLasting = !isPassing(error);
    // For a lasting failure, the requests at the place itself are notified when nothing is left of the place.
    const behind = place.isSingle ? [] : [...this.#unplaced];
    const concerned = isLasting ? behind : [...place.requests, ...behind];
    for (const request of concerned) if (isLasting || place.isHopeless(request)) request.end(error);
  }

  moved(place: Place): void {
    if (this.#opening === place && place.state !== "asked") this.#opening = undefined;
    if (!place.isWaiting) this.#forget(place);
    // The next request wants something else, and takes over the rank of those that have left.
    this.#proceed(place.state === "over" ? [place.ticket] : NO_RANKS);
  }

  /** They waited in one place, came before all requests that wait in shared places, and go before them. */
  putBack(requests: readonly Request[]): void {
    const places = this.#sharable > 0 ? [...this.#places].filter((each) => each.isSharable && each.requests.first) : [];
    const [first] = places;
    this.#isPaused = true;
    if (first && places.length === 1 && first.takes(requests[0] as Request, Infinity)) {
      for (const request of requests.toReversed()) first.joinFirst(request);
      while (first.requests.size > this.room.turn) this.#requeue(first.release());
      this.#isPaused = false;
      this.#proceed();
    } else this.#deal([...requests], places);
  }

  /** All of these queue again, in order: in as many places as before, at their ranks. */
  #deal(requests: Request[], places: readonly Place[]): void {
    for (const place of places) requests.push(...place.disband());
    for (const request of requests.toReversed()) this.#requeue(request);
    // The place of a request that stands alone is behind them.
    const last = this.#last?.isSharable ? undefined : this.#last;
    this.#last = undefined;
    this.#isPaused = false;
    this.#proceed(
      places.map(({ ticket }) => ticket),
      places.length,
    );
    if (last?.isWaiting) this.#last = last;
  }

  waitingAt(place: Place): number {
    return place.requests.size + (place === this.#last && place.isSharable ? this.#unplaced.size : 0);
  }

  /** Calls `run` once all earlier questions are in the scheme's queue or answered. */
  inOrder(run: () => void): void {
    if (this.#holdBack) this.goOn();
    if (this.#opening) (this.#behind ??= []).push(run);
    else run();
  }

  placeOf(token: string): Place | undefined {
    let place = this.#places.first;
    while (place && place.token !== token) place = place.behind;
    return place;
  }

  /** Those that wait at the place of that token, and behind it for another. Undefined if there is no such place. */
  requestsAt(token: string): Request[] | undefined {
    const place = this.placeOf(token);
    if (!place) return undefined;
    return [...place.requests, ...(place === this.#last && place.isSharable ? this.#unplaced : [])];
  }

  /** Something may have been missed: they ask again. */
  stir(): void {
    for (const place of Array.from(this.#places)) if (place.wait) place.stir();
  }

  /** No question is held back any more. */
  goOn(): void {
    this.#line.heldBackUntil = 0;
    this.#holdBack?.cancel();
    this.#holdBack = undefined;
    this.#proceed();
  }

  /**
   * Decides which places there are, and which may ask. Everything that changes the line leads here.
   *
   * @param ranks tickets for the first places that are opened
   * @param least how many places are opened, if there are requests for them
   */
  #proceed(ranks: readonly (string | undefined)[] = NO_RANKS, least = 0): void {
    if (this.#isPaused) return;
    if (this.#unplaced.first) this.#openPlaces(ranks, least);
    for (let place = this.#fresh; place && !this.#opening; place = this.#fresh) {
      if (this.#isHeldBack(place)) break;
      this.#fresh = place.behind;
      const opens = this.#places.size === 1 && this.#line.isFree;
      if (opens) this.#opening = place;
      this.#asked = place;
      place.ask(opens);
    }
    if (this.#behind && !this.#opening) {
      const runs = this.#behind;
      this.#behind = undefined;
      for (const run of runs) run();
    }
    if (this.#places.size > 0 || this.#unplaced.size > 0 || this.#opening) return;
    this.#holdBack?.cancel();
    this.#line.deserted(this);
  }

  /** Only the next turn waits for the present one: requests that must be in the queue by themselves ask at once. */
  #isHeldBack(place: Place): boolean {
    const isNextTurn = place.isSharable && !place.behind && this.#line.heldBackUntil > 0;
    const left = isNextTurn ? this.#line.heldBackUntil - this.room.clock.now() : 0;
    if (left > 0) this.#holdBack ??= this.room.clock.after(left, () => this.goOn(), true);
    return left > 0;
  }

  #openPlaces(ranks: readonly (string | undefined)[], least: number): void {
    let opened = 0;
    for (let first = this.#unplaced.first; first; first = this.#unplaced.first) {
      const isSingle = this.#isSingle(first);
      const joins = !isSingle && this.#last?.takes(first, this.room.turn);
      if (!joins && this.#singles === 0 && this.#sharable > 0 && opened >= least) return;
      this.#unqueue(first);
      if (joins) this.#last?.join(first);
      else this.#open(first, isSingle, ranks[opened++]);
    }
  }

  #open(request: Request, isSingle: boolean, ticket: string | undefined): void {
    const place = new Place(this, request, isSingle);
    place.ticket = ticket;
    this.#places.add(place);
    this.#fresh ??= place;
    if (!place.wait) return;
    this.#last = place;
    if (place.isSharable) this.#sharable++;
  }

  /** It has been granted, or is over. */
  #forget(place: Place): void {
    if (!this.#places.has(place)) return;
    if (this.#fresh === place) this.#fresh = place.behind;
    this.#places.remove(place);
    if (this.#last === place) this.#last = undefined;
    if (place.isSharable) this.#sharable--;
  }

  #queue(request: Request): void {
    this.#unplaced.add(request);
    if (this.#isSingle(request)) this.#singles++;
    this.#last?.countChanged();
  }

  /** It comes from a place that others may share, so it is no single. */
  #requeue(request: Request): void {
    this.#unplaced.addFirst(request);
  }

  #unqueue(request: Request): void {
    this.#unplaced.remove(request);
    if (this.#isSingle(request)) this.#singles--;
  }

  #isSingle(request: Request): boolean {
    return standsAlone(request.terms, this.room.turn);
  }
}
