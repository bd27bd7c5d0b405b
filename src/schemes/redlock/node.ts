/** One of several independent servers: what it is asked, and what it is owed while it does not answer. */
import { report } from "../../caller.ts";
import type { Caller } from "../../caller.ts";
import type { Clock, Timer } from "../../clock.ts";
import type { Driver, Script, ScriptStrings, Subscription } from "../../drivers/driver.ts";
import { runScript, sendCall } from "../../drivers/run-script.ts";
import { messageOf, schemeError } from "../../drivers/server-errors.ts";
import { COMMAND_LIMIT, TimeLimit } from "../../drivers/time-limit.ts";
import { LockError, SchemeError } from "../../errors.ts";
import { Queue } from "../../queue.ts";
import { Batches, inRuns } from "../batches.ts";
import { channelPrefix, nodeKey } from "../keys.ts";
import { Call, callOf, mayShare } from "./call.ts";
import type { Item, Kind } from "./call.ts";
import { Debts } from "./debts.ts";
import type { Debt } from "./debts.ts";

/** A node whose oldest question has not been answered for this long is asked nothing more until it answers a probe. */
export const SILENT_AFTER = 500;
/** Pauses between probes that fail at once. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1_000;
/** This many questions wait for it to be met again. */
const MOST_HELD = 1_000;

/** What has been asked so far must be heard of before a lease that may be forgotten; see marks.ts. */
export interface Meeting {
  /** Find out whether its votes count, and with which mark. Rejects if they do not count. */
  meet(node: Node): Promise<string>;
  /** Milliseconds for which they are known not to count, unless another manager sees to it; 0 if that is not known. */
  againIn(node: Node): number;
}

export interface NodeSettings {
  readonly prefix: string;
  readonly clientId: string;
}

export class Node {
  /** How it is called in messages. */
  readonly title: string;
  readonly driver: Driver;
  readonly limit: TimeLimit;
  readonly #clock: Clock;
  readonly #settings: NodeSettings;
  readonly #meeting: Meeting;
  readonly #node: string;
  readonly #channel: string;
  readonly #batches: Batches;
  readonly #lanes: Record<Kind, (item: Item) => void>;
  /** Calls that have not been answered, the oldest first. */
  readonly #out = new Queue<Call>();
  /** Its mark, as long as it is connected as it was when we met. */
  #mark = "";
  #drops = -1;
  /** Why it is not asked anything. */
  #trouble: unknown;
  #isProbing = false;
  /** When that began, and whether it has answered since. */
  #probedAt = 0;
  #hasAnswered = false;
  /** How often the connection had been lost when it was last probed. */
  #probed = -1;
  #pause = FIRST_PAUSE;
  #timer: Timer | undefined;
  #silence: Timer | undefined;
  #isSilent = false;
  /** Asked before it was met. */
  #held: { run(): void; failed(error: unknown): void }[] = [];
  readonly #owed: Debts;
  #subscription: Subscription | undefined;
  #isClosed = false;
  /** It did not answer in time of late: others are asked first until then. */
  lagsUntil: number = -Infinity;
  /** How often it has been heard again. */
  risen = 0;

  constructor(title: string, driver: Driver, clock: Clock, settings: NodeSettings, meeting: Meeting) {
    this.title = title;
    this.driver = driver;
    this.#clock = clock;
    this.#settings = settings;
    this.#meeting = meeting;
    this.#node = nodeKey(settings.prefix);
    this.#channel = channelPrefix(settings.prefix);
    this.#owed = new Debts(clock);
    this.limit = new TimeLimit(clock, driver);
    this.#batches = new Batches((run) => driver.together(run));
    // Leases first; and what is given up frees room for what is asked for.
    const lanes = {} as Record<Kind, (item: Item) => void>;
    for (const kind of ["renew", "keep", "handover", "release", "seize", "ask", "take"] as const) {
      const send = (items: Item[]): void => this.#send(kind, items);
      const alike = mayShare(kind);
      lanes[kind] = this.#batches.lane((items) => inRuns(items, alike, send));
    }
    this.#lanes = lanes;
  }

  /** Its votes count, as far as is known without asking. */
  get counts(): boolean {
    return this.#drops === this.driver.drops && this.#trouble === undefined;
  }

  /** Why it is not asked anything at present. */
  get trouble(): unknown {
    return this.#trouble;
  }

