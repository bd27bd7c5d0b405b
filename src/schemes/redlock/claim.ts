/** One request for one lock, as it stands at all nodes: asked, entered in their queues, voted for, held, given up. */
import type { Caller } from "../../caller.ts";
import type { Timer } from "../../clock.ts";
import { QueueFullError } from "../../errors.ts";
import { onNextTurn } from "../../runtime.ts";
import type { NodeKeys } from "../keys.ts";
import { CLAIM_WINDOW } from "../scheme.ts";
import type { Answer, LockMode, Question } from "../scheme.ts";
import type { Claimed, Fleet } from "./fleet.ts";
import { Asked, isUnreachable, Link, Renewal } from "./link.ts";
import type { Asking, How } from "./link.ts";
import type { Item } from "./call.ts";
import type { Node } from "./node.ts";
import { countHolders, pending } from "./pending.ts";
import { tooLate } from "./poll.ts";
import { DECIDED_WITHIN, judgeVotes, noQuorum } from "./verdict.ts";
import { isPlain, leaseWords, questionWords } from "./words.ts";
import type { Worded } from "./words.ts";

/** A request with some votes and no majority asks again after that time. */
const BID_PAUSE = 20;
/** A vote must last this much longer for its lease to begin. */
const CLAIM_TIME = 250;
/** Our clock may run that much faster than a node's. */
const RATE = 0.99;

/**
 * | state  | meaning                                            | until                                       |
 * | ------ | -------------------------------------------------- | ------------------------------------------- |
 * | taking | asks a majority for its votes at once              | it has them, or has heard enough for a ticket |
 * | queued | has a ticket, and bids with it                     | a majority votes for it                     |
 * | won    | a majority votes for it, with fences that it knows | it is released, or that majority is gone    |
 * | over   | was given up, or refused                           |                                             |
 */
type State = "new" | "taking" | "queued" | "won" | "over";

const NOBODY: Caller<unknown> = { answered: () => {}, failed: () => {} };

export class Claim implements Asking, Claimed, Worded {
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
  /** The same for all nodes, so that they draw the same fences. */
  proposal = 0;
  place: number | undefined;
  readonly #fleet: Fleet;
  /** What was asked for, as it was asked last. */
  #request: Question;
  #question: Question | undefined;
  /** The highest ticket that each node has told of. */
  readonly #heard = new Map<Link, number>();
  #timer: Timer | undefined;
  #numbers = 0;
  #grant: Answer | undefined;
  #insisted = false;
  #heeding: (() => void)[] = [];

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

  get isOver(): boolean {
    return this.state === "over";
  }

  linkTo(node: Node): Link {
    return this.links.find((link) => link.node === node) as Link;
  }

  ask(question: Question): void {
    this.#request = this.#question = question;
    this.#insisted = false;
    if (this.state === "won") return this.#askAgain();
    if (this.state === "new" && question.ticket === undefined) return this.#take();
    this.place ??= Number(question.ticket);
    this.state = "queued";
    this.#bid();
  }

