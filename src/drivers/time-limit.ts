import type { Clock, Timer } from "../clock.ts";
import type { Driver, Send } from "./driver.ts";
import { isClosed, messageOf, schemeError } from "./server-errors.ts";

/** A command that has not been answered for this long has failed: clients queue without end while they reconnect. */
export const COMMAND_LIMIT = 5_000;

/** Bounds the time that calls may take, with one timer for all of them. */
export class TimeLimit {
  readonly #clock: Clock;
  readonly #driver: Driver;
  /** In the order of their deadlines, which is the order in which they were added. */
  readonly #calls = new Set<{ readonly end: number; readonly fail: () => void }>();
  #timer: Timer | undefined;
  /** The latest call that was answered, or should have been, was not. */
  isSilent = false;

  constructor(clock: Clock, driver: Driver) {
    this.#clock = clock;
    this.#driver = driver;
  }

  /** Settles as the call does, or rejects with a SchemeError when the call fails or takes too long. */
  guard<T>(call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = (error?: unknown): void => reject(schemeError(this.#reasonFor(error)));
      const entry = { end: this.#clock.now() + COMMAND_LIMIT, fail };
      this.#calls.add(entry);
      this.#arm();
      call.then(
        (value) => {
          this.#calls.delete(entry);
          this.isSilent = false;
          resolve(value);
        },
        (error: unknown) => {
          this.#calls.delete(entry);
          fail(error);
        },
      );
    });
  }

  /** Each server that keeps keys; what is sent to it is bounded, too. */
  async servers(): Promise<Send[]> {
    const servers = await this.guard(this.#driver.servers());
    return servers.map((send) => (command, key) => this.guard(send(command, key)));
  }

  /** Keep no timer: calls that are still out are not bounded any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    const [first] = this.#calls;
    if (this.#timer || !first) return;
    this.#timer = this.#clock.after(first.end - this.#clock.now(), () => {
      this.#timer = undefined;
      for (const call of this.#calls) {
        if (call.end > this.#clock.now()) break;
        this.#calls.delete(call);
        this.isSilent = true;
        call.fail();
      }
      this.#arm();
    });
  }

  /**
   * Why a call failed, as far as is known. A client that stops waiting by itself says less than its connection
   * complained of.
   *
   * @param error undefined if it took too long for us
   */
  #reasonFor(error: unknown): unknown {
    const { complaint } = this.#driver;
    // A connection that complains of being closed was not closed by its user, and may be opened again.
    const why = isClosed(complaint) ? new Error("the connection was lost", { cause: complaint }) : complaint;
    const said = error === undefined ? "" : messageOf(error);
    if (said === "") return why ?? new Error(`no answer within ${COMMAND_LIMIT} ms`, { cause: error });
    return error === complaint || GAVE_UP.test(said) ? (why ?? error) : error;
  }
}

/** What clients say that stop waiting by themselves. */
const GAVE_UP = /^(Command timed out|Reached the max retries per request limit)/;
