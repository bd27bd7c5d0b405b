/** A scheme whose every answer the test writes itself, with time that moves by hand. */
import { LONGEST_TIMER, type Timer } from "../../src/clock.ts";
import type {
  Answer,
  Extension,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Scheme,
} from "../../src/schemes/scheme.ts";
import { MemoryStore } from "../../src/schemes/memory.ts";
import { ManualClock } from "../../src/testing.ts";
import { deferred } from "./locks.ts";

/** Cuts long timers short, as the clock of the system does. */
export class CuttingClock extends ManualClock {
  override after(delay: number, run: () => void): Timer {
    return super.after(Math.min(delay, LONGEST_TIMER), run);
  }
}

/** One call, when it was made, and how it is answered. */
export interface Call<What, Reply> {
  readonly what: What;
  readonly at: number;
  answer(reply: Reply): void;
  fail(error: unknown): void;
}

/** The calls of one verb, in order. With `always`, they are answered at once. */
export class Calls<What, Reply> {
  readonly all: Call<What, Reply>[] = [];
  always: ((what: What) => Reply) | undefined;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock, always?: (what: What) => Reply) {
    this.#clock = clock;
    this.always = always;
  }

  get count(): number {
    return this.all.length;
  }

  /** The latest call. */
  get last(): Call<What, Reply> {
    const last = this.all.at(-1);
    if (!last) throw new Error("It was not called.");
    return last;
  }

  call(what: What): Promise<Reply> {
    const { promise, resolve, reject } = deferred<Reply>();
    this.all.push({ what, at: this.#clock.now(), answer: resolve, fail: reject });
    if (this.always) {
      try {
        resolve(this.always(what));
      } catch (error) {
        reject(error);
      }
    }
    return promise;
  }
}

type Released = "released" | "gone" | "unsure";

export class ScriptedScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  /** Asked for, with `wait`. The request is copied, so that later changes do not show. */
  readonly acquires: Calls<LockRequest & { wait: boolean }, Answer>;
  readonly steals: Calls<LockRequest, Answer>;
  readonly extends: Calls<Grant & { ttl: number }, Extension>;
  /** Answered with "released" at once unless told otherwise. */
  readonly releases: Calls<Pick<LockRequest, "lock" | "token">, Released>;
  listener!: PushListener;
  closed = false;

  constructor(clock: ManualClock) {
    this.acquires = new Calls(clock);
    this.steals = new Calls(clock);
    this.extends = new Calls(clock);
    this.releases = new Calls(clock, () => "released");
  }

  acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    return this.acquires.call({ ...request, wait });
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.steals.call({ ...request });
  }

  extend(grant: Grant, ttl: number): Promise<Extension> {
    return this.extends.call({ ...grant, ttl });
  }

  release({ lock, token }: Pick<LockRequest, "lock" | "token">): Promise<Released> {
    return this.releases.call({ lock, token });
  }

  /** Answered as a release is. */
  keep({ lock, token }: Grant): Promise<Released> {
    return this.releases.call({ lock, token });
  }

  detach(grant: Grant): Grant {
    return grant;
  }

  handOver(_grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.acquires.call({ ...heir, wait: false });
  }

  evict(_lock: string, _holder: HolderState): Promise<boolean> {
    return Promise.resolve(false);
  }

  query(): Promise<LockState[]> {
    return Promise.resolve([]);
  }

  listen(listener: PushListener): void {
    this.listener = listener;
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** What a manager is given in place of a client; it takes its clock from it. */
export class ScriptedStore extends MemoryStore {
  readonly scheme: ScriptedScheme;

  constructor(clock: ManualClock) {
    super(clock);
    this.scheme = new ScriptedScheme(clock);
  }
}
