/** What the program of a client does: workers that ask for locks again and again, and write down what happens. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Lock, type LockManager, LockError, isLockLost } from "holdfast";
import type { Random } from "../../simulator/world/random.ts";
import { BUSY, JOB_KEPT, JOB_SLOT, QUIET, SEMAPHORES } from "../plan/plan.ts";
import { type Belief, type Journal, type Verb, now } from "./journal.ts";
import type { RegisterClient } from "./register.ts";
import type { ProgramMistake } from "./spec.ts";

/** How often a holder looks whether it still holds, and how long a worker rests after a failure, in milliseconds. */
const LOOK_EVERY = 20;
const REST = 50;

export interface Tools {
  readonly locks: LockManager;
  readonly journal: Pick<Journal, "add">;
  readonly register: Pick<RegisterClient, "read" | "write">;
  /** Semaphores and run-once jobs need one server. */
  readonly isRedlock: boolean;
  readonly ttl: number;
  readonly isAlone: boolean;
  readonly mistake: ProgramMistake | undefined;
  /** Deletes a key, whatever it holds: for a mistake. */
  del(key: string): Promise<unknown>;
}

interface Wanted {
  readonly verb: Verb;
  readonly lock: string;
  readonly mode: "exclusive" | "shared";
  readonly permits?: number;
  readonly alone?: true;
  readonly waitTimeout?: number;
  readonly abortAfter?: number;
  /** How long it works under the lock. */
  readonly hold: number;
}

export class Work {
  readonly #tools: Tools;
  #count = 0;
  #isOver = false;

  constructor(tools: Tools) {
    this.#tools = tools;
  }

  /** Ask for nothing more. */
  stop(): void {
    this.#isOver = true;
  }

  /** One worker, until `stop`. Half of them keep away from the busy locks, so that not all wait for a frozen holder. */
  async run(chances: Random): Promise<void> {
    const isQuiet = chances.chance(0.5);
    while (!this.#isOver) {
      const isFine = await this.#once(draw(chances, this.#tools, isQuiet));
      await sleep(isFine ? chances.spread(0.2, 10) : REST);
    }
  }

  /** Take all of everything once, and so clear away what the dead have left in the queues. */
  async sweep(): Promise<void> {
    const locks = [...BUSY, ...QUIET].map((lock): Wanted => ({ verb: "request", lock, mode: "exclusive", hold: 0 }));
    const semaphores = Object.entries(SEMAPHORES).map(([lock, permits]): Wanted => ({
      verb: "permits",
      lock,
      mode: "shared",
      permits,
      hold: 0,
    }));
    const all = this.#tools.isRedlock ? locks : [...locks, ...semaphores];
    await Promise.all(all.map((wanted) => this.#once(wanted)));
  }

  async #once(wanted: Wanted): Promise<boolean> {
    const r = this.#count++;
    const { journal, ttl, isAlone } = this.#tools;
    const { hold: _, ...asked } = wanted;
    journal.add({ e: "asked", r, ttl, ...asked, ...(isAlone ? { alone: true as const } : {}) });
    try {
      const how = await this.#attempt(r, wanted);
      journal.add({ e: "settled", r, how });
      return true;
    } catch (error) {
      const { how, message } = outcome(error);
      journal.add({ e: "settled", r, how, ...(message === undefined ? {} : { message }) });
      return how === "timeout" || how === "aborted";
    }
  }

  async #attempt(r: number, wanted: Wanted): Promise<string> {
    const { locks, journal } = this.#tools;
    const { verb, lock: name, mode, permits = 1, alone, waitTimeout, abortAfter, hold } = wanted;
    const waiting = {
      ...(alone ? { onWait: onceOnly(() => journal.add({ e: "queued", r })) } : {}),
      ...(waitTimeout === undefined ? {} : { waitTimeout }),
      ...(abortAfter === undefined ? {} : { signal: AbortSignal.timeout(abortAfter) }),
    };
    const during = (lock: Lock): Promise<void> => this.#hold(r, lock, hold);
    switch (verb) {
      case "request":
        await locks.request(name, { mode, ...waiting }, during);
        return "released";
      case "acquire":
        return this.#use(r, await locks.acquire(name, { mode, ...waiting }), hold);
      case "try": {
        const lock = await locks.tryAcquire(name, waitTimeout === undefined ? {} : { waitTimeout });
        return lock ? this.#use(r, lock, hold) : "busy";
      }
      case "permits":
        await locks.semaphore(name, SEMAPHORES[name] ?? 1).request({ permits, ...waiting }, during);
        return "released";
      case "once": {
        const terms = { atMost: 10_000, atLeast: JOB_KEPT };
        const { ran } = await locks.once(name, terms, during);
        return ran ? "ran" : "done elsewhere";
      }
    }
  }

