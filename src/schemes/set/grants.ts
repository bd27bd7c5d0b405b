/**
 * Takes locks: all that are requested in one turn of the event loop, and share a counter, in one MULTI. It sets each
 * key unless it is there (`SET key token NX PX ttl`), and draws the fences in the same atomic step. So a later holder
 * of a lock has the larger fence.
 */
import type { Clock } from "../../clock.ts";
import type { Driver } from "../../drivers/driver.ts";
import { proofOf, reachedIn, transactProven } from "../../drivers/proof.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import type { TimeLimit } from "../../drivers/time-limit.ts";
import type { Durability, Wish } from "../../durability.ts";
import type { Home } from "../keys.ts";
import { Groups } from "./groups.ts";
import { Fences } from "./fences.ts";
import { inParts } from "./parts.ts";
import { integerOf, isDone, listOf, textOf } from "./replies.ts";

/** How a request may take the lock. */
export type Manner =
  /** If the key is not there. */
  | "free"
  /** The same, and it looks at the key, too: whether it holds already, and for how long the key is there. */
  | "look"
  /** Even if another holds it. */
  | "steal";

/** The outcome. */
export type Taken =
  | { readonly fence: number; readonly until: number; readonly durability: Durability | undefined }
  /** Somebody else's; and for how many milliseconds it is, or a negative number if that is not known. */
  | { readonly fence?: undefined; readonly left: number }
  /** The key holds no string, says the server. */
  | { readonly fence?: undefined; readonly left?: undefined; readonly refusal: Error };

/** What is requested. */
interface Wanted {
  readonly key: string;
  readonly home: Home;
  readonly manner: Manner;
  readonly token: string;
  readonly ttl: number;
  /** How many fences in a row. */
  readonly fences: number;
  readonly durability: Wish | undefined;
}

/** The same, on its way. */
interface Attempt extends Wanted {
  resolve(taken: Taken): void;
  reject(error: unknown): void;
}

/** An attempt that has succeeded, if its fence may be used. */
interface Success {
  readonly attempt: Attempt;
  readonly fence: number;
  readonly until: number;
}

export class Grants {
  readonly #driver: Driver;
  readonly #clock: Clock;
  readonly #limit: TimeLimit;
  readonly #fences: Fences;
  readonly #groups: Groups<Attempt>;
  /** By token: commands without an answer yet. The server may still execute them after we stopped waiting. */
  readonly #out = new Map<string, Promise<unknown>>();

