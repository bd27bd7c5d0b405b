/** One request for one lock, as it stands at all nodes: asked, entered in their queues, voted for, held, given up. */
import type { Timer } from "../../clock.ts";
import { QueueFullError } from "../../errors.ts";
import type { NodeKeys } from "../keys.ts";
import { CLAIM_WINDOW, EXPIRY_MARGIN, FRONT, FRONT_STEP, POKE_INTERVAL } from "../scheme.ts";
import type { Answer, LockMode, Question, WaitedFor } from "../scheme.ts";
import type { Fleet } from "./fleet.ts";
import type { Item, Node } from "./node.ts";
import { judgeVotes, noQuorum } from "./verdict.ts";
import type { Said } from "./verdict.ts";

/** A request with some votes and no majority asks again after that time. */
const BID_PAUSE = 20;
/** A vote must last this much longer for its lease to begin. */
const CLAIM_TIME = 250;
/** Our clock may run that much faster than a node's. */
const RATE = 0.99;
/** A foreign holder tells nobody when it releases. */
const FOREIGN_POKE = 50;
/** While no push can arrive, waiters look often enough to find a vote within its claim window. */
const DEAF_POKE = CLAIM_WINDOW / 4;

/**
 * | state  | meaning                                            | until                                       |
 * | ------ | -------------------------------------------------- | ------------------------------------------- |
 * | taking | asks a majority for its votes at once              | it has them, or has heard enough for a ticket |
 * | queued | has a ticket, and bids with it                     | a majority votes for it                     |
 * | won    | a majority votes for it, with fences that it knows | it is released, or that majority is gone    |
 * | over   | was given up, or refused                           |                                             |
 */
type State = "new" | "taking" | "queued" | "won" | "over";

type How = "take" | "bid" | "back" | "raise";

interface Refusal {
  readonly rank: number;
  /** Negative if its time never ends. */
  readonly left: number;
  readonly isForeign: boolean;
  readonly holder: string;
  readonly label: string;
}

/** A claim at one node. */
class Link {
  readonly node: Node;
  /** The question that is out. A vote counts only in answer to the latest one. */
  out: Asked | undefined;
  wasAsked = false;
  /** The number of the latest question, and when it was asked. */
  number = 0;
  askedAt = 0;
  vote: { last: number; readonly until: number; readonly since: number } | undefined;
  said: Said;
  refusal: Refusal | undefined;
  isFull = false;
  /** The last fence of a vote that was pushed while the question was out. */
  pushed: number | undefined;

  constructor(node: Node) {
    this.node = node;
  }
}

export class Claim {
  readonly lock: string;
  readonly token: string;
  readonly keys: NodeKeys;
  readonly fences: number;
  readonly links: readonly Link[];
  state: State = "new";
  /** What it holds as: an exclusive grant may become a shared one. */
  mode: LockMode;
  /** The last of its fences. */
  last = 0;
  readonly #fleet: Fleet;
  /** What was asked for, as it was asked last. */
  #request: Question;
  /** The same, if it has not been answered. */
  #question: Question | undefined;
  /** The highest ticket that each node has told of. */
  readonly #heard = new Map<Link, number>();
  #ticket: number | undefined;
  #timer: Timer | undefined;
  #numbers = 0;
  /** The same for all nodes, so that they draw the same fences. */
  #proposal = 0;
  #grant: Answer | undefined;

  constructor(fleet: Fleet, request: Question, keys: NodeKeys, fences: number) {
    const { lock, token } = request;
    this.#fleet = fleet;
    this.#request = request;
    this.lock = lock;
    this.token = token;
    this.keys = keys;
    this.mode = request.mode;
    this.fences = fences;
    this.links = fleet.orderFor(lock).map((node) => new Link(node));
  }

  get request(): Question {
    return this.#request;
  }

