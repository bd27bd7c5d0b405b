/** One round: the workers, what is done to them, and the count of what came of it. */
import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "./crew.ts";
import type { Report, Spot, Turn } from "./protocol.ts";
import type { Shared } from "./record.ts";

export interface Tally {
  /** Increments that the workers were told to have succeeded. */
  expected: number;
  /** What the record says in the end. */
  actual: number;
  /** Turns in which another worker was inside already. */
  overlaps: number;
  /** Writes that the record took although the writer's lease was over. */
  lateTaken: number;
  /** Writes that the record refused by their fence. */
  refused: number;
  /** Turns whose worker was told by its lock that the lease had ended. */
  told: number;
  /** Locks that were removed by somebody who did not hold them. */
  wronglyRemoved: number;
  readonly waits: number[];
  seconds: number;
}

/** Far more than any step takes; a demo that hangs helps nobody. */
const PATIENCE = 30_000;
/** How long a holder is watched to see whether somebody else gets in. */
const WATCH = 200;

export class Round {
  readonly tally: Tally = {
    expected: 0,
    actual: 0,
    overlaps: 0,
    lateTaken: 0,
    refused: 0,
    told: 0,
    wronglyRemoved: 0,
    waits: [],
    seconds: 0,
  };
  readonly #shared: Shared;
  readonly #workers: readonly Worker[];
  readonly #increments: number;
  readonly #say: (line: string) => void;
  readonly #ready = new Set<Worker>();
  readonly #lingering = new Set<Worker>();
  readonly #done = new Set<Worker>();
  readonly #turns = new Map<Worker, Turn[]>();
  readonly #news = new EventEmitter();
  #failure: Error | undefined;
  #started = 0;

  constructor(shared: Shared, workers: readonly Worker[], increments: number, say: (line: string) => void) {
    this.#shared = shared;
    this.#workers = workers;
    this.#increments = increments;
    this.#say = say;
    for (const worker of workers) {
      this.#turns.set(worker, []);
      worker.on("report", (report: Report) => this.#hear(worker, report));
      worker.on("failed", (error: Error) => this.#fail(error));
    }
  }

  /** @param accidents what happens to the workers meanwhile */
  async play(accidents: (round: Round) => Promise<void>): Promise<Tally> {
    await this.#shared.reset(this.#increments);
    await this.#until("all workers are ready", () => this.#ready.size === this.#workers.length);
    this.#started = performance.now();
    this.#tellAll({ kind: "start" });
    await accidents(this);
    await this.#until("all workers are done", () => this.#done.size === this.#workers.length);
    this.tally.seconds = (performance.now() - this.#started) / 1000;
    this.tally.actual = (await this.#shared.read()) ?? Number.NaN;
    this.#event(`${this.tally.expected} increments have been made; the record says ${this.tally.actual}`);
    return this.tally;
  }

  async killHolder(): Promise<void> {
    await this.#untilMade(Math.floor(this.#increments / 5));
    const victim = await this.#catchHolder("read");
    victim.kill();
    await this.#shared.leave(victim.id);
    await this.#shared.putBack();
    this.#done.add(victim);
    this.#event(`worker ${victim.id} is killed (SIGKILL) while it holds the lock`);
    const killed = performance.now();
    await this.#untilMade(this.tally.expected + 1);
    this.#event(`its lease has ended: after ${seconds(killed)} the others go on`);
  }

  async freezeHolder(): Promise<void> {
    await this.#untilMade(Math.floor(this.#increments / 2));
    const frozen = await this.#catchHolder("read");
    frozen.freeze();
    frozen.tell({ kind: "go on" });
    await this.#shared.leave(frozen.id); // it does nothing as long as it is stopped
    this.#event(`worker ${frozen.id} is stopped (SIGSTOP) while it holds, between read and write`);
    const since = this.tally.expected;
    await this.#untilMade(since + Math.floor(this.#increments / 8));
    const holder = await this.#catchHolder("written");
    this.#event(`its lease has ended; the others have made ${this.tally.expected - since} increments since`);
    const turns = this.#turns.get(frozen)?.length ?? 0;
    frozen.thaw();
    this.#event(`worker ${frozen.id} is continued (SIGCONT) while worker ${holder.id} holds the lock`);
    await this.#until("the continued worker is done", () => this.#turns.get(frozen)?.[turns] !== undefined);
    this.#tellLateTurn(frozen, this.#turns.get(frozen)?.[turns] as Turn);
    await this.#watch(holder);
    holder.tell({ kind: "go on" });
  }

  #tellLateTurn(worker: Worker, turn: Turn): void {
    const age = `${(turn.took / 1000).toFixed(1)} s`;
    const fate = turn.written ? "taken, over all newer ones" : "refused, its fence is too old";
    this.#event(`worker ${worker.id} writes what it read ${age} ago: ${fate}`);
    if (turn.told) this.#event(`worker ${worker.id} is told by its lock that it was late: ${turn.told}`);
    if (turn.wronglyRemoved) this.#event(`worker ${worker.id} unlocks: its DEL removes the lock of somebody else`);
  }

  async #watch(holder: Worker): Promise<void> {
    const { overlaps } = this.tally;
    await sleep(WATCH);
    const came = this.tally.overlaps - overlaps;
    const others = came === 0 ? "nobody else comes in" : `others come in ${came} times`;
    this.#event(`worker ${holder.id} holds on for ${WATCH} ms: ${others}`);
  }

  /** Whoever has the lock next keeps it, there in its turn, until told to go on. */
  async #catchHolder(at: Spot): Promise<Worker> {
    this.#lingering.clear();
    this.#tellAll({ kind: "linger", at });
    await this.#until("a worker holds the lock", () => this.#lingering.size > 0);
    const [holder] = this.#lingering;
    for (const worker of this.#workers) if (worker !== holder) worker.tell({ kind: "go on" });
    return holder as Worker;
  }

  #tellAll(order: Parameters<Worker["tell"]>[0]): void {
    for (const worker of this.#workers) worker.tell(order);
  }

  #hear(worker: Worker, report: Report): void {
    if (report.kind === "ready") this.#ready.add(worker);
    else if (report.kind === "lingering") this.#lingering.add(worker);
    else if (report.kind === "done") this.#done.add(worker);
    else this.#count(worker, report.turn);
    this.#news.emit("news");
  }

  #count(worker: Worker, turn: Turn): void {
    this.#turns.get(worker)?.push(turn);
    const { tally } = this;
    tally.waits.push(turn.waited);
    if (turn.written) tally.expected++;
    else tally.refused++;
    if (turn.written && turn.late) tally.lateTaken++;
    if (turn.others > 0) tally.overlaps++;
    if (turn.told) tally.told++;
    if (turn.wronglyRemoved) tally.wronglyRemoved++;
  }

  #untilMade(increments: number): Promise<void> {
    return this.#until(`${increments} increments are made`, () => this.tally.expected >= increments);
  }

  /** Nothing that is waited for here comes true without a report. */
  async #until(what: string, isTrue: () => boolean): Promise<void> {
    // It also keeps the process running, which holdfast's own timers do not.
    const patience = setTimeout(() => {
      this.#fail(new Error(`Waited ${PATIENCE / 1000} s until ${what}; it did not happen.`));
    }, PATIENCE);
    try {
      while (!isTrue()) {
        if (this.#failure) throw this.#failure;
        await once(this.#news, "news");
      }
    } finally {
      clearTimeout(patience);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#news.emit("news");
  }

  #event(text: string): void {
    this.#say(`${seconds(this.#started).padStart(8)}  ${text}`);
  }
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(2)} s`;
}
