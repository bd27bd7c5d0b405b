import type { Event, World } from "./world.ts";
import type { Random } from "./random.ts";

/** How a process's own clock runs. */
export interface ClockTerms {
  /** Milliseconds of the process in a millisecond of the world. */
  readonly rate: number;
  /** How far its wall clock is from the world's, in milliseconds. */
  readonly offset: number;
}

/** What a callback of the event loop costs, in milliseconds of the world. */
const STEP = 0.02;
/** How often a process is stopped for a moment in the midst of its own code, in readings of its clock. */
const LONGEST_HITCH = 400;
/** 2030, in milliseconds since 1970. */
export const EPOCH = 1_893_456_000_000;

let current: Process | undefined;

/** The process whose code runs now. Undefined: the simulator's own. */
export function currentProcess(): Process | undefined {
  return current;
}

function enter(process: Process): void {
  current = process;
}

/**
 * Runs what the callback before it has started: ticks, then promises. Node does that when a callback of its own event
 * loop ends; to go through that loop each time would be most of the simulator's work.
 */
const settle = (process as unknown as { readonly _tickCallback: () => void })["_tickCallback"];

export interface ProcessTimer {
  readonly due: number;
  readonly order: number;
  run: (() => void) | undefined;
}

type Phase = "timers" | "input" | "immediates";

/**
 * One simulated process: an event loop with a clock of its own. It runs timers, then what its connections have
 * received, then immediates, as libuv does; each callback is one event of the world, with all its ticks and promises.
 */
export class Process {
  readonly name: string;
  readonly random: Random;
  readonly #world: World;
  readonly #terms: ClockTerms;
  /** Where its event loop waits: before timers, as libuv did up to 1.44, or before input. */
  readonly #rest: Phase;
  readonly #born: number;
  /** How long its machine has slept, during which its clock stood still; and since when it sleeps. */
  #slept = 0;
  #asleepSince: number | undefined;
  /** How far the callback that runs now is ahead of the world, because it took its time. */
  #ahead = 0;
  #busyUntil = 0;
  readonly #blocks: { readonly at: number; readonly time: number }[] = [];
  #state: "running" | "frozen" | "dead" = "running";
  #timers: ProcessTimer[] = [];
  #input: (() => void)[] = [];
  #immediates: { run: (() => void) | undefined }[] = [];
  #phase: Phase;
  /** How many of the phase were there when it began. */
  #left = 0;
  #loopTime = 0;
  #isResting = true;
  #order = 0;
  #uuids = 0;
  #wake: Event | undefined;
  #isStepping = false;
  /** The latest random bytes, in base64url. */
  lastDrawn = "";
  /** How likely each reading of the clock is to be followed by a hitch. */
  hitches = 0;
  /** Called after each callback of its event loop, as a part of it. */
  onStep: ((wasInput: boolean) => void) | undefined;

  constructor(world: World, name: string, random: Random, terms: ClockTerms) {
    this.#world = world;
    this.name = name;
    this.random = random;
    this.#terms = terms;
    this.#born = world.now;
    this.#rest = random.chance(0.5) ? "timers" : "input";
    this.#phase = this.#rest;
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }

  /** It would run if there were something to do. */
  get isRunning(): boolean {
    return this.#state === "running" && this.#busyUntil <= this.#world.now;
  }

  get isAsleep(): boolean {
    return this.#asleepSince !== undefined;
  }

  /** The world's time as far as its code has come. */
  get time(): number {
    return this.#world.now + this.#ahead;
  }

  /** Its clock has stood still at least once. */
  get hasSlept(): boolean {
    return this.#slept > 0 || this.isAsleep;
  }

