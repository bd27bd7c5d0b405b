/** The nodes of one manager, and how all of them are asked about a lease. */
import { report } from "../../caller.ts";
import type { Caller } from "../../caller.ts";
import type { Clock, Timer } from "../../clock.ts";
import type { Driver, Send } from "../../drivers/driver.ts";
import { readList, readNumber, readText } from "../../drivers/replies.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import { COMMAND_LIMIT } from "../../drivers/time-limit.ts";
import type { NodeKeys } from "../keys.ts";
import { STALE_AFTER } from "../scheme.ts";
import type { Extension, HolderState, LockRequest, Release } from "../scheme.ts";
import type { Item } from "./call.ts";
import { judgeLeaving, Leave, Withdrawal } from "./leave.ts";
import { Marks } from "./marks.ts";
import { Node } from "./node.ts";
import type { NodeSettings } from "./node.ts";
import { Poll } from "./poll.ts";
import type { Vote } from "./poll.ts";
import { readRenewal } from "./replies.ts";
import { Tickets } from "./tickets.ts";
import { DECIDED_WITHIN, judgeRenewal, judgeVotes, noQuorum, quorumOf } from "./verdict.ts";
import type { Said } from "./verdict.ts";

/** The first request waits no longer than this for nodes to say who they are. */
const INTRODUCTION = 1_000;
/** And meets those that do not count yet again after that time, in milliseconds. */
const RETRY = 20;
/** Who did not answer in time is not asked first for that long. */
const LAGGING = 10_000;
/** A majority may take that many times what it usually takes before the rest is asked, too; in milliseconds at least. */
const PATIENCE = 3;
const LEAST_PATIENCE = 2;
const MOST_PATIENCE = 50;
/** How often connections that were lost are looked at, in milliseconds. */
const LOOK_INTERVAL = 250;
/** When a majority has told what is on it, the rest has this long. */
const GRACE = 100;
/** Fences are proposed so far ahead of our clock, in microseconds, that managers whose clocks differ propose alike. */
const LEAD = 1_000_000;
/** Beyond every clock, and far below what a number can hold. */
const HIGHEST_PROPOSAL = 8e15;

export interface FleetSettings extends NodeSettings {
  readonly ttl: number;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean;
}

/** A request, as far as all nodes are asked about it together. */
export interface Claimed extends Pick<LockRequest, "lock" | "token"> {
  readonly keys: NodeKeys;
  readonly request: LockRequest;
  /** How many fences its grant carries. */
  readonly fences: number;
  /** The last of them. */
  last: number;
  readonly isOver: boolean;
  /** What makes its lease longer at a node. */
  renewal(node: Node, ttl: number, caller: Caller<unknown>, how?: string): Item;
}

/** What is given up. */
interface Leaving {
  readonly keys: NodeKeys;
  readonly token: string;
  /** Its votes have won nothing: what they raised is put back. */
  readonly lost: boolean;
  readonly ttl: number;
  /** A node has answered. */
  readonly left?: (node: Node) => void;
}

export interface FleetEvents {
  granted(claim: Claimed, fence: number, since: number): void;
  /** It was refused, and must be dropped everywhere. */
  refused(token: string): void;
}

export class Fleet {
  readonly nodes: readonly Node[];
  readonly quorum: number;
  readonly clock: Clock;
  readonly tickets: Tickets = new Tickets();
  readonly #settings: FleetSettings;
  readonly #marks: Marks;
  readonly #events: FleetEvents;
  readonly #orders: readonly (readonly Node[])[];
  #laggingUntil = -Infinity;
  #introduction: Promise<void> | undefined;
  #isIntroduced = false;
  #isClosed = false;
  #looking: Timer | undefined;
  #lead = LEAD;
  #proposed = 0;
  /** How long a majority takes of late to answer. */
  #usual = 0;

