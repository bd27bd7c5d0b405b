/** Processes that take turns at one lock, and what must hold after each of their operations. */
import assert from "node:assert/strict";
import type { LockOptions } from "../../src/index.ts";
import { down, NAME, type Process, TurnsStage, type Wish } from "./turns.ts";

interface Asked {
  readonly wish: Wish;
  readonly by: Process;
  readonly mode: "exclusive" | "shared";
  readonly thief: boolean;
}

export class TurnsWorld {
  readonly stage = new TurnsStage();
  readonly #processes: Process[] = [this.stage.process(1), this.stage.process(3), this.stage.process(16)];
  /** In the order of asking. */
  readonly #asked: Asked[] = [];
  readonly #crashed = new Set<Process>();
  /** Those whose answers were held back at some time. */
  readonly #late = new Set<Process>();
  readonly #answers = new Map<Process, () => void>();
  #count = 0;

  async acquire(index: number, { mode, ...terms }: LockOptions & Pick<Asked, "mode">, many: number): Promise<void> {
    const by = this.#processAt(index);
    const names = Array.from({ length: many }, () => `w${this.#count++}`);
    const options = { ...terms, mode };
    // Asked for first and looked at later: the clock may let them be granted already.
    const wishes = await this.stage.asks(by, names, options);
    for (const wish of wishes) this.#asked.push({ wish, by, mode, thief: false });
    this.#check();
  }

  async steal(index: number): Promise<void> {
    const by = this.#processAt(index);
    const wish = await this.stage.ask(by, `w${this.#count++}`, { steal: true, ttl: 600 });
    this.#asked.push({ wish, by, mode: "exclusive", thief: true });
    this.#check();
  }

  async release(index: number): Promise<void> {
    const wish = pick(this.#holders, index)?.wish;
    void wish?.release();
    await this.pass(0);
  }

  async abort(index: number): Promise<void> {
    pick(
      this.#asked.filter(({ wish, by }) => !wish.lock && !wish.over && !this.#crashed.has(by)),
      index,
    )?.wish.abort();
    await this.pass(0);
  }

  async extend(index: number, ttl: number): Promise<void> {
    pick(this.#holders, index)
      ?.wish.lock?.extend(ttl)
      .catch(() => {});
    await this.pass(0);
  }

  async forceRelease(index: number): Promise<void> {
    this.#processAt(index)
      .locks.forceRelease(NAME)
      .catch(() => {});
    await this.pass(0);
  }

  /** The answers to a process's questions stay out, until this is done again. */
  async holdAnswers(index: number): Promise<void> {
    const process = this.#processAt(index);
    this.#late.add(process);
    const answer = this.#answers.get(process);
    answer?.();
    if (answer) this.#answers.delete(process);
    else this.#answers.set(process, process.scheme.holdAnswers());
    await this.pass(0);
  }

  /** A process does not reach the server for a moment. */
  async fail(index: number): Promise<void> {
    const process = this.#processAt(index);
    const { scheme } = process;
    // Each waits for itself, and whoever cannot claim its grant in time loses its rank.
    if (process.turn === 1) this.#late.add(process);
    scheme.fault = down();
    await this.pass(1_000);
    scheme.fault = undefined;
    await this.pass(0);
  }

  /** A process is gone without a word; another one takes its seat. */
  async crash(index: number): Promise<void> {
    const process = this.#processAt(index);
    await process.scheme.crash();
    this.#crashed.add(process);
    this.#processes.splice(this.#processes.indexOf(process), 1, this.stage.process(2));
    await this.pass(0);
  }

  async pass(milliseconds: number): Promise<void> {
    await this.stage.clock.advance(milliseconds);
    this.#check();
  }

  /** Everybody who lives and has not left is served, and nothing is left. */
  async end(): Promise<void> {
    for (const answer of this.#answers.values()) answer();
    for (let round = 0; round < 400; round++) {
      for (const { wish } of this.#holders) void wish.release();
      for (const { wish } of this.#asked) if (wish.lock && !wish.over) void wish.release();
      await this.pass(this.#waiting.length > 0 ? 200 : 0);
      if (this.#waiting.length === 0 && this.#holders.length === 0) break;
    }
    assert.deepEqual(
      this.#waiting.map(({ wish }) => wish.name),
      [],
      "not served",
    );
    for (const { scheme } of this.#processes) assert.equal(scheme.out, 0, "questions out");
    await this.pass(70_000);
    // Those who crashed in the queue are cleared away by whoever comes next.
    const last = await this.#processAt(0).locks.tryAcquire(NAME);
    assert(last, "the lock is free in the end");
    await last.release();
    assert.deepEqual(this.stage.store.keys, [], "left in the store");
    await Promise.all(this.#processes.map(({ locks }) => locks.close()));
  }

  /** Of processes that live; of others nobody can tell. */
  get #living(): Asked[] {
    return this.#asked.filter(({ by }) => !this.#crashed.has(by));
  }

  get #holders(): Asked[] {
    return this.#living.filter(({ wish }) => wish.held);
  }

  get #waiting(): Asked[] {
    return this.#living.filter(({ wish }) => !wish.lock && !wish.over);
  }

  #check(): void {
    const holders = this.#holders;
    const exclusive = holders.filter(({ mode }) => mode === "exclusive");
    const names = (all: Asked[]): string => all.map(({ wish }) => wish.name).join(", ");
    assert(exclusive.length === 0 || holders.length === 1, `hold at the same time: ${names(holders)}`);

    const asked = new Map(this.#asked.map((each) => [each.wish, each]));
    const came = this.stage.granted
      .flatMap((wish) => (wish.came ? (asked.get(wish) ?? []) : []))
      .filter(({ by }) => !this.#crashed.has(by));
    const fences = came.map(({ wish }) => wish.lock?.fence ?? 0);
    assert.equal(new Set(fences).size, fences.length, "fences are drawn once");
    this.#inOrder(came, "has a smaller fence than", ({ wish }) => wish.lock?.fence ?? 0);
    for (const process of this.#processes) {
      // Answers that come too late cost a request its rank, and thieves have none.
      if (this.#late.has(process)) continue;
      const own = came.filter(({ by, thief }) => by === process && !thief);
      this.#inOrder(own, "came earlier than", ({ wish }) => this.#asked.findIndex((each) => each.wish === wish));
    }
  }

  /** Shared holders come together. */
  #inOrder(all: readonly Asked[], what: string, by: (asked: Asked) => number): void {
    for (const [i, each] of all.entries()) {
      const before = all[i - 1];
      if (!before || (each.mode === "shared" && before.mode === "shared")) continue;
      assert(by(each) > by(before), `${each.wish.name} ${what} ${before.wish.name}, which was granted before it`);
    }
  }

  #processAt(index: number): Process {
    return this.#processes[index % this.#processes.length] as Process;
  }
}

function pick<T>(all: readonly T[], index: number): T | undefined {
  return all[all.length - 1 - (index % all.length)];
}
