import type { HolderState, WaiterState } from "../schemes/scheme.ts";
import type { Farewells } from "./farewells.ts";
import { isPassing, Place } from "./place.ts";
import type { Granted, PlaceOwner } from "./place.ts";
import { Queue } from "./queue.ts";
import { standsAlone } from "./request.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";
import { Turn } from "./turn.ts";
import type { TurnOwner } from "./turn.ts";

/**
 * The requests of this process for one lock, in order: the unit of waiting. It alone asks the scheme, by opening places
 * in the scheme's queue, and gives a grant to those who wait at the place.
 *
 * Those who want the same share a place, up to `turn` of them, and only one such place waits at a time: so processes take
 * turns, however many requests each has. Whoever must be in the queue by itself has a place of its own at once, and so
 * has everybody before it.
 */
export class Line implements PlaceOwner, TurnOwner {
  readonly lock: string;
  readonly room: Room;
  readonly farewells: Farewells;
  readonly #onEmpty: (line: Line) => void;
  /** Without a place, in order; and how many of them must have one of their own. */
  readonly #unplaced = new Queue<Request>();
  #singles = 0;
  /** By token: those that have not been granted, in order. */
  readonly #places = new Map<string, Place>();
  readonly #turns: Turn[] = [];
  /** Places that have not been asked for yet, in order. */
  #fresh: Place[] = [];
  /** The last place in the queue, and how many there are that may be shared. */
  #last: Place | undefined;
  #sharable = 0;
  /** The question that found nobody here, while it is out: nobody knows yet whether there is a queue. */
  #opening: Place | undefined;
  #asked: Place | undefined;
  /** Requests are being moved: what that changes is looked at when all are where they belong. */
  #isPaused = false;
  /** What must come behind the opening question. */
  #behind: (() => void)[] = [];

  constructor(lock: string, room: Room, farewells: Farewells, onEmpty: (line: Line) => void) {
    this.lock = lock;
    this.room = room;
    this.farewells = farewells;
    this.#onEmpty = onEmpty;
  }

  get clock(): Room["clock"] {
    return this.room.clock;
  }

  /** A question has been asked and not sent. */
  get isAsking(): boolean {
    return this.#asked?.state === "asked" && !this.#asked.isSent;
  }

  add(request: Request): void {
    request.begin(this);
    if (request.terms.manner === "wait" && !request.terms.from) this.#queue(request);
    else this.#open(request, true, undefined);
    this.#proceed();
  }

  left(request: Request): void {
    if (request.place) request.place.leave(request);
    else this.#unqueue(request);
    this.#last?.countChanged();
    this.#proceed();
  }

  granted(place: Place, grant: Granted): void {
    this.#forget(place);
    const surplus = [...place.requests].slice(grant.fences);
    for (const request of surplus) place.leave(request);
    const turn = new Turn(this, place, grant);
    this.#turns.push(turn);
    this.putBack(surplus);
    turn.begin(grant);
    this.#proceed();
  }

