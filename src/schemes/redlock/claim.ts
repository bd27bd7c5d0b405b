/** One request for one lock, as it stands at all nodes: asked, entered in their queues, voted for, held, given up. */
import { type Caller, NOBODY } from "../../caller.ts";
import type { Timer } from "../../clock.ts";
import { QueueFullError } from "../../errors.ts";
import { onNextTurn } from "../../runtime.ts";
import type { NodeKeys } from "../keys.ts";
import { CLAIM_WINDOW } from "../scheme.ts";
import type { Answer, LockMode, Question } from "../scheme.ts";
import type { Claimed, Fleet } from "./fleet.ts";
import { Asked, Renewal } from "./link.ts";
import type { Asking, How, Link } from "./link.ts";
import { Links, type Tally } from "./links.ts";
import type { Item } from "./call.ts";
import { isUnreachable, type Node } from "./node.ts";
import { countHolders, isHeldByOthers, pending } from "./pending.ts";
import { tooLate } from "./poll.ts";
import type { Precedence } from "./precedence.ts";
import { DECIDED_WITHIN, judgeVotes, noQuorum } from "./verdict.ts";
import { isPlain, leaseWords, questionWords, takeWords } from "./words.ts";
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

export class Claim implements Asking, Claimed, Worded {
  readonly lock: string;
  readonly token: string;
  readonly keys: NodeKeys;
  readonly fences: number;
  readonly links: Links;
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
  #timer: Timer | undefined;
  #numbers = 0;
  #grant: Answer | undefined;
  #insisted = false;
  #heeding: (() => void)[] | undefined;
  /** Among the requests of this manager for the lock, if there were others. */
  readonly precedence: Precedence | undefined;

  constructor(fleet: Fleet, request: Question, keys: NodeKeys, fences: number, precedence?: Precedence) {
    const { lock, token } = request;
    this.#fleet = fleet;
    this.precedence = precedence;
    this.#request = request;
    this.lock = lock;
    this.token = token;
    this.keys = keys;
    this.mode = request.mode;
    this.fences = fences;
    this.links = new Links(fleet.orderFor(lock));
  }

  get request(): Question {
    return this.#request;
  }

  get isOver(): boolean {
    return this.state === "over";
  }

  ask(question: Question): void {
    this.#request = this.#question = question;
    this.#insisted = false;
    if (this.state === "won") return this.#askAgain();
    if (this.state === "new" && question.ticket === undefined) {
      return this.precedence ? this.precedence.ask(() => this.#take()) : this.#take();
    }
    this.place ??= Number(question.ticket);
    this.state = "queued";
    this.#bid();
  }

  /** A node has voted for it, in answer to that question. */
  pushed(node: Node, last: number, number: number): void {
    const link = this.links.to(node);
    if (link.number !== number || this.state !== "queued") return;
    // A question whose answer has not been heard may be sent again by its client, and then gives this vote up.
    if (link.out) return void (link.isOvertaken = true);
    if (link.said === "no") this.#count(link, last, "bid");
    const now = this.#fleet.clock.now();
    const votes = this.links.votes(now);
    const isFresh = link.vote && votes.every(({ vote }) => (vote?.until ?? 0) - now > CLAIM_TIME);
    if (!isFresh && !this.links.isOut) this.#bid();
    else if (votes.length >= this.#fleet.quorum) this.#judge();
    else this.#bidSoon();
  }

  /** Its vote was taken by force: it does not count either if the answer that tells of it is still on its way. */
  robbed(node: Node): void {
    const link = this.links.to(node);
    link.vote = undefined;
    link.isRobbed = true;
    if (this.state === "queued") this.#bidSoon();
  }

  async answered(): Promise<void> {
    if (this.#question) await new Promise<void>((resolve) => (this.#heeding ??= []).push(resolve));
  }

  /** Nothing more is asked. Answers with the nodes that may know it. */
  end(): Node[] {
    this.state = "over";
    this.#fleet.tickets.drop(this.lock, this.token);
    this.#timer?.cancel();
    this.#heed();
    this.precedence?.placed();
    return this.links.informed;
  }

  #take(): void {
    if (this.isOver) return this.precedence?.placed();
    this.state = "taking";
    this.proposal = this.#fleet.propose();
    // Its lease is counted from this question on, so votes in answer to an earlier one would end before it.
    this.links.restart();
    const words = isPlain(this.#request) ? takeWords(this) : undefined;
    for (const link of this.links.majority) this.#put(link, "take", false, words);
    this.#after(this.#fleet.patience(this.#request.ttl), () => {
      for (const { node, out } of this.links.known) if (out) this.#fleet.lags(node);
      this.#takeMore();
    });
  }

  #takeMore(): void {
    for (const link of this.links.all) if (!link.wasAsked) this.#put(link, "take");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
  }

