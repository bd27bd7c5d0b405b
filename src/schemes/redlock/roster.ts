/** The nodes of one manager: who they are, and how a question is put to all of them. */
import type { Clock, Timer } from "../../clock.ts";
import { COMMAND_LIMIT } from "../../drivers/time-limit.ts";
import type { Driver, Send } from "../../drivers/driver.ts";
import { SchemeError } from "../../errors.ts";
import { judgeVotes, noQuorum, quorumOf } from "./ballot.ts";
import type { Verdict, Vote, Votes } from "./ballot.ts";
import { Identity } from "./identity.ts";
import { Node } from "./node.ts";
import type { NodeSettings, Poll, Wish } from "./node.ts";
import { Rounds } from "./round.ts";
import type { Outcome, Question, Round } from "./round.ts";

/** The first request waits no longer than this for nodes to say who they are. */
const INTRODUCTION = 250;

/** When a majority has told what is on it, the rest has this long, or as long as that took. */
const GRACE = 100;

/** Who did not answer in time is not asked first for so long. */
const LAGGING = 10_000;

export interface RosterSettings extends NodeSettings {
  readonly ttl: number;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean;
}

export class Roster {
  readonly nodes: readonly Node[];
  readonly quorum: number;
  /** Fewer votes decide nothing. */
  readonly #fewest: number;
  readonly #clock: Clock;
  readonly #nodeTimeout: number | undefined;
  readonly #identities: readonly Identity[];
  readonly #facts: { readonly servers: Map<string, string>; largestTtl: number; readonly delayRestarted: boolean };
  readonly #rounds: Rounds;
  /** The nodes, beginning with each of them. */
  readonly #orders: readonly (readonly Node[])[];
  #laggingUntil = 0;
  #introduction: Promise<void> | undefined;
  #introduced = false;