  /** It is not asked anything, because it did not answer; it may answer now. */
  get isAway(): boolean {
    return isUnreachable(this.#trouble);
  }

  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** True while its pushes arrive. */
  get listens(): boolean {
    return this.#subscription?.up ?? false;
  }

  /** Put a question. What the client may have sent to a server that has forgotten is answered with a failure. */
  ask(kind: Exclude<Kind, "release">, item: Item): void {
    if (this.#trouble !== undefined && item.insists !== true) return refuse(item, this.#trouble);
    if (this.counts) return this.#lanes[kind](item);
    if (this.#held.length >= MOST_HELD) return refuse(item, silent(SILENT_AFTER));
    this.#held.push({ run: () => !item.isOver && this.ask(kind, item), failed: (error) => item.failed(error) });
    this.#probe();
  }

  /**
   * It was met before, and its connection was lost since: find out at once whether it remembers, while others know. If
   * it does not, later is soon enough.
   */
  look(): void {
    const { drops } = this.driver;
    if (this.#drops < 0 || this.#drops === drops) return;
    if (this.#probed !== drops || this.#meeting.againIn(this) === 0) this.#probe();
  }

  /** Drop a token, behind all that was asked for it, or once the node is back. If sending it fails, the item owes it. */
  release(item: Item & Debt): void {
    if (this.#trouble === undefined) return this.#lanes.release(item);
    const { keys, args, token, until } = item;
    this.owe({ keys, args, token, until });
    refuse(item, this.#trouble);
  }

  /** It has not heard of that: tell it once it is back. */
  owe(debt: Debt): void {
    if (this.#owed.add(debt) && this.#trouble === undefined) this.#later();
  }

  flush(): void {
    this.#batches.flush();
  }

  /** Sends one command, within the time limit. */
  async send(command: readonly string[]): Promise<unknown> {
    const reply = await this.limit.guard(this.driver.send(command));
    this.#hasAnswered = true;
    return reply;
  }

  /** A script that is about no lock, or writes nothing. */
  run<K extends ScriptStrings, A extends ScriptStrings>(
    script: Script<K, A>,
    items: { readonly keys: readonly string[]; readonly args: readonly string[] },
  ): Promise<unknown[]> {
    return this.limit.guard(runScript(this.driver, script, { keys: [] as never, args: [] as never }, items));
  }

  /** Resolves when it has been met. */
  met(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.counts) return resolve();
      this.#held.push({ run: resolve, failed: reject });
      this.#probe();
    });
  }

  /** Hear what is pushed to this manager. */
  listen(message: (text: string) => void, up: () => void): void {
    if (this.#isClosed) return;
    this.#subscription ??= this.driver.subscribe(this.#channel + this.#settings.clientId, {
      message,
      up: () => {
        this.risen++;
        up();
      },
    });
  }

  /**
   * Wait until it has heard what it is owed, within the time limit; and until it has been met, if it is not away: it may
   * be that all managers end early, and none would ever have it counted again.
   */
  async settled(): Promise<void> {
    const end = this.#clock.now() + COMMAND_LIMIT;
    while ((this.#out.size + this.#owed.size > 0 || this.#isBeingMet) && this.#clock.now() < end) {
      if (this.#trouble === undefined) this.#pay();
      await new Promise<void>((resolve) => void this.#clock.after(20, () => resolve(), true));
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#silence?.cancel();
    this.#owed.take();
    for (const held of this.#held.splice(0))
      held.failed(this.#trouble ?? new LockError("closed", "The LockManager was closed."));
    this.#subscription?.close();
    this.limit.close();
    this.driver.close();
  }

  /** A timer, because this process may have been blocked: then it reads first what arrived meanwhile. */
  #heed(): void {
    this.#silence ??= this.#clock.after(SILENT_AFTER, () => {
      this.#silence = undefined;
      const { first } = this.#out;
      this.#isSilent = first !== undefined && this.#clock.now() - first.sentAt >= SILENT_AFTER;
      if (this.#isSilent && this.#trouble === undefined) this.#leave(silent(SILENT_AFTER));
      if (first && !this.#isClosed) this.#heed();
    });
  }

  #send(kind: Kind, all: Item[]): void {
    const items = all.some(({ isOver }) => isOver) ? all.filter(({ isOver }) => !isOver) : all;
    if (items.length === 0) return;
    for (const item of items) item.isSent = true;
    const words = callOf(kind, items, { key: this.#node, mark: this.#mark, channel: this.#channel });
    const call = new Call(this, kind, items, this.#clock.now());
    this.#out.add(call);
    this.#heed();
    sendCall(this.driver, words, this.limit.bound(call));
  }

  /** @internal An answer counts only if it comes from the server that we know. */
  answered(call: Call, answer: unknown): void {
    this.#out.remove(call);
    const forgot = hasForgotten(answer);
    if (forgot) this.forgot();
    if (this.#drops === this.driver.drops || call.kind === "release" || forgot) return call.tell(answer);
    if (this.#trouble !== undefined) return call.fail(this.#trouble);
    this.#held.push({ run: () => call.tell(answer), failed: (error) => call.fail(error) });
    this.#probe();
  }

  /** @internal */
  failed(call: Call, error: unknown): void {
    this.#out.remove(call);
    const cause = schemeError(error);
    if (messageOf(error).includes("FORGOT")) this.forgot();
    // Perhaps only the connection was lost: what is asked now waits until that is known.
    else if (cause.code === "unreachable") this.forgot();
    call.fail(cause);
  }

  /** It may have another mark by now, or none. */
  forgot(): void {
    this.#drops = -1;
    this.#probe();
  }

  /** Ask it nothing until it answers. */
  #leave(trouble: unknown): void {
    this.#trouble = trouble;
    for (const held of this.#held.splice(0)) held.failed(trouble);
    this.#probe();
  }

  /** @param isSecond the first failed because the connection was lost on the way, which says nothing of the new one */
  #probe(isSecond = false): void {
    if (this.#isProbing || this.#isClosed) return;
    this.#isProbing = true;
    this.#probedAt = this.#clock.now();
    this.#hasAnswered = false;
    const { drops } = this.driver;
    this.#probed = drops;
    this.#meeting.meet(this).then(
      (mark) => {
        this.#isProbing = false;
        // The connection was lost meanwhile.
        if (drops !== this.driver.drops) return this.#probe();
        this.#mark = mark;
        this.#drops = drops;
        this.#trouble = undefined;
        this.#pause = FIRST_PAUSE;
        this.#pay();
        for (const held of this.#held.splice(0)) held.run();
      },
      (error: unknown) => {
        this.#isProbing = false;
        if (drops !== this.driver.drops && !isSecond) return this.#probe(true);
        this.#leaveFor(schemeError(error));
      },
    );
  }

  /** And is not away, as far as is known: it has answered, or has had little time to. */
  get #isBeingMet(): boolean {
    if (!this.#isProbing || this.#hasAnswered) return this.#isProbing;
    return this.driver.complaint === undefined && this.#clock.now() - this.#probedAt < SILENT_AFTER;
  }

  #leaveFor(trouble: SchemeError): void {
    this.#trouble = trouble;
    for (const held of this.#held.splice(0)) held.failed(trouble);
    this.#later();
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  #later(): void {
    if (this.#isClosed) return;
    const left = this.#meeting.againIn(this);
    this.#timer ??= this.#clock.after(left > 0 ? Math.min(left, this.#pause) : this.#pause, () => {
      this.#timer = undefined;
      if (this.#trouble === undefined) this.#pay();
      else this.#probe();
    });
  }

  #pay(): void {
    for (const debt of this.#owed.take()) {
      const { keys, args } = debt;
      this.#lanes.release({ keys, args, isOver: false, answered: () => {}, failed: () => this.owe(debt) });
    }
  }
}

/** One of the items says so, and so do all. */
function hasForgotten(answer: unknown): boolean {
  const [first] = Array.isArray(answer) ? (answer as unknown[]) : [];
  return Array.isArray(first) && String(first[0]) === "ERR" && String(first[1]).includes("FORGOT");
}

/** What fails at once fails when the call has returned, as all callers rely on. */
function refuse(caller: Caller<never>, error: unknown): void {
  report(Promise.reject(error as Error), caller);
}

function silent(time: number): SchemeError {
  return new SchemeError("unreachable", `It has not answered for ${time} ms.`, [], true);
}

/** The server may be there again, if it is asked again. */
export function isUnreachable(trouble: unknown): boolean {
  return trouble instanceof SchemeError && trouble.code === "unreachable";
}
