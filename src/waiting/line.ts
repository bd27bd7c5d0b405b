import { Queue } from "../queue.ts";
import type { Clock } from "../clock.ts";
import { events } from "../events.ts";
import type { Granted, HolderState, LockState, WaiterState } from "../schemes/scheme.ts";
import type { Place } from "./place.ts";
import type { Request } from "./request.ts";
import type { Room } from "./room.ts";
import { Turn } from "./turn.ts";
import type { TurnOwner } from "./turn.ts";
import { Waiters } from "./waiters.ts";

/**
 * What this process has of one lock: its turns, and the requests that wait. All that concerns the lock comes here: new
 * requests, what the scheme pushes, questions about who waits.
 */
export class Line implements TurnOwner {
  readonly lock: string;
  readonly room: Room;
  heldBackUntil = 0;
  readonly #turns = new Queue<Turn>();
  /** Undefined if nobody waits or asks. */
  #waiters: Waiters | undefined;

  constructor(lock: string, room: Room) {
    this.lock = lock;
    this.room = room;
  }

  get clock(): Clock {
    return this.room.clock;
  }

  get isFree(): boolean {
    return this.#turns.size === 0;
  }

  get isAsking(): boolean {
    return this.#waiters?.isAsking ?? false;
  }

  add(request: Request): void {
    if (!request.isOver) this.#waiting.add(request);
  }

  left(request: Request): void {
    if (this.#waiters) this.#waiters.left(request);
    else request.place?.leave(request);
  }

  granted(place: Place, grant: Granted, from: number): Turn {
    // The former holders are notified before it begins, not only when the report arrives.
    if (place.terms.manner === "steal") this.#rob(grant, place);
    const turn = new Turn(this, place, grant, from);
    this.#turns.add(turn);
    return turn;
  }

  putBack(requests: readonly Request[]): void {
    this.#waiting.putBack(requests);
  }

  ended(turn: Turn): void {
    this.#turns.remove(turn);
    this.heldBackUntil = 0;
    if (this.#waiters) this.#waiters.goOn();
    else this.#rest();
  }

  deserted(waiters: Waiters): void {
    if (this.#waiters !== waiters) return;
    this.#waiters = undefined;
    this.#rest();
  }

  /** How many requests of this process wait. */
  get waiting(): number {
    return this.#requests.length;
  }

  /** Calls `run` once all earlier questions are in the scheme's queue or answered. */
  inOrder(run: () => void): void {
    if (this.#waiters) this.#waiters.inOrder(run);
    else run();
  }

  pushed(token: string, fence: number, fences: number, since: number | undefined): void {
    this.#waiters?.placeOf(token)?.pushed(fence, fences, since);
    this.#turnOf(token)?.pushed(fence);
  }

  next(token: string, remaining: number): void {
    this.#waiters?.placeOf(token)?.moveUp(remaining);
  }

  lost(token: string, fence: number): void {
    this.#waiters?.placeOf(token)?.revoke(fence);
    const turn = this.#turnOf(token);
    if (turn && turn.grant.fence <= fence) turn.lose("stolen");
  }

  /** Something may have been missed: waiters ask again, and holders check that they still hold. */
  missed(): void {
    this.#waiters?.stir();
    for (const { leases } of this.#turns) for (const lease of leases) lease.doubt();
  }

  /** Ends every request that has not been granted. */
  end(error: unknown): void {
    for (const request of this.#requests) request.end(error);
  }

  whyNot({ place = this.#waiters?.last }: Request): { reason: string; cause?: unknown } {
    if (!this.isFree) {
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
    return {
      ...state,
      holders: state.holders.flatMap((holder) => this.#holdersBehind(holder)),
      waiters: [
        ...state.holders.flatMap((holder) => this.#followersOf(holder)),
        ...state.waiters.flatMap((waiter) => this.#waitersBehind(waiter)),
      ],
    };
  }

  /** The turn that this lease is based on. */
  turnUnder(token: string): Turn | undefined {
    return [...this.#turns].find(({ leases }) => [...leases].some(({ grant }) => grant.token === token));
  }

  get #waiting(): Waiters {
    return (this.#waiters ??= new Waiters(this));
  }

  /** All that have not been granted. */
  get #requests(): Request[] {
    const followers = [...this.#turns].flatMap((turn) => [...turn.followers]);
    return [...followers, ...(this.#waiters?.requests ?? [])];
  }

  /** If nobody here holds the lock or waits for it, the line may go. */
  #rest(): void {
    if (this.isFree && !this.#waiters) this.room.empty(this);
  }

  #rob({ fence, victims = [] }: Granted, { lock, origin, requests }: Place): void {
    for (const turn of Array.from(this.#turns)) if (turn.grant.fence < fence) turn.lose("stolen");
    const robbed = { lock, mode: victims.length > 1 ? ("shared" as const) : undefined };
    for (const victim of victims) events.forced(robbed, victim, origin, requests.first?.context);
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
    return Array.from(turn?.followers ?? [], ({ joinedAt, terms: { mode, label } }) => ({
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
  #waitersBehind(waiter: WaiterState): WaiterState[] {
    const requests = this.#waiters?.requestsAt(waiter.token);
    if (!requests) return [waiter];
    return requests.map(({ joinedAt, terms: { mode, label } }, i) => ({
      ...waiter,
      mode,
      label: label || waiter.clientLabel || waiter.label,
      waited: this.clock.now() - joinedAt,
      waiting: 1,
      isBehind: i > 0,
    }));
  }
}