  get #votes(): Link[] {
    const now = this.#fleet.clock.now();
    return this.links.filter(({ vote }) => vote && vote.until > now);
  }

  ask(question: Question): void {
    this.#request = this.#question = question;
    if (this.state === "won") return this.#askAgain();
    if (this.state === "new" && question.ticket === undefined) return this.#take();
    this.#ticket ??= Number(question.ticket);
    this.state = "queued";
    this.#bid();
  }

  /** A node has voted for it, in answer to that question. */
  pushed(node: Node, last: number, number: number): void {
    const link = this.links.find((each) => each.node === node);
    if (!link || link.number !== number || this.state !== "queued") return;
    // It overtook the answer, on a connection of its own.
    if (link.out) return void (link.pushed = last);
    this.#count(link, last);
    const votes = this.#votes;
    const isFresh = votes.every(({ vote }) => (vote?.until ?? 0) - this.#fleet.clock.now() > CLAIM_TIME);
    if (!isFresh && !this.links.some(({ out }) => out)) this.#bid();
    else if (votes.length >= this.#fleet.quorum) this.#judge();
    else if (!this.links.some(({ out }) => out)) this.#bidSoon();
  }

  /** Nothing more is asked. Answers with the nodes that may know it. */
  end(): Link[] {
    this.state = "over";
    this.#timer?.cancel();
    return this.links.filter(({ wasAsked }) => wasAsked);
  }

  #take(): void {
    this.state = "taking";
    this.#proposal = this.#fleet.propose();
    const { quorum } = this.#fleet;
    for (const link of this.links.slice(0, quorum)) this.#put(link, "take");
    this.#after(this.#fleet.patience(this.#request.ttl), () => {
      for (const { node, out } of this.links) if (out) this.#fleet.lags(node);
      this.#takeMore();
    });
  }

  /** Ask the rest, too. */
  #takeMore(): void {
    for (const link of this.links) if (!link.wasAsked) this.#put(link, "take");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
  }

  #bid(): void {
    this.#proposal = this.#fleet.propose();
    for (const link of this.links) if (!link.out) this.#put(link, "bid");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
  }

  /** Whoever asks no longer counts on what it has there. */
  #put(link: Link, how: How): void {
    link.wasAsked = true;
    if (how !== "raise") {
      link.vote = link.pushed = undefined;
      link.number = ++this.#numbers;
      link.askedAt = this.#fleet.clock.now();
    }
    link.said = link.refusal = undefined;
    const asked = (link.out = new Asked(this, link, how, this.#words(link, how)));
    const { mode, label, waiting } = this.#request;
    if (how === "raise") return link.node.ask("renew", asked);
    if (how === "take" && mode === "exclusive" && label === "" && waiting === 1 && this.#request.wait) {
      const { token, ttl } = this.#request;
      asked.args = [String(ttl), String(this.fences), token, String(this.#proposal)];
      asked.isQuick = true;
      return link.node.ask("take", asked);
    }
    link.node.ask("ask", asked);
  }

  #words(link: Link, how: How): string[] {
    const { token, mode, ttl, label, waiting, maxQueue } = this.#request;
    if (how === "raise") {
      const window = String(Math.min(ttl, CLAIM_WINDOW));
      return [token, "", mode, String(this.last - this.fences + 1), String(this.last), window, label];
    }
    const most = this.#grantless && maxQueue !== undefined ? String(maxQueue) : "";
    return [
      token,
      how,
      mode,
      String(ttl),
      String(this.fences),
      String(this.#proposal),
      String(this.#ticket ?? 0),
      String(link.number),
      String(waiting),
      link.node.listens ? "1" : "0",
      most,
      label,
    ];
  }

  /** It has not been told yet that it waits. */
  get #grantless(): boolean {
    return this.#request.ticket === undefined;
  }

  /** @internal */
  sent(): void {
    this.#request.isSent = true;
  }

  /** @internal */
  heard(link: Link, asked: Asked, reply: unknown): void {
    if (link.out !== asked) return;
    link.out = undefined;
    if (this.state === "over") return;
    if (asked.how === "raise") this.#raised(link, reply);
    else if (Array.isArray(reply) && link.pushed !== undefined) this.#count(link, link.pushed);
    else if (Array.isArray(reply)) this.#refused(link, reply as unknown[]);
    else if (Number(reply) > 0) this.#count(link, Number(reply));
    else {
      link.said = "no";
      this.#heard.set(link, -Number(reply));
    }
    this.#judge();
  }

  /** @internal */
  failed(link: Link, asked: Asked, cause: unknown): void {
    if (link.out !== asked) return;
    link.out = undefined;
    link.said = { cause };
    if (this.state === "over") return;
    this.#judge();
  }

  #count(link: Link, last: number): void {
    const window = this.state === "taking" ? this.#request.ttl : Math.min(this.#request.ttl, CLAIM_WINDOW);
    link.said = "yes";
    link.refusal = undefined;
    link.vote = { last, since: link.askedAt, until: link.askedAt + window * RATE };
    this.#heard.set(link, 0);
  }

  #raised(link: Link, reply: unknown): void {
    if (Number(reply) === 1 && link.vote) link.vote.last = this.last;
    else link.vote = undefined;
  }

  #refused(link: Link, reply: readonly unknown[]): void {
    link.said = "no";
    if (reply[0] === "full") link.isFull = true;
    else {
      const [rank, left, foreign, holder, label] = reply;
      link.refusal = {
        rank: Number(rank),
        left: Number(left),
        isForeign: Number(foreign) === 1,
        holder: String(holder),
        label: String(label),
      };
    }
  }

  /** What follows from what has been said so far. */
  #judge(): void {
    if (this.state !== "taking" && this.state !== "queued") return;
    const { quorum, nodes } = this.#fleet;
    const votes = this.#votes;
    const verdict = judgeVotes(
      votes.map(({ vote }) => vote?.last ?? 0),
      nodes.length,
    );
    if (verdict) {
      this.last = verdict.fence;
      if (verdict.kind === "granted") return this.#win(votes);
      for (const link of votes) if (!link.out && (link.vote?.last ?? 0) < verdict.fence) this.#put(link, "raise");
      return;
    }
    const out = this.links.filter((link) => link.out).length;
    const failed = this.links.filter(({ said }) => typeof said === "object").length;
    if (this.links.filter(({ isFull }) => isFull).length >= quorum) {
      return this.#answer({ kind: "refused", error: new QueueFullError(this.lock, this.#request.maxQueue ?? 0) });
    }
    if (failed > nodes.length - quorum && out === 0) return this.#fail();
    if (this.state === "taking") this.#judgeTake(votes.length, out);
    else if (votes.length + out < quorum) this.#wait(votes, out);
  }

  #judgeTake(votes: number, out: number): void {
    const { quorum } = this.#fleet;
    const unasked = this.links.filter(({ wasAsked }) => !wasAsked).length;
    if (votes + out >= quorum) return;
    const refused = this.links.filter(({ said }) => said === "no").length;
    if (!this.#request.wait) {
      if (votes + out + unasked >= quorum) this.#takeMore();
      else if (refused > 0) this.#answer({ kind: "busy" });
      else this.#fail();
    } else if (this.#heard.size >= quorum) {
      // One more than the highest that a majority has seen.
      this.#ticket = Math.max(...this.#heard.values(), 1);
      this.state = "queued";
      this.#bid();
    } else if (unasked > 0) this.#takeMore();
    else if (out === 0) this.#fail();
  }

  /** In the queue; with some votes perhaps, which are of no use to anybody like that. */
  #wait(votes: readonly Link[], out: number): void {
    const others = new Map<string, number>();
    for (const { refusal } of this.links) {
      if (refusal && refusal.holder !== "") others.set(refusal.holder, (others.get(refusal.holder) ?? 0) + 1);
    }
    const isHeld = Math.max(0, ...others.values()) >= this.#fleet.quorum;
    if (out === 0) this.#timer?.cancel();
    if (isHeld) for (const link of votes) if (!link.out) this.#put(link, "back");
    if (!isHeld && out === 0 && (votes.length > 0 || others.size > 1)) {
      this.#bidSoon();
    }
    this.#answer(this.#pending(others));
  }

  #bidSoon(): void {
    this.#after(BID_PAUSE * (0.75 + Math.random() / 2), () => this.#bid());
  }

  #pending(others: ReadonlyMap<string, number>): Answer {
    const { quorum } = this.#fleet;
    const refusals = this.links.flatMap(({ refusal }) => refusal ?? []);
    const lefts = refusals.map(({ left }) => (left < 0 ? Infinity : left)).sort((a, b) => a - b);
    const rank = Math.max(0, ...refusals.map((each) => each.rank));
    const left = lefts[Math.min(quorum, lefts.length) - 1] ?? Infinity;
    const isForeign = refusals.some((each) => each.isForeign);
    const spread = POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const longest = isForeign && rank === 0 ? FOREIGN_POKE : this.#fleet.hearing === undefined ? DEAF_POKE : spread;
    const pokeAfter = rank < FRONT ? Math.min(longest, left + EXPIRY_MARGIN + rank * FRONT_STEP) : longest;
    const [token] = [...others].sort(([, a], [, b]) => b - a)[0] ?? [];
    const of = refusals.find((each) => each.holder === token);
    const holder: WaitedFor | undefined = token && of ? { token, label: of.label } : undefined;
    this.#request.ticket = String(this.#ticket);
    return { kind: "pending", pokeAfter, ahead: rank, ...(holder && { holder }) };
  }

  #win(votes: readonly Link[]): void {
    const counted = votes.filter(({ vote }) => vote?.last === this.last);
    const since = Math.min(...counted.map(({ vote }) => vote?.since ?? 0));
    const until = Math.min(...counted.map(({ vote }) => vote?.until ?? 0));
    const wasTaken = this.state === "taking";
    this.state = "won";
    this.#timer?.cancel();
    const fence = this.last - this.fences + 1;
    this.#fleet.drawn(this.last);
    const { ttl } = this.#request;
    this.#grant = { kind: "granted", fence, fences: this.fences, ...(!wasTaken && { until }) };
    if (this.#question) this.#answer(this.#grant);
    else this.#fleet.granted(this, fence, since);
    // The other nodes are told behind it, unless that was all it wanted.
    if (wasTaken) setImmediate(() => this.state === "won" && this.#spread(ttl));
  }

  #spread(ttl: number): void {
    for (const link of this.links) {
      if (link.vote?.last === this.last || link.out) continue;
      link.wasAsked = true;
      link.node.ask("renew", this.renewal(ttl, { answered() {}, failed() {} }));
    }
  }

  /** What makes the lease longer at a node. */
  renewal(ttl: number, caller: { answered(reply: unknown): void; failed(error: unknown): void }, how = ""): Item {
    const { token, label } = this.#request;
    const args = [
      token,
      how,
      how || this.mode,
      String(this.last - this.fences + 1),
      String(this.last),
      String(ttl),
      label,
    ];
    const isOver = (): boolean => this.state === "over";
    return {
      keys: this.keys,
      args,
      isSent: false,
      get isOver() {
        return isOver();
      },
      answered: (reply) => caller.answered(reply),
      failed: (error) => caller.failed(error),
    };
  }

  /** It was granted, and asks again because that was long ago. */
  #askAgain(): void {
    const askedAt = this.#fleet.clock.now();
    this.#fleet.extend(this, this.#request.ttl, {
      answered: (extension) => {
        if (this.state !== "won") return;
        if (extension === "extended" && this.#grant?.kind === "granted")
          return this.#answer({ ...this.#grant, until: askedAt + this.#request.ttl });
        this.state = "queued";
        this.#ticket ??= Number(this.#request.ticket ?? 1);
        this.#bid();
      },
      failed: (error) => this.#tell((question) => question.failed(error)),
    });
  }

  #timeOut(): void {
    for (const link of this.links) {
      if (!link.out) continue;
      link.out = undefined;
      const limit = this.#fleet.limit(this.#request.ttl);
      link.said = { cause: this.#fleet.late(limit) };
      this.#fleet.lags(link.node);
    }
    this.#judge();
  }

  #fail(): void {
    const said = this.#fleet.nodes.map((node) => {
      const link = this.links.find((each) => each.node === node);
      return [node.title, link?.said] as const;
    });
    this.#timer?.cancel();
    const error = noQuorum(said);
    if (this.state === "taking") this.state = "new";
    if (!this.#request.wait) this.#fleet.giveUp(this);
    this.#tell((question) => question.failed(error));
  }

  #answer(answer: Answer): void {
    if (answer.kind === "busy" || answer.kind === "refused") this.#fleet.giveUp(this);
    this.#tell((question) => question.answered(answer));
  }

  #tell(say: (question: Question) => void): void {
    const question = this.#question;
    this.#question = undefined;
    if (question) say(question);
  }

  #after(delay: number, run: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#fleet.clock.after(delay, run, true);
  }
}

/** A question that is out at one node. */
class Asked implements Item {
  readonly keys: NodeKeys;
  args: readonly string[];
  readonly how: How;
  isQuick = false;
  #isSent = false;
  readonly #claim: Claim;
  readonly #link: Link;

  constructor(claim: Claim, link: Link, how: How, args: readonly string[]) {
    this.keys = claim.keys;
    this.args = args;
    this.how = how;
    this.#claim = claim;
    this.#link = link;
  }

  get isOver(): boolean {
    return this.#claim.state === "over";
  }

  get isSent(): boolean {
    return this.#isSent;
  }

  set isSent(sent: boolean) {
    this.#isSent = sent;
    this.#claim.sent();
  }

  answered(reply: unknown): void {
    this.#claim.heard(this.#link, this, reply);
  }

  failed(error: unknown): void {
    this.#claim.failed(this.#link, this, error);
  }
}