  failed(place: Place, error: unknown): void {
    const isLasting = !isPassing(error);
    // Those at the place itself hear of what will not pass when nothing is left of it.
    const behind = place.isSingle ? [] : [...this.#unplaced];
    const concerned = isLasting ? behind : [...place.requests, ...behind];
    for (const request of concerned) if (isLasting || place.isHopeless(request)) request.end(error);
  }

  moved(place: Place): void {
    if (this.#opening === place && place.state !== "asked") this.#opening = undefined;
    if (!place.isWaiting) this.#forget(place);
    // Whoever is next, and wants something else, takes over the rank of those who have left.
    this.#proceed(place.state === "over" ? place.ticket : undefined);
  }

  renamed(place: Place, formerly: string): void {
    this.#places.delete(formerly);
    this.#places.set(place.token, place);
  }

  /** They came before all that wait in a place they could share, and go before them. */
  putBack(requests: readonly Request[]): void {
    const place = this.#sharable > 0 ? [...this.#places.values()].find((each) => each.isSharable) : undefined;
    let ticket: string | undefined;
    this.#isPaused = true;
    if (place && requests.every((request) => place.takes(request, Infinity))) {
      for (const request of requests.toReversed()) place.joinFirst(request);
      while (place.requests.size > this.room.turn) this.#requeue(place.release());
    } else {
      ticket = place?.ticket;
      for (const request of [...requests, ...(place?.disband() ?? [])].toReversed()) this.#requeue(request);
    }
    this.#isPaused = false;
    this.#proceed(ticket);
  }

  ended(turn: Turn): void {
    this.#turns.splice(this.#turns.indexOf(turn), 1);
    this.#proceed();
  }

  waitingAt(place: Place): number {
    return place.requests.size + (place === this.#last && place.isSharable ? this.#unplaced.size : 0);
  }

  /** Call `run` once what was asked before is in the scheme's queue, or answered. */
  inOrder(run: () => void): void {
    if (this.#opening) this.#behind.push(run);
    else run();
  }

  pushed(token: string, fence: number, fences: number, since: number | undefined): void {
    this.#places.get(token)?.pushed(fence, fences, since);
    this.#turnOf(token)?.pushed(fence);
  }

  next(token: string, remaining: number): void {
    this.#places.get(token)?.moveUp(remaining);
  }

  lost(token: string, fence: number): void {
    this.#places.get(token)?.revoke(fence);
    const turn = this.#turnOf(token);
    if (turn && turn.grant.fence <= fence) turn.lose("stolen");
  }

  /** Something may have been missed: those who wait ask again, those who hold make sure that they do. */
  missed(): void {
    for (const place of Array.from(this.#places.values())) if (place.wait) place.stir();
    for (const { leases } of this.#turns) for (const lease of leases) lease.doubt();
  }

  /** End every request that has not been granted. */
  end(error: unknown): void {
    const places = [...this.#places.values(), ...this.#turns.map(({ place }) => place)];
    const waiting = [...places.flatMap(({ requests }) => [...requests]), ...this.#unplaced];
    for (const request of waiting) request.end(error);
  }

  whyNot({ place = this.#last }: Request): { reason: string; cause?: unknown } {
    if (this.#turns.length > 0) {
      const remedy = "If the request is nested in the holder's callback, give both { reentrant: true }";
      return { reason: `this process itself holds it. ${remedy}` };
    }
    if (place?.trouble !== undefined) return { reason: "the server cannot be reached", cause: place.trouble };
    if (place && place.answeredAt === -Infinity) return { reason: "the server has not answered" };
    const who = place?.holder?.label || "another client";
    return { reason: `${who} holds it. Wait longer (waitTimeout), or look with query()` };
  }

  /** A holder as the scheme knows it, or the leases of this process that stand on its grant. */
  holdersBehind(holder: HolderState): HolderState[] {
    const leases = this.#turnOf(holder.token ?? "")?.leases ?? [];
    if (leases.length === 0) return [holder];
    return leases.map(({ grant: { token, fence } }) => ({ ...holder, token, fence }));
  }

  /** A waiter as the scheme knows it, or the requests of this process that wait at its place and behind. */
  waitersBehind(waiter: WaiterState): WaiterState[] {
    const place = this.#places.get(waiter.token);
    if (!place) return [waiter];
    const behind = place === this.#last && place.isSharable ? this.#unplaced : [];
    return [...place.requests, ...behind].map(({ terms: { mode, label } }, i) => ({
      ...waiter,
      mode,
      label: label || waiter.label,
      waiting: 1,
      isBehind: i > 0,
    }));
  }

  /** Those who wait for a turn of this process to reach them: the scheme does not know of them. */
  followersOf(holder: HolderState): WaiterState[] {
    const turn = this.#turnOf(holder.token ?? "");
    return [...(turn?.place.requests ?? [])].map(({ terms: { mode, label } }) => ({
      token: turn?.grant.token ?? "",
      mode,
      label: label || holder.label,
      waiting: 1,
      isBehind: true,
    }));
  }

  /** The turn that this lease's token stands on. */
  turnUnder(token: string): Turn | undefined {
    return this.#turns.find(({ leases }) => leases.some(({ grant }) => grant.token === token));
  }

  /** Decides which places there are, and which may ask. Everything that changes the line leads here. */
  #proceed(ticket?: string): void {
    if (this.#isPaused) return;
    this.#openPlaces(ticket);
    while (this.#fresh.length > 0 && !this.#opening) {
      const place = this.#fresh.shift() as Place;
      const opens = this.#places.size === 1 && this.#turns.length === 0;
      if (opens) this.#opening = place;
      this.#asked = place;
      place.ask(opens);
    }
    if (!this.#opening) for (const run of this.#behind.splice(0)) run();
    if (this.#places.size === 0 && this.#turns.length === 0 && this.#unplaced.size === 0) this.#onEmpty(this);
  }

  #openPlaces(ticket: string | undefined): void {
    for (let first = this.#unplaced.first; first; first = this.#unplaced.first) {
      const isSingle = this.#isSingle(first);
      const joins = !isSingle && this.#last?.takes(first, this.room.turn);
      if (!joins && this.#singles === 0 && this.#sharable > 0) return;
      this.#unqueue(first);
      if (joins) this.#last?.join(first);
      else this.#open(first, isSingle, ticket);
      ticket = undefined;
    }
  }

  #open(request: Request, isSingle: boolean, ticket: string | undefined): void {
    const place = new Place(this, request, isSingle);
    place.ticket = ticket;
    this.#places.set(place.token, place);
    this.#fresh.push(place);
    if (!place.wait) return;
    this.#last = place;
    if (place.isSharable) this.#sharable++;
  }

  /** It has been granted, or is over. */
  #forget(place: Place): void {
    if (!this.#places.delete(place.token)) return;
    if (this.#last === place) this.#last = undefined;
    if (place.isSharable) this.#sharable--;
    if (this.#fresh.length > 0) this.#fresh = this.#fresh.filter((each) => each !== place);
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
    return standsAlone(request, this.room.turn);
  }

  #turnOf(token: string): Turn | undefined {
    return this.#turns.find(({ grant }) => grant.token === token);
  }
}