  async #use(r: number, lock: Lock, hold: number): Promise<string> {
    await this.#hold(r, lock, hold);
    const { mistake } = this.#tools;
    if (mistake === "never releases" && this.#count % 50 === 0) return "kept";
    if (mistake === "releases without a token") await this.#tools.del(`lock:${lock.name}`);
    return (await lock.release()) ? "released" : "lost";
  }

  async #hold(r: number, lock: Lock, hold: number): Promise<void> {
    const { journal, register, mistake } = this.#tools;
    const believe = (): Belief =>
      mistake === "ignores losses" ? { held: true, left: 0 } : { held: lock.held, left: Math.floor(lock.remaining) };
    const note = (e: "sampled" | "leaving"): boolean => {
      const t = now(); // first, so that what is believed afterwards was believed then, too
      const belief = believe();
      journal.add({ e, r, ...belief }, t);
      return belief.held;
    };
    const begun = now();
    journal.add({ e: "granted", r, fence: lock.fence, token: lock.token, ...believe() }, begun);
    const guarded = lock.mode === "exclusive" ? await register.read(lock) : undefined;
    for (let left = hold; left > 0; left = begun + hold - now()) {
      await sleep(Math.min(left, LOOK_EVERY));
      if (left > LOOK_EVERY && !note("sampled")) break;
    }
    if (guarded !== undefined) await register.write(lock, guarded);
    note("leaving");
  }
}

function draw(chances: Random, { isRedlock, ttl }: Tools, isQuiet: boolean): Wanted {
  const verbs = { request: 6, acquire: 4, try: 2 };
  const verb = chances.weighted<Verb>(isRedlock ? verbs : { ...verbs, permits: 3, once: 0.1 });
  const hold = chances.chance(0.015) ? chances.spread(20, 1.5 * ttl) : chances.spread(0.05, 8);
  if (verb === "once") return { verb, lock: `job ${Math.floor(Date.now() / JOB_SLOT)}`, mode: "exclusive", hold };
  const wait: { waitTimeout?: number; abortAfter?: number } = {};
  if (chances.chance(0.1)) wait.waitTimeout = Math.round(chances.spread(5, 5_000));
  if (verb === "try") {
    return { verb, lock: drawLock(chances, isQuiet), mode: "exclusive", hold, ...wait };
  }
  if (chances.chance(0.05)) wait.abortAfter = Math.round(chances.spread(5, 5_000));
  const alone = chances.chance(0.2) ? { alone: true as const } : {};
  if (verb === "permits") {
    const lock = chances.pick(Object.keys(SEMAPHORES));
    const permits = 1 + chances.below(SEMAPHORES[lock] ?? 1);
    return { verb, lock, mode: "shared", permits, hold, ...alone, ...wait };
  }
  const mode = chances.chance(0.2) ? ("shared" as const) : ("exclusive" as const);
  return { verb, lock: drawLock(chances, isQuiet), mode, hold, ...alone, ...wait };
}

function drawLock(chances: Random, isQuiet: boolean): string {
  return chances.pick(isQuiet || chances.chance(0.2) ? QUIET : BUSY);
}

function outcome(error: unknown): { how: string; message?: string } {
  if (isLockLost(error)) return { how: "lost", message: String(error) };
  if (error instanceof LockError) {
    return error.code === "timeout" ? { how: "timeout" } : { how: error.code, message: error.message };
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return { how: "aborted" };
  return { how: "unknown", message: String(error) };
}

function onceOnly(act: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) act();
    isDone = true;
  };
}
