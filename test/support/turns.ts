/** Local turns over a memory store, with time that moves by hand: what several processes do, each with its manager. */
import { report } from "../../src/caller.ts";
import type { Caller } from "../../src/caller.ts";
import { expect } from "vitest";
import { SchemeError } from "../../src/errors.ts";
import { type Lock, LockManager, type LockOptions } from "../../src/index.ts";
import type { CheckedManagerOptions } from "../../src/options/manager.ts";
import type {
  Answer,
  Extension,
  Farewell,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Question,
  Release,
  Scheme,
  Selection,
} from "../../src/schemes/scheme.ts";
import { MemoryScheme, MemoryStore } from "../../src/schemes/memory.ts";
import type { SchemeSettings } from "../../src/schemes/index.ts";
import { ManualClock } from "../../src/testing.ts";
import { ask, extend, release } from "./calls.ts";
import { type Deferred, deferred } from "./locks.ts";

export const NAME = "a";

export const down = (): SchemeError => new SchemeError("unreachable", "down", [], true);

interface Call {
  readonly verb: "acquire" | "steal" | "extend" | "release" | "keep" | "handOver" | "evict" | "query";
  readonly token: string;
  readonly at: number;
}

/** Between the turns and the memory: counts calls, holds answers back, fails, and ends without a word. */
export class WatchedScheme implements Scheme {
  readonly name = "memory";
  readonly queues = true;
  readonly hasSemaphores = true;
  readonly hasTurns = true;
  readonly modes: ReadonlySet<LockMode>;
  /** What `hearing` says. */
  hears: number | undefined = 0;
  readonly calls: Call[] = [];
  /** Questions that are out now, and the most there ever were. */
  out = 0;
  mostOut = 0;
  /** Whether a push tells how long its grant lasts; else only a question makes a holder of it. */
  tells = false;
  /** While set, calls fail with it and do not arrive. */
  fault: Error | undefined;
  listener!: PushListener;
  readonly #scheme: MemoryScheme;
  readonly #store: TurnsStore;
  #delay = 0;
  #held: Deferred<void> | undefined;
  #crashed = false;

  constructor(scheme: MemoryScheme, store: TurnsStore) {
    this.modes = scheme.modes;
    this.#scheme = scheme;
    this.#store = store;
  }

  count(verb: Call["verb"]): number {
    return this.calls.filter((call) => call.verb === verb).length;
  }

  /** From now on questions arrive at once but their answers stay out, until the function is called. */
  holdAnswers(): () => void {
    const held = deferred();
    this.#held = held;
    return () => {
      this.#held = undefined;
      held.resolve();
    };
  }

  /** From now on each extension is answered so many milliseconds after it was asked for. */
  delayExtensions(delay: number): void {
    this.#delay = delay;
  }

  /** The process is gone: nothing that it still does arrives, and it hears nothing. */
  async crash(): Promise<void> {
    this.#crashed = true;
    await this.#scheme.close();
  }

  written(): Promise<void> {
    return Promise.resolve();
  }

