import type { Clock, Timer } from "../clock.ts";
import { events } from "../events.ts";
import type { Granted, HolderState, LockState, WaiterState } from "../schemes/scheme.ts";
import { isPassing, mayWait, Place } from "./place.ts";
import type { PlaceOwner } from "./place.ts";
import { Queue } from "../queue.ts";
import { standsAlone } from "./request.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";
import { Turn } from "./turn.ts";
import type { TurnOwner } from "./turn.ts";

/**
 * How long a new turn may hold back the next question of this process, in milliseconds. If the turn ends by then, the
 * question leaves with the release, and is granted at once if nobody else waits.
 */
const HELD_BACK = 5;

/**
 * The requests of this process for one lock, in order: the unit of waiting. Only the line asks the scheme, by opening
 * places in the scheme's queue, and it gives a grant to the requests that wait at the place.
 *
 * Requests that want the same share a place, up to `turn` of them, and only one such place waits at a time. So
 * processes take turns, however many requests each has. A request that must be in the queue by itself gets its own
 * place at once, and so do all requests before it.
 */
export class Line implements PlaceOwner, TurnOwner {
  readonly lock: string;
  readonly room: Room;
  /** Requests without a place, in order; and how many of them need their own. */
  readonly #unplaced = new Queue<Request>();
  #singles = 0;
  /** Places that have not been granted, in order. */
  readonly #places = new Queue<Place>();
  readonly #turns = new Queue<Turn>();
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
  /** Until when a turn holds back the next question, by our clock, and the timer that ends this. */
  #heldBackUntil = 0;
  #holdBack: Timer | undefined;
  /** What must come after the opening question. */
  #behind: (() => void)[] | undefined;

  constructor(lock: string, room: Room) {
    this.lock = lock;
    this.room = room;
  }

  get clock(): Clock {
    return this.room.clock;
  }

  /** A question has been asked but not sent. */
  get isAsking(): boolean {
    return this.#asked?.state === "asked" && !this.#asked.isSent;
  }