  /** A node has voted for it, in answer to that question. */
  pushed(node: Node, last: number, number: number): void {
    const link = this.linkTo(node);
    if (link.number !== number || this.state !== "queued") return;
    // A question whose answer has not been heard may be sent again by its client, and then gives this vote up.
    if (link.out) return void (link.isOvertaken = true);
    if (link.said === "no") this.#count(link, last, "bid");
    const votes = this.#votes;
    const isFresh = link.vote && votes.every(({ vote }) => (vote?.until ?? 0) - this.#fleet.clock.now() > CLAIM_TIME);
    if (!isFresh && !this.links.some(({ out }) => out)) this.#bid();
    else if (votes.length >= this.#fleet.quorum) this.#judge();
    else this.#bidSoon();
  }

  /** Its vote was taken by force: it does not count either if the answer that tells of it is still on its way. */
  robbed(node: Node): void {
    const link = this.linkTo(node);
    link.vote = undefined;
    link.isRobbed = true;
    if (this.state === "queued") this.#bidSoon();
  }

  async answered(): Promise<void> {
    if (this.#question) await new Promise<void>((resolve) => this.#heeding.push(resolve));
  }

  /** Nothing more is asked. Answers with the nodes that may know it. */
  end(): Node[] {
    this.state = "over";
    this.#timer?.cancel();
    for (const heed of this.#heeding.splice(0)) heed();
    return this.links.filter(({ mayKnow }) => mayKnow).map(({ node }) => node);
  }

  #take(): void {
    this.state = "taking";
    this.proposal = this.#fleet.propose();
    const { quorum } = this.#fleet;
    // Its lease is counted from this question on, so votes in answer to an earlier one would end before it.
    for (const link of this.links) {
      link.vote = link.out = undefined;
      link.wasAsked = false;
    }
    for (const link of this.links.slice(0, quorum)) this.#put(link, "take");
    this.#after(this.#fleet.patience(this.#request.ttl), () => {
      for (const { node, out } of this.links) if (out) this.#fleet.lags(node);
      this.#takeMore();
    });
  }

  #takeMore(): void {
    for (const link of this.links) if (!link.wasAsked) this.#put(link, "take");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
  }

