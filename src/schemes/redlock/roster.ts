/** The nodes of one manager: who they are, and how a question is put to all of them. */
import type { Clock } from "../../clock.ts";
import { COMMAND_LIMIT } from "../../driver.ts";
import type { Driver, Send } from "../../driver.ts";
import type { SchemeError } from "../../errors.ts";
import { askAll, noQuorum, quorumOf } from "./ballot.ts";
import type { Votes } from "./ballot.ts";
import { Identity } from "./identity.ts";
import { Node } from "./node.ts";

/** The first request waits no longer than this for nodes to say who they are. */
const INTRODUCTION = 250;

export interface RosterSettings {
  readonly prefix: string;
  readonly ttl: number;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean;
}

export class Roster {
  readonly nodes: readonly Node[];
  readonly quorum: number;
  readonly #clock: Clock;
  readonly #nodeTimeout: number | undefined;
  readonly #identities: readonly Identity[];
  readonly #facts: { readonly servers: Map<string, string>; largestTtl: number; readonly delayRestarted: boolean };
  #introduction: Promise<void> | undefined;
  #introduced = false;

  constructor(drivers: readonly Driver[], clock: Clock, settings: RosterSettings) {
    this.#clock = clock;
    this.#nodeTimeout = settings.nodeTimeout;
    this.#facts = { servers: new Map(), largestTtl: settings.ttl, delayRestarted: settings.delayRestarted };
    const title = (i: number): string => `node ${i + 1} of ${drivers.length}`;
    this.#identities = drivers.map((driver, i) => new Identity(title(i), driver, clock, this.#facts));
    this.nodes = this.#identities.map(
      (identity, i) => new Node(title(i), drivers[i] as Driver, clock, identity, settings.prefix),
    );
    this.quorum = quorumOf(drivers.length);
  }

  /** The longest lease that this manager has asked for. */
  get largestTtl(): number {
    return this.#facts.largestTtl;
  }

  /** How often connections were lost. */
  get drops(): number {
    return this.nodes.reduce((sum, { driver }) => sum + driver.drops, 0);
  }

  /** Before anything is asked for that lasts so long. */
  async prepare(ttl: number): Promise<void> {
    this.#facts.largestTtl = Math.max(this.#facts.largestTtl, ttl);
    if (this.#introduced) return;
    this.#introduction ??= this.#introduce(ttl).finally(() => (this.#introduction = undefined));
    await this.#introduction;
  }

  /** Ask all nodes about a lease of so long: each has much less time than that, for what it takes is lost. */
  ask<V, R>(
    ttl: number,
    ask: (node: Node, open: () => boolean) => Promise<V>,
    judge: (votes: Votes<Node, V>) => R | undefined,
  ): Promise<{ readonly result: R; readonly votes: Votes<Node, V> }> {
    return askAll(this.nodes, { clock: this.#clock, limit: this.#limit(ttl) }, ask, judge);
  }

  /** Ask all nodes about something that takes as long as it takes. */
  askPatiently<V, R>(
    ask: (node: Node) => Promise<V>,
    judge: (votes: Votes<Node, V>) => R | undefined,
  ): Promise<{ readonly result: R; readonly votes: Votes<Node, V> }> {
    return askAll(this.nodes, { clock: this.#clock, limit: COMMAND_LIMIT }, ask, judge);
  }

  /** What each node answers, of those that do; at least a majority. What is not quick takes as long as it takes. */
  async askEach<T>(isQuick: boolean, ask: (node: Node) => Promise<T>): Promise<T[]> {
    const { votes } = await askAll(
      this.nodes,
      { clock: this.#clock, limit: isQuick ? this.#limit(this.largestTtl) : Infinity },
      (node) => ask(node).then((answer) => ({ kind: "yes" as const, answer })),
      (all) => all.size === this.nodes.length || undefined,
    );
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
    const { votes } = await askAll(
      this.nodes,
      { clock: this.#clock, limit: Math.min(INTRODUCTION, this.#limit(ttl)) },
      (node) => node.meet().then(() => ({ kind: "yes" as const })),
      (all) => all.size === this.nodes.length || undefined,
    );
    for (const vote of votes.values()) {
      const code = vote.kind === "failed" ? (vote.cause as SchemeError).code : undefined;
      if (vote.kind === "failed" && (code === "same-server" || code === "read-only")) throw vote.cause;
    }
    const known = this.#identities.filter(({ age }) => age !== undefined);
    const young = known.filter(({ age = Infinity }) => age < this.largestTtl);
    if (known.length - young.length >= this.quorum) await Promise.all(young.map((each) => each.leaveOut()));
    this.#introduced = known.length >= this.quorum;
  }

  #limit(ttl: number): number {
    const limit = this.#nodeTimeout ?? Math.min(COMMAND_LIMIT, Math.max(ttl / 20, 100));
    return Math.max(10, Math.min(limit, ttl / 4));
  }
}
