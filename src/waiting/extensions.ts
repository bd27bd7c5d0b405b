import type { Caller } from "../caller.ts";
import type { Extending } from "../leases/lease.ts";
import type { Extension } from "../schemes/scheme.ts";

/** The grant whose extensions they are. */
interface Extended {
  readonly isOver: boolean;
  /** Asks the scheme. @returns when that was, and until when the scheme keeps the grant if it agrees */
  ask(until: number, caller: Caller<Extension>): Asked;
  extended(extension: Extension, asked: Asked): void;
  /** None is unanswered. */
  settled(): void;
}

interface Asked {
  readonly askedAt: number;
  readonly until: number;
}

/**
 * Extensions of one grant, as long as one is unanswered: there is one at a time, on behalf of all callers, and a longer
 * one follows its answer.
 */
export class Extensions implements Caller<Extension> {
  readonly #grant: Extended;
  #asked: Asked;
  #callers: Extending[];
  #next: { until: number; readonly callers: Extending[] } | undefined;
  /** Called once, when the unanswered one has its answer. */
  whenAnswered: ((isExtended: boolean) => void) | undefined;

  constructor(grant: Extended, until: number, caller: Extending) {
    this.#grant = grant;
    this.#callers = [caller];
    this.#asked = grant.ask(until, this);
  }

  want(until: number, caller: Extending): void {
    if (until <= this.#asked.until) {
      this.#callers.push(caller);
      return;
    }
    this.#next ??= { until, callers: [] };
    this.#next.until = Math.max(this.#next.until, until);
    this.#next.callers.push(caller);
  }

  answered(extension: Extension): void {
    const asked = this.#asked;
    const callers = this.#goOn();
    this.#grant.extended(extension, asked);
    for (const caller of callers) {
      if (extension === "extended") caller.extended(asked.askedAt, asked.until);
      else caller.notExtended(undefined);
    }
    this.#tell(extension === "extended");
  }

  failed(error: unknown): void {
    for (const caller of this.#goOn()) caller.notExtended(error);
    this.#tell(false);
  }

  /** Sends the extension that follows. @returns the callers that waited for this one */
  #goOn(): Extending[] {
    const callers = this.#callers;
    const next = this.#next;
    this.#next = undefined;
    if (next && !this.#grant.isOver) {
      this.#callers = next.callers;
      this.#asked = this.#grant.ask(next.until, this);
    } else {
      this.#grant.settled();
      for (const caller of next?.callers ?? []) caller.notExtended(undefined);
    }
    return callers;
  }

  #tell(isExtended: boolean): void {
    const told = this.whenAnswered;
    this.whenAnswered = undefined;
    told?.(isExtended);
  }
}
