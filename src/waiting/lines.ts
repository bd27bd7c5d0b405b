import { outsideContext } from "../async-context.ts";
import type { Clock } from "../clock.ts";
import { LockError } from "../errors.ts";
import type { Origin, RequestTrace } from "../events.ts";
import type { Departing } from "../leases/departing.ts";
import type { Lease } from "../leases/lease.ts";
import type { LeaseKeeper } from "../leases/keeper.ts";
import type { Terms } from "../options/request.ts";
import { isTraced, traced } from "../request-trace.ts";
import { CANDIDATE } from "../schemes/scheme.ts";
import type { HolderState, LockState, Recalled, Scheme, Selection } from "../schemes/scheme.ts";
import { Farewells } from "./farewells.ts";
import { Line } from "./line.ts";
import { mayWait } from "./place.ts";
import { Request } from "./request.ts";
import { originOf } from "./room.ts";
import type { Manner, Over, Room } from "./room.ts";
import { onNextTurn } from "../runtime.ts";

/** How many empty lines are kept, because making a new one costs more. */
const MOST_AT_REST = 1_000;

interface Beginning {
  readonly request: { begin(lease: Lease): void };
  readonly lease: Lease;
  isReady: boolean;
  isDue: boolean;
}

/** The lines of one manager: one for each lock that is held or waited for here, or recently was. */
export class Lines implements Room {
  readonly scheme: Scheme;
  readonly clock: Clock;
  readonly keeper: LeaseKeeper;
  readonly turn: number;
  readonly origin: Origin;
  readonly #clientId: string;
  readonly #lines = new Map<string, Line>();
  readonly #farewells: Farewells;
  #tokens = 0;
  isClosed = false;
  /** How many calls have no answer yet, and what to notify when all have. */
  #out = 0;
  #whenIdle: (() => void) | undefined;
  /** In order: requests that begin at the end of this turn of the event loop, or once they are ready. */
  readonly #beginning: Beginning[] = [];

  constructor(
    scheme: Scheme,
    clock: Clock,
    keeper: LeaseKeeper,
    settings: { clientId: string; turn: number; origin: Origin },
  ) {
    this.scheme = scheme;
    this.clock = clock;
    this.keeper = keeper;
    this.turn = settings.turn;
    this.origin = settings.origin;
    this.#clientId = settings.clientId;
    this.#farewells = new Farewells(this);
    scheme.listen({
      granted: (lock, token, fence, fences, since) => {
        this.#lines.get(lock)?.pushed(token, fence, fences, since);
        this.#farewells.remind(token);
      },
      next: (lock, token, remaining) => this.#lines.get(lock)?.next(token, remaining),
      lost: (lock, token, fence) => this.#lines.get(lock)?.lost(token, fence),
      missed: (locks) => {
        for (const line of this.#lines.values()) if (!locks || locks.has(line.lock)) line.missed();
      },
    });
  }

  /**
   * What `as` makes of the lease; null if the lock is busy and the request may not wait. Rejects if the
   * wait ends without a grant.
   */
  obtain<T>(lock: string, terms: Terms, as: (lease: Lease) => T | Promise<T>): Promise<T | null> {
    const line = this.#lineOf(lock);
    if (!isTraced()) return this.#request(line, terms, as);
    const { mode, permits, label } = terms;
    const open = { position: undefined, waited: undefined, outcome: undefined, token: undefined, fence: undefined };
    const about = { name: lock, mode, permits, ...originOf(this, label), ahead: line.waiting };
    const trace: RequestTrace = { ...about, ...open, error: undefined };
    return traced(trace, () => this.#request(line, terms, as, trace));
  }

  #request<T>(line: Line, terms: Terms, as: (lease: Lease) => T | Promise<T>, trace?: RequestTrace): Promise<T | null> {
    const request = new Request(line, terms, as, trace);
    if (mayWait(terms)) line.add(request);
    else line.inOrder(() => (this.isClosed ? request.end(closed()) : line.add(request)));
    return request.outcome as Promise<T | null>;
  }

  /** The scheme's knowledge, completed by what only this process knows; after all earlier questions. */
  async query(selection: Selection): Promise<LockState[]> {
    const named = typeof selection === "object" && "name" in selection ? this.#lines.get(selection.name) : undefined;
    const lines = named ? [named] : selection === "all" || "match" in selection ? [...this.#lines.values()] : [];
    await Promise.all(lines.map((line) => new Promise<void>((resolve) => line.inOrder(resolve))));
    const states = await this.scheme.query(selection);
    return states.map((state) => {
      const line = this.#lines.get(state.lock);
      return line ? line.complete(state) : state;
    });
  }

  /** The value that a holder stored for those who wait. `close()` waits for the answer. */
  async recall(lock: string): Promise<Recalled | undefined> {
    this.sent();
    try {
      return await this.scheme.recall?.(lock);
    } finally {
      this.answered();
    }
  }

  /** Takes the lock from exactly this holder. False if it no longer holds. */
  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const turn = this.#lines.get(lock)?.turnUnder(holder.token ?? "");
    if (!turn) return this.scheme.evict(lock, holder);
    const lease = [...turn.leases].find(({ grant }) => grant.token === holder.token);
    // Of several readers under one grant, it is the only one to lose.
    if (lease && turn.leases.size > 1) {
      lease.lose("stolen");
      return true;
    }
    return this.scheme.evict(lock, { ...holder, token: turn.grant.token, fence: turn.grant.fence });
  }

  assertOpen(): void {
    if (this.isClosed) throw new LockError("closed", "This LockManager has been closed. Make a new one.");
  }

  /** Rejects all waiting requests. */
  refuse(): void {
    this.isClosed = true;
    for (const line of this.#lines.values()) line.end(closed());
  }

  /** Resolves when every question has been answered, and every farewell answered or abandoned. */
  async idle(): Promise<void> {
    this.#farewells.close();
    if (this.#out > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
  }

  /** As text, a later token is larger: nodes order requests that have the same ticket by their tokens. */
  newToken(isCandidacy: boolean): string {
    const count = (this.#tokens++).toString(36);
    return `${this.#clientId}:${isCandidacy ? CANDIDATE : ""}${count.length}${count}`;
  }

  sent(): void {
    this.#out++;
  }

  answered(): void {
    if (--this.#out === 0) this.#whenIdle?.();
  }

  farewell(over: Over, ttl: number, departing?: Departing, manner?: Manner): void {
    this.#farewells.say(over, ttl, departing, manner);
  }

  empty(line: { readonly lock: string }): void {
    if (this.#lines.size > MOST_AT_REST && this.#lines.get(line.lock) === line) this.#lines.delete(line.lock);
  }

  begin(request: Beginning["request"], lease: Lease, ready: Promise<void> | undefined): void {
    if (!ready && this.#beginning.length === 0) return request.begin(lease);
    const one: Beginning = { request, lease, isReady: !ready, isDue: false };
    void ready?.then(() => {
      one.isReady = true;
      if (one.isDue) request.begin(lease);
    });
    if (this.#beginning.push(one) === 1) outsideContext(() => onNextTurn(() => this.#beginAll()));
  }

  #beginAll(): void {
    for (const one of this.#beginning.splice(0)) {
      one.isDue = true;
      if (one.isReady) one.request.begin(one.lease);
    }
  }

  #lineOf(lock: string): Line {
    let line = this.#lines.get(lock);
    if (!line) this.#lines.set(lock, (line = new Line(lock, this)));
    return line;
  }
}

function closed(): LockError {
  return new LockError("closed", "The LockManager was closed while the request waited.");
}