  #bid(): void {
    this.proposal = this.#fleet.propose();
    for (const link of this.links.all) if (!link.out) this.#put(link, "bid");
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
    this.precedence?.placed();
  }

  /** Whoever asks no longer counts on what it has there. */
  #put(link: Link, how: How, insists = false, words?: readonly string[]): void {
    link.wasAsked = true;
    if (how !== "raise") {
      link.vote = undefined;
      link.isOvertaken = link.isRobbed = false;
      link.number = ++this.#numbers;
      link.askedAt = this.#fleet.clock.now();
    }
    link.said = link.refusal = undefined;
    const asked = (link.out = new Asked(this, link, how, words ?? questionWords(this, link, how), insists, this.last));
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
    else if (Number(reply) > 0) {
      this.#count(link, Number(reply), asked.how);
      if (this.links.isOpen(this.#fleet.clock.now())) return;
    } else {
      link.said = "no";
      link.highest = -Number(reply);
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
    link.vote = { last, until: link.askedAt + window * RATE };
    link.highest = 0;
  }

  #raised(link: Link, asked: Asked, reply: unknown): void {
    if (Number(reply) === 1 && link.vote) {
      link.vote.last = asked.last;
      return;
    }
    // The vote has ended, or another reader has those fences there: the next bid draws others.
    link.vote = undefined;
    link.said = "no";
    link.highest = asked.last;
  }

  #judge(): void {
    if (this.state !== "taking" && this.state !== "queued") return;
    const { quorum, nodes, clock } = this.#fleet;
    const said = this.links.tally(clock.now());
    if (said.votes >= quorum) return this.#decide();
    if (said.full >= quorum) {
      return this.#answer({ kind: "refused", error: new QueueFullError(this.lock, this.#request.maxQueue ?? 0) });
    }
    if (said.failed > nodes.length - quorum && said.out === 0) return this.#insist();
    if (said.votes + said.out >= quorum) return;
    if (this.state === "taking") this.#judgeTake(said);
    // While some say that too many wait, all are heard.
    else if (said.full === 0 || said.out === 0) this.#wait(said.out);
  }

  /** A majority votes for it: with fences that it knows, or with others that must be raised first. */
  #decide(): void {
    const votes = this.links.votes(this.#fleet.clock.now());
    const drawn = votes.map(({ vote }) => vote?.last ?? 0);
    const verdict = judgeVotes(drawn, this.#fleet.nodes.length);
    if (!verdict) return;
    this.last = verdict.fence;
    if (verdict.kind === "granted") return this.#win(votes);
    for (const link of votes) if (!link.out && (link.vote?.last ?? 0) < verdict.fence) this.#put(link, "raise");
  }

  #judgeTake({ votes, out, unasked, refused }: Tally): void {
    const { quorum } = this.#fleet;
    const told = this.links.known.flatMap(({ highest }) => highest ?? []);
    if (!this.#request.wait) {
      if (votes + out + unasked >= quorum) this.#takeMore();
      else if (refused > 0) this.#answer({ kind: "busy" });
      else this.#insist();
    } else if (told.length >= quorum) {
      // One more than the highest that a majority has seen.
      this.place = this.#fleet.tickets.draw(this.lock, this.token, Math.max(...told, 1));
      this.state = "queued";
      this.#bid();
    } else if (unasked > 0) this.#takeMore();
    else if (out === 0) this.#insist();
  }

  /** In the queue; with some votes perhaps, which are of no use to anybody like that. */
  #wait(out: number): void {
    const votes = this.links.votes(this.#fleet.clock.now());
    const refusals = this.links.known.flatMap(({ refusal }) => refusal ?? []);
    const { quorum, nodes } = this.#fleet;
    const others = countHolders(refusals);
    const isHeld = isHeldByOthers(refusals, others, quorum, nodes.length);
    if (out === 0) this.#timer?.cancel();
    if (isHeld) for (const link of votes) if (!link.out) this.#put(link, "back");
    if (!isHeld && out === 0 && (votes.length > 0 || others.size > 1)) this.#bidSoon();
    this.#request.ticket = String(this.place);
    this.#answer(pending(refusals, quorum, this.#fleet.hearing !== undefined));
  }

  #bidSoon(): void {
    if (this.links.isOut) return;
    this.#after(BID_PAUSE * (0.75 + Math.random() / 2), () => this.#bid());
  }

  #win(votes: readonly Link[]): void {
    let [since, until] = [Infinity, Infinity];
    for (const { vote, askedAt } of votes) {
      if (vote?.last !== this.last) continue;
      since = Math.min(since, askedAt);
      until = Math.min(until, vote.until);
    }
    const wasTaken = this.state === "taking";
    this.state = "won";
    this.#timer?.cancel();
    const fence = this.last - this.fences + 1;
    this.#fleet.drawn(this.last);
    if (wasTaken) this.#fleet.took(this.#fleet.clock.now() - since);
    this.#grant = { kind: "granted", fence, fences: this.fences, ...(!wasTaken && { until }) };
    if (this.#question) this.#answer(this.#grant);
    else this.#fleet.granted(this, fence, since);
    this.precedence?.placed();
    // The other nodes are told behind it, unless that was all it wanted: waiters must find all nodes taken alike.
    if (wasTaken) onNextTurn(() => this.state === "won" && this.#spread());
  }

  #spread(): void {
    const { ttl } = this.#request;
    for (const link of this.links.all) {
      if (link.vote?.last === this.last || link.out) continue;
      link.node.ask("renew", this.renewal(link.node, ttl, NOBODY));
    }
  }

  renewal(node: Node, ttl: number, caller: Caller<unknown>, how = ""): Item {
    return new Renewal(this, this.links.to(node), leaseWords(this, ttl, how), caller);
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
    for (const link of this.links.known) {
      if (!link.out) continue;
      link.out = undefined;
      const limit = this.#fleet.limit(this.#request.ttl);
      link.said = { cause: tooLate(limit) };
      this.#fleet.lags(link.node);
    }
    this.#judge();
  }

  /** Too few take part: before that is told, those that are asked nothing at present are asked whether they do by now. */
  #insist(): void {
    const unasked = this.links.all.filter(({ node }) => node.trouble !== undefined);
    if (this.#insisted || unasked.length === 0) return this.#fail();
    this.#insisted = true;
    this.#after(this.#fleet.limit(this.#request.ttl), () => this.#timeOut());
    for (const link of unasked) this.#put(link, this.state === "taking" ? "take" : "bid", true);
  }

  #fail(): void {
    const error = noQuorum(this.links.said(this.#fleet.nodes, this.#fleet.clock.now()));
    this.#timer?.cancel();
    if (this.state === "taking") this.state = "new";
    this.precedence?.placed();
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
    this.#heed();
  }

  #heed(): void {
    const heeding = this.#heeding;
    this.#heeding = undefined;
    for (const heed of heeding ?? []) heed();
  }

  #after(delay: number, run: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#fleet.clock.after(delay, run, true);
  }
}
