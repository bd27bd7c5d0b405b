import { report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import type { Clock, Timer } from "../clock.ts";
import { Queue } from "../queue.ts";
import type { Queued } from "../queue.ts";
import type { Driver, Send } from "./driver.ts";
import { isClosed, messageOf, schemeError } from "./server-errors.ts";

/** A command without an answer for this long has failed, because clients queue indefinitely while they reconnect. */
export const COMMAND_LIMIT = 5_000;
/** If its timer fires later than that, the process was blocked: what is unanswered may only now be sent, or be read. */
const BLOCKED = 250;
/** For so long calls may then still be answered, because a command may take several round trips. */
const GRACE = 1_000;

/** Bounds the time that calls may take, with one timer for all of them. */
export class TimeLimit {
  readonly #clock: Clock;
  readonly #driver: Driver;
  /** In the order of their deadlines, which is the order in which they were added. */
  readonly #calls = new Queue<BoundedCall>();
  #timer: Timer | undefined;
  /** The latest call that was answered, or should have been, was not. */
  isSilent = false;

  constructor(clock: Clock, driver: Driver) {
    this.#clock = clock;
    this.#driver = driver;
  }

  /** Settles as the call does, or rejects with a SchemeError if the call fails or takes too long. */
  guard<T>(call: Promise<T>): Promise<T> {
    return new Promise((answered, failed) => {
      report(call, this.bound({ answered, failed }));
    });
  }

  /**
   * For a call that was sent: it reports its outcome to the return value. The caller gets that outcome, or after a
   * while a SchemeError; whatever comes later is ignored.
   */
  bound<T>(caller: Caller<T>): Caller<T> {
    const call = new BoundedCall(this, this.#clock.now() + COMMAND_LIMIT, caller);
    this.#calls.add(call);
    if (!this.#timer) this.#arm();
    return call;
  }

  /** @internal False if it took too long. */
  ended(call: BoundedCall): boolean {
    if (!this.#calls.has(call)) return false;
    this.#calls.remove(call);
    return true;
  }

  /** Each server that keeps keys; calls to it are bounded, too. */
  async servers(): Promise<Send[]> {
    const servers = await this.guard(this.#driver.servers());
    return servers.map((send) => (command, key) => this.guard(send(command, key)));
  }

  /** Removes the timer: calls without an answer are not bounded any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** @param isGrace once, so that calls are bounded also in a process that is always late */
  #arm(due: number | undefined = this.#calls.first?.end, isGrace = false): void {
    if (due === undefined) return;
    this.#timer = this.#clock.after(due - this.#clock.now(), (firedAt) => {
      this.#timer = undefined;
      if (!isGrace && firedAt - due > BLOCKED) return this.#arm(firedAt + GRACE, true);
      for (const call of this.#calls) {
        if (call.end > firedAt) break;
        this.isSilent = true;
        call.failed(undefined);
      }
      this.#arm();
    });
  }

  /**
   * @internal Why a call failed, if known. A client that stops waiting by itself says less than its connection's
   * latest error.
   *
   * @param error undefined if it took too long for us
   */
  reasonFor(error: unknown): unknown {
    const { complaint } = this.#driver;
    // A connection that complains of being closed was not closed by its user, and may be opened again.
    const why = isClosed(complaint) ? new Error("the connection was lost", { cause: complaint }) : complaint;
    const said = error === undefined ? "" : messageOf(error);
    if (said === "") return why ?? new Error(`no answer within ${COMMAND_LIMIT} ms`, { cause: error });
    return error === complaint || GAVE_UP.test(said) ? (why ?? error) : error;
  }
}

class BoundedCall implements Caller<unknown>, Queued<BoundedCall> {
  readonly end: number;
  before: BoundedCall | undefined;
  behind: BoundedCall | undefined;
  readonly #limit: TimeLimit;
  readonly #caller: Caller<never>;

  constructor(limit: TimeLimit, end: number, caller: Caller<never>) {
    this.#limit = limit;
    this.end = end;
    this.#caller = caller;
  }

  answered(answer: unknown): void {
    this.#limit.isSilent = false;
    if (this.#limit.ended(this)) this.#caller.answered(answer as never);
  }

  failed(error: unknown): void {
    if (this.#limit.ended(this)) this.#caller.failed(schemeError(this.#limit.reasonFor(error)));
  }
}

/** Messages of clients that stop waiting by themselves. */
const GAVE_UP = /^(Command timed out|Reached the max retries per request limit)/;
