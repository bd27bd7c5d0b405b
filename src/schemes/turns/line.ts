import type { Timer } from "../../clock.ts";
import type { LockRequest } from "../scheme.ts";

/** Where a line stands in the scheme's queue. */
export interface Place {
  /** Its token is that of the waiter that opened it, also when that one has been served or is gone. */
  readonly request: LockRequest;
  askedAt: number;
  /** When it is to be asked again, and what wakes the first in line then. */
  due: number;
  timer: Timer | undefined;
  /** The highest fence that was taken from it by force. */
  revoked: number;
  /** A grant that was pushed, and is kept until then. */
  pushed: { readonly fence: number; readonly until: number } | undefined;
}

/** Who waits here for one lock. The first of them asks for all. */
export class Line {
  #first: LockRequest | undefined;
  /** Behind the first, by token, in order. Made for the second one: most lines are never longer than one. */
  #others: Map<string, LockRequest> | undefined;
  /** Stands before the second one: to look for it from the front would take the longer the more have left. */
  #upcoming: Iterator<LockRequest> | undefined;
  place: Place | undefined;
  /** The question that is out. */
  asking: Promise<unknown> | undefined;
  /** What the latest question failed with. */
  failure: unknown = undefined;
  /** The token of the turn that ended last: a push for it comes too late. */
  ended: string | undefined;

  constructor(first: LockRequest) {
    this.#first = first;
  }

  get first(): LockRequest | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#first ? 1 + (this.#others?.size ?? 0) : 0;
  }

  get all(): LockRequest[] {
    return this.#first ? [this.#first, ...(this.#others?.values() ?? [])] : [];
  }

  find(token: string): LockRequest | undefined {
    return this.#first?.token === token ? this.#first : this.#others?.get(token);
  }

  add(request: LockRequest): void {
    if (!this.#first) this.#first = request;
    else (this.#others ??= new Map()).set(request.token, request);
  }

  remove(request: LockRequest): void {
    if (this.#first !== request) {
      this.#others?.delete(request.token);
      return;
    }
    this.#first = undefined;
    if (!this.#others || this.#others.size === 0) {
      this.#upcoming = undefined;
      return;
    }
    this.#upcoming ??= this.#others.values();
    const next = this.#upcoming.next().value as LockRequest;
    this.#others.delete(next.token);
    this.#first = next;
  }

  /** How many at the front, `most` at most, one grant would do for. */
  ready(request: LockRequest, most: number): number {
    if (!this.#first || !alike(this.#first, request)) return 0;
    let ready = 1;
    for (const other of this.#others?.values() ?? []) {
      if (ready >= most || !alike(other, request)) break;
      ready++;
    }
    return ready;
  }
}

/** Whether one grant would do for both. */
export function alike(a: LockRequest, b: LockRequest): boolean {
  return a.mode === b.mode && a.ttl === b.ttl && a.label === b.label;
}