  constructor(drivers: readonly Driver[], clock: Clock, settings: RosterSettings) {
    this.#clock = clock;
    this.#nodeTimeout = settings.nodeTimeout;
    this.#facts = { servers: new Map(), largestTtl: settings.ttl, delayRestarted: settings.delayRestarted };
    const title = (i: number): string => `node ${i + 1} of ${drivers.length}`;
    this.#identities = drivers.map((driver, i) => new Identity(title(i), driver, clock, this.#facts));
    this.nodes = this.#identities.map(
      (identity, i) => new Node(title(i), drivers[i] as Driver, clock, identity, settings),
    );
    this.#orders = this.nodes.map((_, i) => [...this.nodes.slice(i), ...this.nodes.slice(0, i)]);
    this.#rounds = new Rounds(clock);
    this.quorum = quorumOf(drivers.length);
    this.#fewest = Math.min(this.quorum, drivers.length - this.quorum + 1);
  }

  /** The longest lease that this manager has asked for. */
  get largestTtl(): number {
    return this.#facts.largestTtl;
  }

  /** Before anything is asked for that lasts so long. Undefined where there is nothing to wait for. */
  prepare(ttl: number): Promise<void> | undefined {
    if (ttl > this.#facts.largestTtl) this.#facts.largestTtl = ttl;
    if (this.#introduced) return undefined;
    this.#introduction ??= this.#introduce(ttl).finally(() => (this.#introduction = undefined));
    return this.#introduction;
  }

  /**
   * Ask who grants a lock: a majority first, and the rest where that does not decide it, or soon after it did. The
   * same locks ask the same nodes first, whoever asks, so that votes are rarely split; different ones ask different
   * nodes, so that all have the same share of the work.
   */
  vote(
    lock: string,
    { ttl }: Wish,
    everywhere: boolean,
    { ask, followed }: Required<Pick<Question<Node, Vote, Verdict>, "ask" | "followed">>,
  ): Round<Node, Vote, Verdict> {
    const order = this.#orderFor(lock);
    const first = everywhere ? order.length : this.quorum;
    return this.#rounds.ask({
      first: order.slice(0, first),
      rest: order.slice(first),
      limit: this.#limit(ttl),
      ask,
      judge: (votes) => (votes.size < this.#fewest ? undefined : judgeVotes(votes.values(), this.nodes.length)),
      follows: ({ kind }) => kind === "granted" || kind === "raise",
      followed,
      lags: this.#lags,
    });
  }

  /** Ask all nodes about a lease of so long: each has much less time than that, for what it takes is lost. */
  ask<V, R>(
    ttl: number,
    ask: (node: Node, poll: Poll<V>) => void,
    judge: (votes: Votes<Node, V>) => R | undefined,
  ): Promise<Outcome<Node, V, R>> {
    return this.#askAll(this.nodes, this.#limit(ttl), ask, judge);
  }

  /** Ask these nodes about something that takes as long as it takes. */
  askPatiently<V, R>(
    nodes: readonly Node[],
    ask: (node: Node, poll: Poll<V>) => void,
    judge: (votes: Votes<Node, V>) => R | undefined,
  ): Promise<Outcome<Node, V, R>> {
    return this.#askAll(nodes, COMMAND_LIMIT, ask, judge);
  }

  /**
   * What each node answers, of those that do soon; at least a majority. What is not quick takes as long as it takes a
   * majority.
   */
  async askEach<T>(isQuick: boolean, ask: (node: Node) => Promise<T>): Promise<T[]> {
    const votes = await this.#hearAll(isQuick ? this.#limit(this.largestTtl) : Infinity, ask, GRACE);
    const answers = [...votes.values()].flatMap((vote) => ("answer" in vote ? [vote.answer] : []));
    if (answers.length < this.quorum) throw noQuorum(this.nodes, votes);
    return answers;
  }

  /** Send to all nodes; the first answer that is one. Null where there is none. */
  readonly broadcast: Send = (command) =>
    Promise.any(
      this.nodes.map(async (node) => {
        const reply = await node.send(command);
        return reply ?? Promise.reject(new Error("nothing there"));
      }),
    ).catch(() => null);

  /**
   * Ask the nodes who they are, before anything is sent that could be left behind. A minority of them that is younger
   * than the largest ttl has been restarted.
   *
   * @throws SchemeError where two are one server, or one is a replica
   */
  async #introduce(ttl: number): Promise<void> {
    const votes = await this.#hearAll(Math.min(INTRODUCTION, this.#limit(ttl)), (node) => node.meet());
    for (const vote of votes.values()) {
      const code = vote.kind === "failed" ? (vote.cause as SchemeError).code : undefined;
      if (vote.kind === "failed" && (code === "same-server" || code === "read-only")) throw vote.cause;
    }
    const known = this.#identities.filter(({ age }) => age !== undefined);
    const young = known.filter(({ age = Infinity }) => age < this.largestTtl);
    if (known.length - young.length >= this.quorum) await Promise.all(young.map((each) => each.leaveOut()));
    this.#introduced = known.length >= this.quorum;
  }

  close(): void {
    this.#rounds.close();
    for (const node of this.nodes) node.close();
  }

  #askAll<V, R>(
    nodes: readonly Node[],
    limit: number,
    ask: (node: Node, poll: Poll<V>) => void,
    judge: (votes: Votes<Node, V>) => R | undefined,
  ): Promise<Outcome<Node, V, R>> {
    return this.#rounds.ask({ first: nodes, rest: [], limit, ask, judge }).outcome;
  }

  /**
   * What every node answers, or why it does not.
   *
   * @param grace how long the others are waited for at least once a majority has answered
   */
  async #hearAll<T>(
    limit: number,
    ask: (node: Node) => Promise<T>,
    grace = Infinity,
  ): Promise<Votes<Node, { readonly kind: "yes"; readonly answer: T }>> {
    const askedAt = this.#clock.now();
    let answered = 0;
    let timer = undefined as Timer | undefined;
    const giveUp = (poll: Poll<{ readonly kind: "yes"; readonly answer: T }>): void => {
      const cause = new SchemeError("unreachable", "No answer soon after those of a majority.", [], true);
      for (const node of this.nodes) poll.count(node, { kind: "failed", cause });
    };
    const { votes } = await this.#askAll(
      this.nodes,
      limit,
      (node, poll: Poll<{ readonly kind: "yes"; readonly answer: T }>) => {
        ask(node).then(
          (answer) => {
            poll.count(node, { kind: "yes", answer });
            if (++answered !== this.quorum || grace === Infinity) return;
            timer = this.#clock.after(Math.max(grace, this.#clock.now() - askedAt), () => giveUp(poll));
          },
          (cause: unknown) => poll.count(node, { kind: "failed", cause }),
        );
      },
      (all) => all.size === this.nodes.length || undefined,
    );
    timer?.cancel();
    return votes;
  }

  readonly #lags = (node: Node): void => {
    this.#laggingUntil = node.lagsUntil = this.#clock.now() + LAGGING;
  };

  #orderFor(lock: string): readonly Node[] {
    const order = this.#orders[hash(lock) % this.nodes.length] as readonly Node[];
    if (this.#laggingUntil === 0) return order;
    const now = this.#clock.now();
    if (this.#laggingUntil <= now) this.#laggingUntil = 0;
    const lags = ({ lagsUntil }: Node): boolean => lagsUntil > now;
    return [...order.filter((node) => !lags(node)), ...order.filter(lags)];
  }

  #limit(ttl: number): number {
    const limit = this.#nodeTimeout ?? Math.min(COMMAND_LIMIT, Math.max(ttl / 20, 100));
    return Math.max(10, Math.min(limit, ttl / 4));
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193);
  return sum >>> 0;
}