  constructor(driver: Driver, clock: Clock, limit: TimeLimit) {
    this.#driver = driver;
    this.#clock = clock;
    this.#limit = limit;
    this.#fences = new Fences(clock);
    this.#groups = new Groups({
      together: (run) => driver.together(run),
      send: (attempts) => inParts(attempts, (some) => this.#send(some)),
      // While a server waits for acknowledgements, it does nothing else for that connection.
      isAlone: ([first]) => first?.durability !== undefined,
    });
  }

  take({ key, home, manner, token, ttl, fences, durability }: Wanted): Promise<Taken> {
    const proof = proofOf(durability);
    return new Promise((resolve, reject) => {
      const attempt = { key, home, manner, token, ttl, fences, durability, resolve, reject };
      this.#groups.add(proof ? `${home.counter} ${proof}` : home.counter, attempt);
    });
  }

  /** Draws a fence for a lock that the caller knows to be held. */
  async draw(key: string, home: Home): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const sentAt = this.#clock.now();
      const call = this.#driver.transaction(this.#fences.commands(home, 1), key);
      const drawn = this.#fences.read(carriedOut(await this.#limit.guard(call)), 1, sentAt);
      if (!drawn.isLate || attempt === 2) return drawn.first;
    }
  }

  /** Resolves when everything sent for this token has an answer, of any kind. Undefined if nothing is unanswered. */
  landed(token: string): Promise<unknown> | undefined {
    const out = this.#out.get(token);
    return out && this.#limit.guard(out.catch(() => {}));
  }

  async #send(attempts: readonly Attempt[]): Promise<void> {
    const [{ home, key, durability }] = attempts as [Attempt];
    const count = fencesOf(attempts);
    const commands = attempts.flatMap(commandsOf).concat(this.#fences.commands(home, count));
    const proof = proofOf(durability);
    const sentAt = this.#clock.now();
    const call = proof ? transactProven(this.#driver, commands, key, proof) : this.#driver.transaction(commands, key);
    this.#remember(attempts, call);
    const replies = carriedOut(await this.#limit.guard(call));
    const reached = reachedIn(replies, durability);
    const done = proof ? replies.slice(0, -1) : replies;
    const drawn = this.#fences.read(done, count, sentAt);
    const successes = this.#judge(attempts, done, drawn.first, sentAt);
    if (successes.length === 0) return;
    await (drawn.isLate ? this.#drawAgain(successes, reached) : settle(successes, reached));
  }

  /** Settles what has not succeeded. */
  #judge(attempts: readonly Attempt[], replies: readonly unknown[], first: number, sentAt: number): Success[] {
    const successes: Success[] = [];
    let at = 0;
    let fence = first;
    for (const attempt of attempts) {
      const { manner, token, ttl, fences } = attempt;
      const [set, value, left] = replies.slice(at, at + (manner === "look" ? 3 : 1));
      try {
        const until = sentAt + ttl;
        if (isDone(set, "SET")) {
          successes.push({ attempt, fence, until });
        } else if (manner !== "look") {
          attempt.resolve({ left: -1 });
        } else if (value instanceof Error) {
          attempt.resolve({ refusal: value });
        } else if (textOf(value, "GET") === token) {
          // Asked again, because an answer or a proof did not come: the key has been there since then.
          successes.push({ attempt, fence, until: sentAt + integerOf(left, "PTTL") });
        } else {
          attempt.resolve({ left: integerOf(left, "PTTL") });
        }
      } catch (error) {
        attempt.reject(error);
      }
      at += manner === "look" ? 3 : 1;
      fence += fences;
    }
    return successes;
  }

  /**
   * These fences were too small. The next ones count if the locks are still held when they are drawn; a grant that is
   * over by then is given an end that has passed.
   */
  async #drawAgain(successes: readonly Success[], reached: Durability | undefined): Promise<void> {
    const attempts = successes.map(({ attempt }) => attempt);
    const [{ key, home }] = attempts as [Attempt];
    const count = fencesOf(attempts);
    const look = ["MGET", ...attempts.map((each) => each.key)];
    const sentAt = this.#clock.now();
    const call = this.#driver.transaction([look, ...this.#fences.commands(home, count)], key);
    const replies = carriedOut(await this.#limit.guard(call));
    const values = listOf(replies[0], "MGET", attempts.length);
    let { first } = this.#fences.read(replies, count, sentAt);
    const again = successes.map(({ attempt, until }, i) => {
      const isHeld = textOf(values[i], "MGET") === attempt.token;
      const success = { attempt, fence: first, until: isHeld ? until : sentAt };
      first += attempt.fences;
      return success;
    });
    settle(again, reached);
  }

  #remember(attempts: readonly Attempt[], call: Promise<unknown>): void {
    for (const { token } of attempts) this.#out.set(token, call);
    const answered = (): void => {
      for (const { token } of attempts) if (this.#out.get(token) === call) this.#out.delete(token);
    };
    call.then(answered, answered);
  }
}

function commandsOf({ key, manner, token, ttl }: Attempt): string[][] {
  const set = ["SET", key, token, "PX", String(ttl)];
  if (manner === "steal") return [set];
  set.push("NX");
  return manner === "free" ? [set] : [set, ["GET", key], ["PTTL", key]];
}

function fencesOf(attempts: readonly Attempt[]): number {
  let sum = 0;
  for (const { fences } of attempts) sum += fences;
  return sum;
}

function settle(successes: readonly Success[], durability: Durability | undefined): void {
  for (const { attempt, fence, until } of successes) attempt.resolve({ fence, until, durability });
}

function carriedOut(replies: unknown[] | null): unknown[] {
  if (replies) return replies;
  throw schemeError(new Error("MULTI was not carried out"));
}
