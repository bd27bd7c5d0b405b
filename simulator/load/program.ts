/** A program that uses the library: does what the plan says with its manager, and tells the checks what it believes. */
import type { LockManager } from "../../src/lock-manager.ts";
import type { Asker, HoldTerms } from "../checks/attempt.ts";
import { Attempt } from "../checks/attempt.ts";
import type { Hold } from "../checks/attempt.ts";
import type { Beliefs } from "../checks/beliefs.ts";
import type { History } from "../checks/history.ts";
import type { Verdict } from "../checks/verdict.ts";
import type { Waits } from "../checks/waits.ts";
import { LIMIT } from "../plan/plan.ts";
import type { Operation } from "../plan/plan.ts";

/** What checks the programs. */
export interface Checks {
  readonly history: History;
  readonly verdict: Verdict;
  readonly beliefs: Beliefs;
  readonly waits: Waits;
  /** Names an attempt. */
  nextId(): number;
  /** Whether a failure of that kind is no wonder, after what has gone wrong since then. */
  isExcused(attempt: Attempt, error: unknown): boolean;
}

/** Where programs send each other what they detach. */
export type Post = (to: string, after: number, receive: (program: Program) => void) => void;

/** What a lock, several locks and a term have in common. */
interface Held {
  readonly held: boolean;
  readonly remaining?: number;
  extend?(ttl?: number): Promise<void>;
  downgrade?(): Promise<void>;
}

type LockLike = Held & { readonly name: string; readonly fence: number; readonly token: string };

const sleep = (time: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, time));

export class Program {
  readonly asker: Asker;
  readonly manager: LockManager;
  readonly #checks: Checks;
  readonly #post: Post;
  readonly #holds = new Set<Hold>();
  get isClosed(): boolean {
    return this.asker.isClosed;
  }

  constructor(asker: Asker, manager: LockManager, checks: Checks, post: Post) {
    this.asker = asker;
    this.manager = manager;
    this.#checks = checks;
    this.#post = post;
  }

  /** Its process has run. */
  stepped(wasInput: boolean): void {
    for (const hold of this.#holds) this.#checks.beliefs.sample(hold, wasInput);
  }

  /** Never rejects. */
  async perform(operation: Operation): Promise<void> {
    const { process, name } = this.asker;
    const { history, waits } = this.#checks;
    const attempt = new Attempt(this.#checks.nextId(), this.asker, operation, process.time);
    const { do: verb, locks, ...options } = operation;
    history.add(name, () => `${attempt.label} ${verb} ${locks.join(" ")} ${JSON.stringify(options)}`);
    if (this.isClosed) return;
    waits.asked(attempt);
    let outcome = "is done";
    try {
      await this.#do(attempt);
    } catch (error) {
      outcome = `fails: ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`;
      if (!this.#checks.isExcused(attempt, error)) {
        this.#checks.verdict.fail("errors", `${name}${attempt.label} ${verb} ${locks.join(" ")} ${outcome}`);
      }
    }
    waits.settled(attempt);
    history.add(name, () => `${attempt.label} ${outcome}`);
  }

  async #do(attempt: Attempt): Promise<void> {
    const { operation } = attempt;
    const [name = ""] = operation.locks;
    switch (operation.do) {
      case "request":
        return this.manager.request(name, this.#terms(attempt), (lock) => this.#work(attempt, lock));
      case "acquire":
        return this.#keep(attempt, await this.manager.acquire(name, this.#terms(attempt)));
      case "try": {
        const options: Record<string, unknown> = this.#terms(attempt);
        const lock = await this.manager.tryAcquire(name, options);
        return lock ? this.#keep(attempt, lock) : undefined;
      }
      case "steal": {
        const options: Record<string, unknown> = { steal: true, ttl: operation.ttl };
        return this.manager.request(name, options, (lock) => this.#work(attempt, lock));
      }
      case "permits": {
        const { permits } = operation;
        const semaphore = this.manager.semaphore(name, LIMIT);
        return semaphore.request({ ...this.#terms(attempt), permits }, (lock) => this.#work(attempt, lock));
      }
      case "several":
        return this.#several(attempt);
      case "reenter":
        return this.manager.request(name, { ...this.#terms(attempt), reentrant: true }, async (lock) => {
          await this.#work(attempt, lock, () =>
            this.manager.request(name, { reentrant: true }, async () => sleep(operation.hold / 2)),
          );
        });
      case "elect":
        return this.#elect(attempt);
      case "once": {
        const { ttl, atLeast = 0 } = operation;
        const atMost = atMostOf(operation);
        const terms = { atMost, atLeast: Math.min(Math.ceil(atLeast), atMost), ttl };
        await this.manager.once(name, terms, (lock) => this.#work(attempt, lock));
        return;
      }
      case "hand over":
        return this.#handOver(attempt);
      case "query":
        await this.manager.query();
        return;
      case "force":
        await this.manager.forceRelease(name);
        return;
      case "close":
        return this.close(Math.ceil(operation.hold));
    }
  }

  async close(timeout: number): Promise<void> {
    this.asker.isClosed = true;
    await this.manager.close({ timeout });
  }

  /** Hold what another process has detached. */
  async attach(attempt: Attempt, detached: Parameters<LockManager["attach"]>[0]): Promise<void> {
    const { waits, history } = this.#checks;
    const { operation, id } = attempt;
    const mine = new Attempt(id, this.asker, { ...operation, do: "query" }, this.asker.process.time);
    history.add(this.asker.name, () => `${attempt.label} attaches ${detached.name}`);
    if (this.isClosed) return;
    waits.asked(mine);
    try {
      await this.#keep(mine, await this.manager.attach(detached));
    } catch (error) {
      history.add(this.asker.name, () => `${attempt.label} does not attach: ${String(error)}`);
      if ((error as { code?: string }).code !== "gone" && !this.#checks.isExcused(mine, error)) {
        this.#checks.verdict.fail("errors", `${this.asker.name}${attempt.label} cannot attach: ${String(error)}`);
      }
    }
    waits.settled(mine);
  }

  #terms(attempt: Attempt): Record<string, unknown> & { signal?: AbortSignal } {
    const { permits, ttl, waitTimeout, abortAfter, maxHold, renew, maxQueue, watches, label } = attempt.operation;
    const mode = permits === undefined ? attempt.operation.mode : undefined;
    const onWait = watches ? (): void => {} : undefined;
    return { mode, ttl, waitTimeout, maxHold, renew, maxQueue, label, onWait, ...this.#signal(attempt, abortAfter) };
  }

  #signal(attempt: Attempt, after: number | undefined): { signal?: AbortSignal } {
    if (after === undefined) return {};
    const abort = new AbortController();
    setTimeout(() => {
      if (attempt.settledAt !== undefined) return;
      attempt.abortedAt = this.asker.process.time;
      abort.abort(new DOMException("The program gave up.", "AbortError"));
    }, after);
    return { signal: abort.signal };
  }

  /** Until `release()`. */
  async #keep(attempt: Attempt, lock: LockLike & { release(): Promise<boolean> }): Promise<void> {
    try {
      await this.#work(attempt, lock);
    } finally {
      if (attempt.operation.deed === "forget") {
        // It leaves without a word: its lease is renewed until it is released after all, much later.
        await sleep(2_000);
      }
      await lock.release();
    }
  }

  async #work(attempt: Attempt, lock: LockLike, inside?: () => Promise<unknown>): Promise<void> {
    await this.#under(attempt, [this.#termsOf(attempt, lock, lock)], lock, inside);
  }

  async #several(attempt: Attempt): Promise<void> {
    await this.manager.request(attempt.operation.locks, this.#terms(attempt), async (locks) => {
      const terms = locks.names.map((name) => {
        const fence = locks.fences.get(name) ?? 0;
        const token = locks.tokens.get(name) ?? "";
        return this.#termsOf(attempt, locks, { name, fence, token });
      });
      await this.#under(attempt, terms, locks);
    });
  }