  #bid(): void {
    this.proposal = this.#fleet.propose();
    for (const link of this.links) if (!link.out) this.#put(link, "bid");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
  }

  /** Whoever asks no longer counts on what it has there. */
  #put(link: Link, how: How, insists = false): void {
    link.wasAsked = true;
    if (how !== "raise") {
      link.vote = undefined;
      link.isOvertaken = link.isRobbed = false;
      link.number = ++this.#numbers;
      link.askedAt = this.#fleet.clock.now();
    }
    link.said = link.refusal = undefined;
    const asked = (link.out = new Asked(this, link, how, questionWords(this, link, how), insists, this.last));
    if (how === "raise") link.node.ask("renew", asked);
    else link.node.ask(how === "take" && isPlain(this.#request) ? "take" : "ask", asked);
  }

  sent(link: Link): void {
    link.mayKnow = true;
    this.#request.isSent = true;
  }

  /** What had to be sent again, because the server did not know the script, comes behind the release. */
  late(link: Link): void {
    const { keys, token, request } = this;
    if (link.isReleased) this.#fleet.release({ keys, token, lost: true, ttl: request.ttl }, [link.node], NOBODY);
  }

  heard(link: Link, asked: Asked, reply: unknown): void {
    if (this.isOver) return this.late(link);
    if (link.out !== asked) return;
    link.out = undefined;
    link.wasLost = false;
    if (asked.how === "raise") this.#raised(link, asked, reply);
    else if (Array.isArray(reply) && link.isOvertaken) return this.#put(link, "bid");
    else if (Array.isArray(reply)) link.refused(reply as unknown[]);
    else if (Number(reply) > 0 && link.isRobbed) return this.#put(link, asked.how);
    else if (Number(reply) > 0) this.#count(link, Number(reply), asked.how);
    else {
      link.said = "no";
      this.#heard.set(link, -Number(reply));
      // It was asked before the ticket was drawn, and has not been entered.
      if (this.state === "queued") return this.#put(link, "bid");
    }
    this.#judge();
  }

  failed(link: Link, asked: Asked, cause: unknown): void {
    if (link.out !== asked) return;
    link.out = undefined;
    link.said = { cause };
    if (this.isOver) return;
    const isLost = asked.isSent && isUnreachable(cause) && !link.wasLost;
    link.wasLost = isLost;
    // A connection that broke says nothing of the server: it may be there again.
    if (isLost) return this.#put(link, asked.how);
    this.#judge();
  }

  #count(link: Link, last: number, how: How): void {
    const window = Math.min(this.#request.ttl, how === "take" ? DECIDED_WITHIN : CLAIM_WINDOW);
    link.said = "yes";
    link.refusal = undefined;
    link.vote = { last, since: link.askedAt, until: link.askedAt + window * RATE };
    this.#heard.set(link, 0);
  }

  #raised(link: Link, asked: Asked, reply: unknown): void {
    if (Number(reply) === 1 && link.vote) link.vote.last = asked.last;
    else link.vote = undefined;
  }

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
    const full = this.links.filter(({ isFull }) => isFull).length;
    if (full >= quorum) {
      return this.#answer({ kind: "refused", error: new QueueFullError(this.lock, this.#request.maxQueue ?? 0) });
    }
    if (failed > nodes.length - quorum && out === 0) return this.#insist();
    if (this.state === "taking") this.#judgeTake(votes.length, out);
    // While some say that too many wait, all are heard.
    else if (votes.length + out < quorum && (full === 0 || out === 0)) this.#wait(votes, out);
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
      this.place = Math.max(...this.#heard.values(), 1);
      this.state = "queued";
      this.#bid();
    } else if (unasked > 0) this.#takeMore();
    else if (out === 0) this.#fail();
  }

  /** In the queue; with some votes perhaps, which are of no use to anybody like that. */
  #wait(votes: readonly Link[], out: number): void {
    const refusals = this.links.flatMap(({ refusal }) => refusal ?? []);
    const others = countHolders(refusals);
    const foreign = refusals.filter(({ isForeign }) => isForeign).length;
    const shared = refusals.filter(({ isShared }) => isShared).length;
    const { quorum, nodes } = this.#fleet;
    // Other libraries take no part in bidding: while they stand in the way of a majority, nothing comes of it.
    const isHeld = Math.max(shared, ...others.values()) >= quorum || foreign > nodes.length - quorum;
    if (out === 0) this.#timer?.cancel();
    if (isHeld) for (const link of votes) if (!link.out) this.#put(link, "back");
    if (!isHeld && out === 0 && (votes.length > 0 || others.size > 1)) this.#bidSoon();
    this.#request.ticket = String(this.place);
    this.#answer(pending(refusals, quorum, this.#fleet.hearing !== undefined));
  }

  #bidSoon(): void {
    if (this.links.some(({ out }) => out)) return;
    this.#after(BID_PAUSE * (0.75 + Math.random() / 2), () => this.#bid());
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
    if (wasTaken) onNextTurn(() => this.state === "won" && this.#spread(ttl));
  }

  #spread(ttl: number): void {
    for (const link of this.links) {
      if (link.vote?.last === this.last || link.out) continue;
      link.node.ask("renew", this.renewal(link.node, ttl, NOBODY));
    }
  }

  renewal(node: Node, ttl: number, caller: Caller<unknown>, how = ""): Item {
    return new Renewal(this, this.linkTo(node), leaseWords(this, ttl, how), caller);
  }

  #askAgain(): void {
    const askedAt = this.#fleet.clock.now();
    this.#fleet.extend(this, this.#request.ttl, {
      answered: (extension) => {
        if (this.state !== "won") return;
        if (extension === "extended" && this.#grant?.kind === "granted")
          return this.#answer({ ...this.#grant, until: askedAt + this.#request.ttl });
        this.state = "queued";
        this.place ??= Number(this.#request.ticket ?? 1);
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
      link.said = { cause: tooLate(limit) };
      this.#fleet.lags(link.node);
    }
    this.#judge();
  }

  /** Too few answer: before that is told, those that did not answer of late are asked whether they do by now. */
  #insist(): void {
    const unasked = this.links.filter(({ node }) => isUnreachable(node.trouble));
    if (this.#insisted || unasked.length === 0) return this.#fail();
    this.#insisted = true;
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
    for (const link of unasked) this.#put(link, this.state === "taking" ? "take" : "bid", true);
  }

  #fail(): void {
    const said = this.#fleet.nodes.map(
      (node) => [node.title, this.linkTo(node).saidBy(this.#fleet.clock.now())] as const,
    );
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
    for (const heed of this.#heeding.splice(0)) heed();
  }

  #after(delay: number, run: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#fleet.clock.after(delay, run, true);
  }
}