  get localNow(): number {
    return this.local(this.#world.now);
  }

  /** Look at something as its own code would, without a step of its event loop. */
  inside<T>(look: () => T): T {
    const { hitches } = this;
    const before = current;
    enter(this);
    this.hitches = 0;
    try {
      return look();
    } finally {
      current = before;
      this.hitches = hitches;
    }
  }

  get pendingTimers(): number {
    return this.#timers.filter(({ run }) => run).length + this.#immediates.filter(({ run }) => run).length;
  }

  /** The time on its monotonic clock when the world's is that. */
  local(time: number): number {
    const awake =
      (this.#asleepSince === undefined ? time : Math.min(time, this.#asleepSince)) - this.#born - this.#slept;
    return awake * this.#terms.rate;
  }

  /** When its clock will show that, unless it sleeps. */
  timeOf(local: number): number {
    return this.#born + this.#slept + local / this.#terms.rate;
  }

  /** Read the monotonic clock. A process may be stopped for a while before it acts on what it has read. */
  monotonic(): number {
    const now = this.local(this.time);
    if (this.hitches > 0 && this.random.chance(this.hitches)) this.block(this.random.spread(0.1, LONGEST_HITCH));
    return now;
  }

  wall(): number {
    return Math.floor(EPOCH + this.#terms.offset + this.time * this.#terms.rate);
  }

  /** Its code takes that long, in the world's milliseconds, without returning to the event loop. */
  block(time: number): void {
    this.#blocks.push({ at: this.time, time });
    this.#ahead += time;
  }

  /** For how long its code ran between those times of the world without returning to the event loop. */
  blockedBetween(from: number, until: number): number {
    let sum = 0;
    for (const { at, time } of this.#blocks) if (at <= until && at + time >= from) sum += time;
    return sum;
  }

  setTimeout(run: () => void, delay: number): ProcessTimer {
    const due = this.local(this.time) + Math.max(1, delay);
    const timer: ProcessTimer = { due, order: this.#order++, run };
    this.#timers.push(timer);
    this.#arm();
    return timer;
  }

  clearTimeout(timer: ProcessTimer): void {
    timer.run = undefined;
    const at = this.#timers.indexOf(timer);
    if (at >= 0) this.#timers.splice(at, 1);
  }

  /** Random bytes. The latest are remembered: a manager's tokens begin with those it has drawn. */
  bytes(size: number): Buffer {
    const bytes = this.random.bytes(size);
    this.lastDrawn = bytes.toString("base64url");
    return bytes;
  }

  uuid(): string {
    const digits = this.random.fork(`uuid ${this.#uuids++}`).bytes(16).toString("hex");
    return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  setImmediate(run: () => void): { run: (() => void) | undefined } {
    const entry = { run };
    this.#immediates.push(entry);
    this.#arm();
    return entry;
  }

  /** Something has arrived on one of its connections. */
  receive(run: () => void): void {
    if (this.#state === "dead") return;
    this.#input.push(run);
    this.#arm();
  }

  /** As SIGSTOP. Its clock goes on. */
  freeze(): void {
    if (this.#state === "running") this.#state = "frozen";
  }

  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    if (this.#asleepSince !== undefined) this.#slept += this.#world.now - this.#asleepSince;
    this.#asleepSince = undefined;
    this.#wake?.cancel();
    this.#wake = undefined;
    this.#arm();
  }

  /** Its machine sleeps: nothing runs, and on Linux the monotonic clock stands still. */
  sleep(): void {
    if (this.#state !== "running") return;
    this.#state = "frozen";
    this.#asleepSince = this.#world.now;
  }

  /** As SIGKILL. */
  kill(): void {
    this.#state = "dead";
    this.#wake?.cancel();
    this.#timers = [];
    this.#input = [];
    this.#immediates = [];
  }

  /** See to it that it is woken when it next has something to do. */
  #arm(): void {
    if (this.#state !== "running" || this.#isStepping) return;
    const at = Math.max(this.#nextDue(), this.#busyUntil);
    if (at === Infinity || (this.#wake && this.#wake.at <= at)) return;
    this.#wake?.cancel();
    this.#wake = this.#world.at(at, () => this.#step());
  }

  #nextDue(): number {
    if (this.#input.length > 0 || this.#immediates.length > 0) return this.#world.now;
    let due = Infinity;
    for (const timer of this.#timers) due = Math.min(due, timer.due);
    return due === Infinity ? due : this.timeOf(due);
  }

  /** One callback, with everything that follows from it. */
  #step(): void {
    this.#wake = undefined;
    if (this.#state !== "running") return;
    const run = this.#next();
    const wasInput = this.#phase === "input";
    if (run) {
      this.#isStepping = true;
      enter(this);
      try {
        run();
        settle();
        if (this.onStep) {
          const timers = this.#timers.length;
          this.onStep(wasInput);
          if (wasInput || timers !== this.#timers.length) settle();
        }
      } finally {
        current = undefined;
        this.#isStepping = false;
      }
      this.#busyUntil = this.#world.now + this.#ahead + STEP;
      this.#ahead = 0;
    }
    this.#arm();
  }

  /** What the event loop runs next: its phases in turn, and in each what was there when it began. */
  #next(): (() => void) | undefined {
    if (this.#isResting) this.#enter(this.#rest);
    this.#isResting = false;
    for (let turns = 0; turns < 3; turns++) {
      if (this.#phase === "timers") {
        const timer = this.#takeDue();
        if (timer) return timer;
        this.#enter("input");
      }
      if (this.#phase === "input") {
        if (this.#left-- > 0) return this.#input.shift();
        this.#enter("immediates");
      }
      while (this.#left-- > 0) {
        const run = this.#immediates.shift()?.run;
        if (run) return run;
      }
      this.#enter("timers");
    }
    this.#isResting = true;
    return undefined;
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    if (phase === "input") this.#left = this.#input.length;
    else if (phase === "immediates") this.#left = this.#immediates.length;
    // A hair's breadth later, because to compute when a timer is due rounds.
    else this.#loopTime = this.local(this.#world.now) + 1e-6;
  }

  #takeDue(): (() => void) | undefined {
    let first: ProcessTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.due > this.#loopTime) continue;
      if (!first || timer.due < first.due || (timer.due === first.due && timer.order < first.order)) first = timer;
    }
    if (!first) return undefined;
    this.#timers.splice(this.#timers.indexOf(first), 1);
    return first.run;
  }
}
