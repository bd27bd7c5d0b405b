/** A scheme whose every answer the test writes itself, with time that moves by hand. */
import { report } from "../../src/caller.ts";
import type { Caller } from "../../src/caller.ts";
import { LONGEST_TIMER, type Timer } from "../../src/clock.ts";
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
} from "../../src/schemes/scheme.ts";
import { MemoryStore } from "../../src/schemes/memory.ts";
import { ManualClock } from "../../src/testing.ts";
import { deferred } from "./locks.ts";

/** Cuts long timers short, as the clock of the system does. */
export class CuttingClock extends ManualClock {
  override after(delay: number, run: (firedAt: number) => void): Timer {
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

/** A question as it was asked: later changes do not show. */
export type Asked = LockRequest & Pick<Question, "wait" | "ticket" | "waiting" | "fences">;

export class ScriptedScheme implements Scheme {
  readonly name = "lua";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly acquires: Calls<Asked, Answer>;
  readonly steals: Calls<LockRequest, Answer>;
  readonly extends: Calls<Grant & { ttl: number }, Extension>;
  /** Answered with "released" at once unless told otherwise. */
  readonly releases: Calls<Pick<LockRequest, "lock" | "token">, Release>;
  listener!: PushListener;
  /** Until it resolves, nothing that is asked leaves the process. */
  leaving: Promise<void> = Promise.resolve();
  /** What `hearing` says. */
  heard: number | undefined = 0;
  closed = false;

  constructor(clock: ManualClock) {
    this.acquires = new Calls(clock);
    this.steals = new Calls(clock);
    this.extends = new Calls(clock);
    this.releases = new Calls(clock, () => "released");
  }

  written(): Promise<void> {
    return this.leaving;
  }

  acquire(question: Question): void {
    question.isSent = true;
    report(this.acquires.call(asked(question)), question);
  }

  steal(request: LockRequest): Promise<Answer> {
    return this.steals.call(plain(request));
  }

  extend(grant: Grant, ttl: number, _wish: unknown, caller: Caller<Extension>): void {
    report(this.extends.call({ ...grant, ttl }), caller);
  }

  release(farewell: Farewell): void {
    const { lock, token } = farewell;
    report(this.releases.call({ lock, token }), farewell);
  }

  /** Answered as a release is. */
  keep({ lock, token }: Grant): Promise<Release> {
    return this.releases.call({ lock, token });
  }

  handOver(_grant: Grant, heir: LockRequest): Promise<Answer> {
    return this.acquires.call({ ...plain(heir), wait: false, ticket: undefined, waiting: 1, fences: 1 });
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

  hearing(): number | undefined {
    return this.heard;
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** The server is gone: nothing that is out is answered any more, and nothing that comes. */
  end(): void {
    for (const calls of [this.acquires, this.steals, this.extends, this.releases]) {
      calls.always = () => {
        throw new Error("The server is gone.");
      };
      for (const call of calls.all) call.fail(new Error("The server is gone."));
    }
  }
}

function plain(request: LockRequest): LockRequest {
  const { lock, token, mode, ttl, label, permits, limit, maxQueue, durability } = request;
  return { lock, token, mode, ttl, label, permits, limit, maxQueue, durability };
}

function asked(question: Question): Asked {
  const { wait, ticket, waiting, fences } = question;
  return { ...plain(question), wait, ticket, waiting, fences };
}

/** What a manager is given in place of a client; it takes its clock from it. */
export class ScriptedStore extends MemoryStore {
  readonly scheme: ScriptedScheme;

  constructor(clock: ManualClock) {
    super(clock);
    this.scheme = new ScriptedScheme(clock);
  }
}
