/** One of several independent servers: what it is asked, and what it is owed while it does not answer. */
import { report } from "../../caller.ts";
import type { Caller } from "../../caller.ts";
import type { Clock, Timer } from "../../clock.ts";
import type { Driver, Script, ScriptStrings, Subscription } from "../../drivers/driver.ts";
import { runScript, ScriptCall, sendCall } from "../../drivers/run-script.ts";
import { messageOf, schemeError } from "../../drivers/server-errors.ts";
import { COMMAND_LIMIT, TimeLimit } from "../../drivers/time-limit.ts";
import { SchemeError } from "../../errors.ts";
import { Queue } from "../../queue.ts";
import type { Queued } from "../../queue.ts";
import { Batches, inRuns } from "../batches.ts";
import { channelPrefix, nodeKey } from "../keys.ts";
import type { NodeKeys } from "../keys.ts";
import { Batch } from "../lua/calls.ts";
import { Debts } from "./debts.ts";
import type { Debt } from "./debts.ts";
import { ask, handover, keep, release, renew, seize, take } from "./scripts.generated.ts";

/** A node whose oldest question has not been answered for this long is asked nothing more until it answers a probe. */
export const SILENT_AFTER = 500;
/** Pauses between probes that fail at once. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1_000;
/** This many questions wait for it to be met again. */
const MOST_HELD = 1_000;

/** What a node is asked about one lock, by the name of the script. */
export interface Item extends Caller<unknown> {
  readonly keys: NodeKeys;
  /** As the script takes them. */
  readonly args: readonly string[];
  /** Nobody wants to know any more, unless it has been sent. */
  readonly isOver: boolean;
  /** If the node did not answer of late, find out first whether it does now. */
  readonly insists?: boolean;
  /** Written when it is sent. */
  isSent?: boolean;
}

/** What has been asked so far must be heard of before a lease that may be forgotten; see marks.ts. */
export interface Meeting {
  /** Find out whether its votes count, and with which mark. Rejects if they do not count. */
  meet(node: Node): Promise<string>;
}

export interface NodeSettings {
  readonly prefix: string;
  readonly clientId: string;
}

type Kind = "take" | "ask" | "renew" | "keep" | "handover" | "release" | "seize";