  add(request: Request): void {
    if (request.isOver) return;
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
    // The former holders are notified before it begins, not only when the report arrives.
    if (place.terms.manner === "steal") this.#rob(grant, place);
    const turn = new Turn(this, place, grant, from);
    this.#turns.add(turn);
    // Everything that waits for its turn here must find the earlier questions sent.
    if (!this.#behind) this.#heldBackUntil = this.clock.now() + HELD_BACK;
    if (surplus) this.putBack(surplus);
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
    this.#proceed(place.state === "over" ? [place.ticket] : []);
  }

  /** They came before all requests that wait in shared places, and go before them. */
  putBack(requests: readonly Request[]): void {
    const places = this.#sharable > 0 ? [...this.#places].filter((each) => each.isSharable && each.requests.first) : [];
    const [first] = places;
    this.#isPaused = true;
    if (first && places.length === 1 && requests.every((request) => first.takes(request, Infinity))) {
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

  ended(turn: Turn): void {
    this.#turns.remove(turn);
    this.#goOn();
  }

  /** How many requests of this process wait. */
  get waiting(): number {
    const places = [...this.#places, ...Array.from(this.#turns, ({ place }) => place)];
    return places.reduce((sum, { requests }) => sum + requests.size, this.#unplaced.size);
  }

  waitingAt(place: Place): number {
    return place.requests.size + (place === this.#last && place.isSharable ? this.#unplaced.size : 0);
  }

  /** Calls `run` once all earlier questions are in the scheme's queue or answered. */
  inOrder(run: () => void): void {
    if (this.#holdBack) this.#goOn();
    if (this.#opening) (this.#behind ??= []).push(run);
    else run();
  }

  pushed(token: string, fence: number, fences: number, since: number | undefined): void {
    this.#placeOf(token)?.pushed(fence, fences, since);
    this.#turnOf(token)?.pushed(fence);
  }

  next(token: string, remaining: number): void {
    this.#placeOf(token)?.moveUp(remaining);
  }

  lost(token: string, fence: number): void {
    this.#placeOf(token)?.revoke(fence);
    const turn = this.#turnOf(token);
    if (turn && turn.grant.fence <= fence) turn.lose("stolen");
  }

  /** Something may have been missed: waiters ask again, and holders check that they still hold. */
  missed(): void {
    for (const place of Array.from(this.#places)) if (place.wait) place.stir();
    for (const { leases } of this.#turns) for (const lease of leases) lease.doubt();
  }

  /** Ends every request that has not been granted. */
  end(error: unknown): void {
    const places = [...this.#places, ...Array.from(this.#turns, ({ place }) => place)];
    const waiting = [...places.flatMap(({ requests }) => [...requests]), ...this.#unplaced];
    for (const request of waiting) request.end(error);
  }

  whyNot({ place = this.#last }: Request): { reason: string; cause?: unknown } {
    if (this.#turns.size > 0) {
      const remedy = "If the request is nested in the holder's callback, give both { reentrant: true }";
      return { reason: `this process itself holds it. ${remedy}` };
    }
    if (place?.trouble !== undefined) return { reason: "the server cannot be reached", cause: place.trouble };
    if (place && place.answeredAt === undefined) return { reason: "the server has not answered" };
    const who = place?.holder?.label || "another client";
    return { reason: `${who} holds it. Wait longer (waitTimeout), or look with query()` };
  }

  /** The scheme's knowledge, completed by what only this process knows. */
  complete(state: LockState): LockState {
    const places = new Map(Array.from(this.#places, (place) => [place.token, place]));
    return {
      ...state,
      holders: state.holders.flatMap((holder) => this.#holdersBehind(holder)),
      waiters: [
        ...state.holders.flatMap((holder) => this.#followersOf(holder)),
        ...state.waiters.flatMap((waiter) => this.#waitersBehind(waiter, places.get(waiter.token))),
      ],
    };
  }

  /** The turn that this lease is based on. */
  turnUnder(token: string): Turn | undefined {
    return [...this.#turns].find(({ leases }) => [...leases].some(({ grant }) => grant.token === token));
  }

  /**
   * Decides which places there are, and which may ask. Everything that changes the line leads here.
   *
   * @param ranks tickets for the first places that are opened
   * @param least how many places are opened, if there are requests for them
   */
  #proceed(ranks: readonly (string | undefined)[] = [], least = 0): void {
    if (this.#isPaused) return;
    if (this.#unplaced.first) this.#openPlaces(ranks, least);
    for (let place = this.#fresh; place && !this.#opening; place = this.#fresh) {
      if (this.#isHeldBack(place)) break;
      this.#fresh = place.behind;
      const opens = this.#places.size === 1 && this.#turns.size === 0;
      if (opens) this.#opening = place;
      this.#asked = place;
      place.ask(opens);
    }
    if (this.#behind && !this.#opening) {
      const runs = this.#behind;
      this.#behind = undefined;
      for (const run of runs) run();
    }
    if (this.#places.size > 0 || this.#turns.size > 0 || this.#unplaced.size > 0) return;
    this.#asked = undefined;
    this.#holdBack?.cancel();
    this.#holdBack = undefined;
    this.room.empty(this);
  }

  /** Only the next turn waits for the present one: requests that must be in the queue by themselves ask at once. */
  #isHeldBack(place: Place): boolean {
    const isNextTurn = place.isSharable && !place.behind && this.#heldBackUntil > 0;
    const left = isNextTurn ? this.#heldBackUntil - this.clock.now() : 0;
    if (left > 0) this.#holdBack ??= this.clock.after(left, () => this.#goOn(), true);
    return left > 0;
  }

  /** No question is held back any more. */
  #goOn(): void {
    this.#heldBackUntil = 0;
    this.#holdBack?.cancel();
    this.#holdBack = undefined;
    this.#proceed();
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

  #requeue(request: Request): void {
    this.#unplaced.addFirst(request);
    if (this.#isSingle(request)) this.#singles++;
  }

  #unqueue(request: Request): void {
    this.#unplaced.remove(request);
    if (this.#isSingle(request)) this.#singles--;
  }

  #isSingle(request: Request): boolean {
    return standsAlone(request.terms, this.room.turn);
  }

  #rob({ fence, victims = [] }: Granted, { lock, origin, requests }: Place): void {
    for (const turn of Array.from(this.#turns)) if (turn.grant.fence < fence) turn.lose("stolen");
    const robbed = { lock, mode: victims.length > 1 ? ("shared" as const) : undefined };
    for (const victim of victims) events.forced(robbed, victim, origin, requests.first?.context);
  }

  #placeOf(token: string): Place | undefined {
    let place = this.#places.first;
    while (place && place.token !== token) place = place.behind;
    return place;
  }

  #turnOf(token: string | undefined): Turn | undefined {
    let turn = this.#turns.first;
    while (turn && turn.grant.token !== token) turn = turn.behind;
    return turn;
  }

  /** A holder as the scheme knows it, or the leases of this process that are based on its grant. */
  #holdersBehind(holder: HolderState): HolderState[] {
    const turn = this.#turnOf(holder.token);
    if (!turn?.leases.first) return [holder];
    return Array.from(turn.leases, ({ grant: { token, fence } }) => ({ ...holder, token, fence }));
  }

  /** Requests that wait for a turn of this process to reach them: the scheme does not know them. */
  #followersOf(holder: HolderState): WaiterState[] {
    const turn = this.#turnOf(holder.token);
    const { clientLabel = "" } = holder;
    return Array.from(turn?.place.requests ?? [], ({ joinedAt, terms: { mode, label } }) => ({
      token: holder.token as string,
      mode,
      label: label || clientLabel,
      clientLabel,
      waited: this.clock.now() - joinedAt,
      waiting: 1,
      isBehind: true,
    }));
  }

  /** A waiter as the scheme knows it, or the requests of this process that wait at its place and behind it. */
  #waitersBehind(waiter: WaiterState, place: Place | undefined): WaiterState[] {
    if (!place) return [waiter];
    const behind = place === this.#last && place.isSharable ? this.#unplaced : [];
    return [...place.requests, ...behind].map(({ joinedAt, terms: { mode, label } }, i) => ({
      ...waiter,
      mode,
      label: label || waiter.clientLabel || waiter.label,
      waited: this.clock.now() - joinedAt,
      waiting: 1,
      isBehind: i > 0,
    }));
  }
}