  constructor(drivers: readonly Driver[], clock: Clock, settings: FleetSettings, events: FleetEvents) {
    this.clock = clock;
    this.#settings = settings;
    this.#events = events;
    this.#marks = new Marks(clock, settings);
    const title = (i: number): string => `node ${i + 1} of ${drivers.length}`;
    this.nodes = drivers.map((driver, i) => new Node(title(i), driver, clock, settings, this.#marks));
    this.#marks.nodes = this.nodes;
    this.quorum = quorumOf(drivers.length);
    this.#orders = this.nodes.map((_, i) => [...this.nodes.slice(i), ...this.nodes.slice(0, i)]);
  }

  /** A number that changes whenever a push of a majority may have been missed; undefined while none can be heard. */
  get hearing(): number | undefined {
    let up = 0;
    let changes = 0;
    for (const { listens, risen, driver } of this.nodes) {
      if (listens) up++;
      changes += risen + driver.drops;
    }
    return up >= this.quorum ? changes : undefined;
  }

  /** Larger than every fence that was proposed or drawn here. */
  propose(): number {
    const next = Math.max(this.#proposed + 1, Math.floor(this.clock.micros()) + this.#lead);
    this.#proposed = Math.min(next, HIGHEST_PROPOSAL);
    return this.#proposed;
  }

  /** A grant drew this fence. If it is beyond what we proposed, others' clocks are ahead of ours: we follow. */
  drawn(fence: number): void {
    if (fence <= this.#proposed) return;
    this.#lead += fence - this.#proposed;
    this.#proposed = fence;
  }

  /**
   * The same locks ask the same nodes first, whoever asks, so that votes are rarely split; different ones ask different
   * nodes, so that all have the same share of the work.
   */
  orderFor(lock: string): readonly Node[] {
    const order = this.#orders[hash(lock) % this.nodes.length] as readonly Node[];
    const now = this.clock.now();
    if (this.#laggingUntil <= now && this.nodes.every(({ counts }) => counts)) return order;
    const isLast = (node: Node): boolean => node.lagsUntil > now || node.trouble !== undefined;
    return [...order.filter((node) => !isLast(node)), ...order.filter(isLast)];
  }

  lags(node: Node): void {
    this.#laggingUntil = node.lagsUntil = this.clock.now() + LAGGING;
  }

  /** A majority has answered after that time. */
  took(time: number): void {
    this.#usual += (Math.min(time, MOST_PATIENCE) - this.#usual) / 8;
  }

  /** How long a majority may take before the rest is asked. */
  patience(ttl: number): number {
    const usual = Math.max(LEAST_PATIENCE, PATIENCE * this.#usual);
    return Math.min(usual, MOST_PATIENCE, this.limit(ttl) / 4);
  }

  /** How long a node may take to answer. */
  limit(ttl: number): number {
    const limit = this.#settings.nodeTimeout ?? Math.min(COMMAND_LIMIT, Math.max(ttl / 20, 100));
    return Math.max(10, Math.min(limit, ttl / 4, DECIDED_WITHIN));
  }

  /** Before anything is asked for that lasts that long. Undefined if there is nothing to wait for. */
  prepare(ttl: number): Promise<void> | undefined {
    if (ttl > this.#marks.largestTtl) this.#marks.largestTtl = ttl;
    for (const fault of this.#marks.faults.values()) if (this.#isIntroduced) return Promise.reject(fault);
    if (this.#isIntroduced) return undefined;
    return (this.#introduction ??= this.#introduce(ttl).finally(() => (this.#introduction = undefined)));
  }

  /** Too few nodes are known to be well: those that did not answer of late are asked as well, for they may answer now. */
  get #isShort(): boolean {
    return this.nodes.filter(({ trouble }) => trouble === undefined).length < this.quorum;
  }

  #askAll(kind: "renew" | "keep", itemFor: (node: Node) => Item): void {
    const isShort = this.#isShort;
    for (const node of this.nodes) node.ask(kind, Object.assign(itemFor(node), { insists: isShort && node.isAway }));
  }

  granted(claim: Claimed, fence: number, since: number): void {
    this.#events.granted(claim, fence, since);
  }

  giveUp(claim: Claimed): void {
    this.#events.refused(claim.token);
  }

  extend(claim: Claimed, ttl: number, caller: Caller<Extension>, how = ""): void {
    const { nodes, clock } = this;
    const askedAt = clock.now();
    const again = (): void => (claim.isOver ? caller.answered("gone") : this.extend(claim, ttl, caller));
    const poll = new Poll<Extension>(
      { nodes, all: nodes, limit: this.limit(ttl), clock, ...(how === "" && { again }) },
      (said) => {
        const verdict = judgeRenewal(said, nodes.length);
        if (verdict) this.took(clock.now() - askedAt);
        return verdict;
      },
      caller,
    );
    this.#askAll("renew", (node) => {
      const answered = (reply: unknown): void => poll.heard(node, readRenewal(node, reply));
      const failed = (cause: unknown): void => poll.heard(node, { kind: "failed", cause });
      return claim.renewal(node, ttl, { answered, failed }, how);
    });
  }

  /** Let what the claim holds end after exactly that time, under another label. */
  keep({ keys, token }: Claimed, ttl: number, label: string, caller: Caller<Release>): void {
    const { nodes, clock } = this;
    const judge = (said: readonly Vote[]): Release | undefined => judgeLeaving(said, nodes.length, nodes.length);
    const poll = new Poll({ nodes, all: nodes, limit: COMMAND_LIMIT, clock }, judge, caller);
    const args = [token, String(ttl), label];
    this.#askAll("keep", (node) => new Leave(node, poll, keys, args));
  }

  /** @param nodes those that may know the token @param ttl how long something may be left of it */
  release({ keys, token, lost, ttl, left }: Leaving, nodes: readonly Node[], caller: Caller<Release>): void {
    const { nodes: all, clock } = this;
    const until = clock.now() + Math.max(ttl, STALE_AFTER);
    const args = [lost ? "1" : "0", token];
    const judge = (said: readonly Vote[]): Release | undefined => judgeLeaving(said, nodes.length, all.length);
    const poll = new Poll({ nodes, all, clock }, judge, caller);
    for (const node of nodes) node.release(new Withdrawal(node, poll, { keys, args, token, until }, left));
  }

  /** Take the lock by force, on all nodes, at least on a majority. Resolves with the last fence and with the victims. */
  async seize(
    keys: NodeKeys,
    { token, ttl, label }: Pick<LockRequest, "token" | "ttl" | "label">,
    holder?: HolderState,
  ): Promise<{ drawn: [Node, number][]; victims: Map<string, number> }> {
    const proposal = String(this.propose());
    const expected = holder?.foreign ?? holder?.token ?? "";
    const args = [token, String(ttl), proposal, label, expected, String(holder?.fence ?? "")];
    const replies = await this.#ask("seize", keys, args, readList);
    const victims = new Map<string, number>();
    for (const [, [, ...rows]] of replies)
      for (let i = 0; i < rows.length; i += 2) victims.set(readText(rows[i]), readNumber(rows[i + 1]));
    return { drawn: replies.map(([node, [number]]) => [node, readNumber(number)]), victims };
  }

  /** Have those nodes that vote for the token vote for its heir. Resolves with the last fences of these votes. */
  async handOver(token: string, { keys, request }: Claimed): Promise<[Node, number][]> {
    const { token: heir, mode, ttl, label } = request;
    const args = [token, heir, mode, String(ttl), String(this.propose()), label];
    const replies = await this.#ask("handover", keys, args, readNumber);
    return replies.filter(([, last]) => last > 0);
  }

  #ask<T>(
    kind: "seize" | "handover",
    keys: NodeKeys,
    args: string[],
    read: (reply: unknown) => T,
  ): Promise<[Node, T][]> {
    return this.askEach(DECIDED_WITHIN, async (node) => {
      const reply = await new Promise<unknown>((answered, failed) =>
        node.ask(kind, { keys, args, isOver: false, insists: node.isAway, answered, failed }),
      );
      return [node, read(reply)] as [Node, T];
    });
  }

  /** What each node answers, of those that do soon; at least a majority, or it fails. */
  async askEach<T>(limit: number | undefined, ask: (node: Node) => Promise<T>): Promise<T[]> {
    const answers = new Map<Node, T>();
    const said = new Map<Node, Said>();
    const isShort = this.#isShort;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      if (limit !== undefined) timer = this.clock.after(limit, () => resolve(), true);
      const judge = (): void => {
        if (said.size === this.nodes.length) resolve();
        if (answers.size === this.quorum) {
          timer?.cancel();
          timer = this.clock.after(GRACE, () => resolve(), true);
        }
      };
      for (const node of this.nodes) {
        const { trouble, isAway } = node;
        const refused = (): Promise<never> => Promise.reject(schemeError(trouble));
        const asking =
          trouble === undefined ? ask(node) : isShort && isAway ? node.met().then(() => ask(node)) : refused();
        const heard = asking.then(
          (answer) => answers.set(node, answer) && said.set(node, "yes"),
          (error: unknown) => said.set(node, { cause: schemeError(error) }),
        );
        void heard.then(judge);
      }
    });
    timer?.cancel();
    if (answers.size < this.quorum) throw noQuorum(this.nodes.map((node) => [node.title, said.get(node)]));
    return [...answers.values()];
  }

  /** Send to all nodes that are not known to be away; the first answer that is one. Null if a majority has none. */
  readonly broadcast: Send = (command) => {
    const asked = this.nodes.filter(({ trouble, isSilent }) => trouble === undefined && !isSilent);
    return new Promise((resolve) => {
      const enough = Math.min(this.quorum, asked.length);
      let none = 0;
      const heard = (answer: unknown): void => {
        if (answer !== null || ++none >= enough) resolve(answer);
      };
      for (const node of asked) report(node.send(command), { answered: heard, failed: () => heard(null) });
      if (asked.length === 0) resolve(null);
    });
  };

  flush(): void {
    for (const node of this.nodes) node.flush();
  }

  /** Bring the fence to a majority of those that voted. */
  async raise(claim: Claimed, drawn: readonly [Node, number][]): Promise<boolean> {
    const verdict = judgeVotes(
      drawn.map(([, number]) => number),
      this.nodes.length,
    );
    if (!verdict) return false;
    claim.last = verdict.fence;
    this.drawn(verdict.fence);
    if (verdict.kind === "granted") return true;
    const extension = await new Promise<Extension>((answered, failed) =>
      this.extend(claim, claim.request.ttl, { answered, failed }, "raise"),
    );
    return extension === "extended";
  }

  async settled(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.settled()));
  }

  close(): void {
    this.#isClosed = true;
    this.#looking?.cancel();
    for (const node of this.nodes) node.close();
  }

  #look(): void {
    if (this.#isClosed) return;
    this.#looking?.cancel();
    this.#looking = this.clock.after(LOOK_INTERVAL, () => {
      for (const node of this.nodes) node.look();
      this.#look();
    });
  }

  /** Ask the nodes who they are, before anything is sent that could be left behind. */
  async #introduce(ttl: number): Promise<void> {
    const end = this.clock.now() + Math.min(INTRODUCTION, this.limit(ttl));
    const isLate = (): boolean => this.clock.now() >= end;
    // Another manager may just be marking a new fleet.
    for (;;) {
      await this.#meet(end - this.clock.now());
      for (const fault of this.#marks.faults.values()) throw fault;
      this.#isIntroduced = this.nodes.filter(({ counts }) => counts).length >= this.quorum;
      if (this.#isIntroduced || isLate()) break;
      await new Promise<void>((resolve) => void this.clock.after(RETRY, () => resolve(), true));
    }
    this.#look();
  }

  async #meet(limit: number): Promise<void> {
    const meetings = this.nodes.map((node) => node.met());
    let met = 0;
    await new Promise<void>((resolve) => {
      let timer = this.clock.after(limit, () => resolve(), true);
      const heard = (): void => {
        if (++met !== this.quorum) return;
        timer.cancel();
        timer = this.clock.after(Math.min(GRACE, limit), () => resolve(), true);
      };
      for (const meeting of meetings) meeting.then(heard, () => {});
      void Promise.allSettled(meetings).then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return sum >>> 0;
}