  acquire(question: Question): void {
    question.isSent = true;
    report(this.#acquire(question), question);
  }

  async #acquire(question: Question): Promise<Answer> {
    this.mostOut = Math.max(this.mostOut, ++this.out);
    try {
      const { token, waiting, wait } = question;
      const answer = await this.#call("acquire", token, () => {
        this.#store.waiting.set(token, waiting);
        return ask(this.#scheme, question, wait);
      });
      await this.#held?.promise;
      return answer;
    } finally {
      this.out--;
    }
  }

  hearing(): number | undefined {
    return this.hears;
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.#call("steal", request.token, () => this.#scheme.steal(request));
  }

  extend(grant: Grant, ttl: number, _wish: unknown, caller: Caller<Extension>): void {
    report(
      this.#call("extend", grant.token, async () => {
        const extension = await extend(this.#scheme, grant, ttl);
        if (this.#delay > 0)
          await new Promise<void>((resolve) => this.#store.clock.after(this.#delay, () => resolve()));
        return extension;
      }),
      caller,
    );
  }

  downgrade(grant: Grant): Promise<Extension> {
    return this.#scheme.downgrade(grant);
  }

  release(farewell: Farewell): void {
    report(
      this.#call("release", farewell.token, () => release(this.#scheme, farewell)),
      farewell,
    );
  }

  keep(grant: Grant, ttl: number, label: string): Promise<Release> {
    return this.#call("keep", grant.token, () => this.#scheme.keep(grant, ttl, label));
  }

  handOver(grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.#call("handOver", grant.token, () => this.#scheme.handOver(grant, heir));
  }

  evict(lock: string, holder: HolderState): Promise<boolean> {
    return this.#call("evict", holder.token ?? "", () => this.#scheme.evict(lock, holder));
  }

  /** With the number of those at a place, which servers keep and memory does not. */
  async query(selection: Selection): Promise<LockState[]> {
    const states = await this.#call("query", "", () => this.#scheme.query(selection));
    const counted = (state: LockState): LockState["waiters"] =>
      state.waiters.map((waiter) => ({ ...waiter, waiting: this.#store.waiting.get(waiter.token) ?? 1 }));
    return states.map((state) => ({ ...state, waiters: counted(state) }));
  }

  listen(listener: PushListener): void {
    this.listener = listener;
    this.#scheme.listen({
      granted: (lock, token, fence, fences, since) =>
        listener.granted(lock, token, fence, fences, ...(this.tells && since !== undefined ? [since] : [])),
      next: (lock, token, remaining) => listener.next(lock, token, remaining),
      lost: (lock, token, fence) => listener.lost(lock, token, fence),
      missed: () => listener.missed(),
    });
  }

  close(): Promise<void> {
    return this.#scheme.close();
  }

  #call<T>(verb: Call["verb"], token: string, run: () => Promise<T>): Promise<T> {
    if (this.#crashed) return new Promise<never>(() => {});
    this.calls.push({ verb, token, at: this.#store.clock.now() });
    return this.fault ? Promise.reject(this.fault) : run();
  }
}

/** What a manager is given in place of a client, where `openScheme` asks it to {@link TurnsStore.open}. */
export class TurnsStore extends MemoryStore {
  readonly schemes: WatchedScheme[] = [];
  /** By token: how many wait at its place, as told last. */
  readonly waiting = new Map<string, number>();

  open(options: CheckedManagerOptions, { clientId, label }: SchemeSettings): Scheme {
    const watched = new WatchedScheme(new MemoryScheme(this, { prefix: options.prefix, clientId, label }), this);
    this.schemes.push(watched);
    return watched;
  }
}

export interface Process {
  readonly turn: number;
  readonly locks: LockManager;
  readonly scheme: WatchedScheme;
}

/** A request, and what became of it. */
export class Wish {
  readonly name: string;
  lock: Lock | undefined;
  error: unknown;
  over = false;
  /** Whether the lock was still held when it came. */
  came = false;
  readonly #controller = new AbortController();

  constructor(name: string) {
    this.name = name;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get held(): boolean {
    return this.lock?.held ?? false;
  }

  abort(): void {
    this.#controller.abort("enough");
  }

  release(): Promise<boolean> {
    this.over = true;
    return (this.lock as Lock).release();
  }
}

/** Processes on one store. Closed with {@link end} when the test is over. */
export class TurnsStage {
  readonly clock = new ManualClock();
  readonly store = new TurnsStore(this.clock);
  /** Whoever was granted the lock, in that order. */
  readonly granted: Wish[] = [];
  readonly #processes: Process[] = [];

  get order(): string[] {
    return this.granted.map(({ name }) => name);
  }

  process(turn = 16): Process {
    const locks = new LockManager(this.store, { turn, ttl: 10_000 });
    const process = { turn, locks, scheme: this.store.schemes.at(-1) as WatchedScheme };
    this.#processes.push(process);
    return process;
  }

  /** A process whose request has the lock, and how to let it go. */
  async blocked(options?: LockOptions): Promise<Wish> {
    const wish = await this.ask(this.process(), "blocker", options);
    expect(wish.held).toBe(true);
    this.granted.length = 0;
    return wish;
  }

  /** Requests of one process, in this order. */
  async asks(process: Process, names: readonly string[], options?: LockOptions): Promise<Wish[]> {
    const wishes = names.map((name) => this.#request(process, name, options));
    await this.clock.advance(0);
    return wishes;
  }

  async ask(process: Process, name: string, options?: LockOptions): Promise<Wish> {
    const [wish] = await this.asks(process, [name], options);
    return wish as Wish;
  }

  /** Let each holder hold for so long, until nobody is served any more. */
  async serve(each = 0): Promise<void> {
    for (;;) {
      await this.clock.advance(0);
      const holding = this.granted.filter(({ over }) => !over);
      if (holding.length === 0) return;
      await this.clock.advance(each);
      for (const wish of holding) void wish.release();
    }
  }

  /** Nothing may be left: no lock, no waiter, no timer. */
  async end(): Promise<void> {
    for (const { scheme } of this.#processes) scheme.fault = undefined;
    for (const { locks } of this.#processes) void locks.close();
    await this.clock.advance(0);
    expect(this.store.keys, "locks left in the store").toEqual([]);
    expect(this.clock.pending, "timers left").toBe(0);
  }

  #request({ locks }: Process, name: string, options?: LockOptions): Wish {
    const wish = new Wish(name);
    const signal = options?.steal ? {} : { signal: wish.signal };
    locks.acquire(NAME, { ...options, ...signal }).then(
      (lock) => {
        wish.lock = lock;
        wish.came = lock.held;
        this.granted.push(wish);
      },
      (error: unknown) => {
        wish.error = error;
        wish.over = true;
      },
    );
    return wish;
  }
}