const SCRIPTS: Record<Kind, Script<ScriptStrings, ScriptStrings>> = {
  take,
  ask,
  renew,
  keep,
  handover,
  release,
  seize,
};

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
      lanes[kind] = this.#batches.lane((items) => inRuns(items, kind === "take" ? alike : always, this.#send(kind)));
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

  /** It was met before, and its connection was lost since: find out at once whether it remembers, while others know. */
  look(): void {
    if (this.#drops >= 0 && this.#drops !== this.driver.drops) this.#probe();
  }

  /** Drop a token, behind all that was asked for it; if the node does not hear it, once it is back. */
  release(item: Item & Debt): void {
    if (this.#trouble !== undefined) {
      this.#owe(item);
      return refuse(item, this.#trouble);
    }
    this.#lanes.release({
      keys: item.keys,
      args: item.args,
      isOver: false,
      answered: (reply) => item.answered(reply),
      failed: (error) => {
        this.#owe(item);
        item.failed(error);
      },
    });
  }

  #owe(debt: Debt): void {
    if (this.#owed.add(debt) && this.#trouble === undefined) this.#later();
  }

  flush(): void {
    this.#batches.flush();
  }

  /** Sends one command, within the time limit. */
  send(command: readonly string[]): Promise<unknown> {
    return this.limit.guard(this.driver.send(command));
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

  /** Wait until it has heard what it is owed, within the time limit. */
  async settled(): Promise<void> {
    const end = this.#clock.now() + COMMAND_LIMIT;
    while (this.#out.size + this.#owed.size > 0 && this.#clock.now() < end) {
      if (this.#trouble === undefined) this.#pay();
      await new Promise<void>((resolve) => void this.#clock.after(20, () => resolve(), true));
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#silence?.cancel();
    this.#owed.take();
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

  readonly #send =
    (kind: Kind) =>
    (all: Item[]): void => {
      const items = all.filter((item) => !item.isOver);
      const [first] = items;
      if (!first) return;
      for (const item of items) item.isSent = true;
      const width = kind === "take" ? 3 : 5;
      const [common, from] = kind === "take" ? [first.args.slice(0, 2), 2] : [[], 0];
      const args = items.flatMap((item) => item.args.slice(from));
      const channel = kind === "take" ? [] : [this.#channel];
      const mark = kind === "release" ? [] : [this.#mark];
      const head = [...mark, ...channel, ...common];
      const call = new ScriptCall(SCRIPTS[kind], 1 + width * items.length, head.length + args.length);
      call.add(this.#node);
      for (const { keys } of items) {
        if (kind === "take") call.addAll([keys[0], keys[1], keys[3]]);
        else call.addAll(keys);
      }
      call.addAll(head);
      call.addAll(args);
      const batch = new Batch<Item, unknown>(items, (_, reply) => reply);
      sendCall(this.driver, call, this.limit.bound(new Call(this, batch, this.#clock.now(), kind !== "release")));
    };

  /** @internal */
  sent(call: Call): void {
    this.#out.add(call);
    this.#heed();
  }

  /** @internal An answer counts only if it comes from the server that we know. */
  answered(call: Call, answer: unknown, batch: Batch<Item, unknown>): void {
    this.#out.remove(call);
    if (hasForgotten(answer)) this.forgot();
    if (this.#drops === this.driver.drops || !call.isVote || hasForgotten(answer)) return batch.answered(answer);
    if (this.#trouble !== undefined) return batch.failed(this.#trouble);
    this.#held.push({ run: () => batch.answered(answer), failed: (error) => batch.failed(error) });
    this.#probe();
  }

  /** @internal */
  failed(call: Call, error: unknown, batch: Batch<Item, unknown>): void {
    this.#out.remove(call);
    const cause = schemeError(error);
    if (messageOf(error).includes("FORGOT")) this.forgot();
    // Perhaps only the connection was lost: what is asked now waits until that is known.
    else if (cause.code === "unreachable") this.forgot();
    batch.failed(cause);
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
    const { drops } = this.driver;
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

  #leaveFor(trouble: SchemeError): void {
    this.#trouble = trouble;
    for (const held of this.#held.splice(0)) held.failed(trouble);
    this.#later();
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }

  #later(): void {
    if (this.#isClosed) return;
    this.#timer ??= this.#clock.after(this.#pause, () => {
      this.#timer = undefined;
      if (this.#trouble === undefined) this.#pay();
      else this.#probe();
    });
  }

  #pay(): void {
    for (const { keys, args, token, until } of this.#owed.take()) {
      this.release({ keys, args, token, until, isOver: false, answered() {}, failed() {} });
    }
  }
}

/** A call that is out. */
class Call implements Caller<unknown>, Queued<Call> {
  readonly sentAt: number;
  readonly isVote: boolean;
  before: Call | undefined;
  behind: Call | undefined;
  readonly #node: Node;
  readonly #batch: Batch<Item, unknown>;

  constructor(node: Node, batch: Batch<Item, unknown>, sentAt: number, isVote: boolean) {
    this.#node = node;
    this.#batch = batch;
    this.sentAt = sentAt;
    this.isVote = isVote;
    node.sent(this);
  }

  answered(answer: unknown): void {
    this.#node.answered(this, answer, this.#batch);
  }

  failed(error: unknown): void {
    this.#node.failed(this, error, this.#batch);
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

function alike(a: Item, b: Item): boolean {
  return a.args[0] === b.args[0] && a.args[1] === b.args[1];
}

function always(): boolean {
  return true;
}