  #termsOf(
    attempt: Attempt,
    held: Held,
    { name, fence, token }: { readonly name: string; readonly fence: number; readonly token: string },
  ): HoldTerms {
    const { mode = "exclusive", permits } = attempt.operation;
    // A term says only whether it is held.
    const remaining = (): number => held.remaining ?? (held.held ? 1e-3 : 0);
    return { attempt, lock: name, mode, permits, fence, token, remaining };
  }

  /** What a program does under a lock: it reads what the lock guards, works, and writes. */
  async #under(
    attempt: Attempt,
    terms: readonly HoldTerms[],
    held: Held,
    inside?: () => Promise<unknown>,
  ): Promise<void> {
    const { beliefs, waits } = this.#checks;
    waits.begun(attempt);
    const { hold: time, deed, blockFor = 0 } = attempt.operation;
    const holds = terms.map((each) => beliefs.begin(each));
    for (const hold of holds) this.#holds.add(hold);
    const writes = attempt.operation.mode !== "shared" && attempt.operation.permits === undefined;
    try {
      const seen = holds.map((hold) => (writes ? beliefs.read(hold) : undefined));
      if (deed === "block") this.asker.process.block(blockFor);
      await sleep(time / 2);
      if (deed === "extend") await held.extend?.(attempt.operation.ttl);
      if (deed === "downgrade" && held.downgrade && writes) {
        for (const [i, hold] of holds.entries()) if (seen[i] !== undefined) beliefs.write(hold, seen[i]);
        seen.fill(undefined);
        // Others may be let in before the answer comes.
        for (const hold of holds) hold.mode = "shared";
        await held.downgrade();
      }
      await inside?.();
      await sleep(time / 2);
      for (const [i, hold] of holds.entries()) if (seen[i] !== undefined) beliefs.write(hold, seen[i]);
      if (deed === "throw") throw new Thrown();
    } finally {
      for (const hold of holds) {
        beliefs.end(hold, "leaves");
        this.#holds.delete(hold);
      }
    }
  }

  async #elect(attempt: Attempt): Promise<void> {
    const { ttl, hold, locks } = attempt.operation;
    const [name = ""] = locks;
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), 4 * hold);
    for await (const term of this.manager.elect(name, { signal: over.signal, ttl })) {
      await this.#work(attempt, term);
      break;
    }
    clearTimeout(timer);
  }

  async #handOver(attempt: Attempt): Promise<void> {
    const { heir = "", travel = 0, locks, hold } = attempt.operation;
    const [name = ""] = locks;
    const lock = await this.manager.acquire(name, this.#terms(attempt));
    let detached;
    try {
      this.#checks.waits.begun(attempt);
      const belief = this.#checks.beliefs.begin(this.#termsOf(attempt, lock, lock));
      this.#holds.add(belief);
      try {
        await sleep(hold / 2);
        detached = await lock.detach();
      } finally {
        this.#checks.beliefs.end(belief, "leaves");
        this.#holds.delete(belief);
      }
    } finally {
      if (!detached) await lock.release();
    }
    const given = detached;
    this.#post(heir, travel, (program) => void program.attach(attempt, given));
  }
}

/** How long a job may take. */
export function atMostOf({ hold }: Operation): number {
  return Math.ceil(4 * hold) + 1_000;
}

/** What a callback throws that is meant to. */
export class Thrown extends Error {
  override readonly name = "Thrown";
}
