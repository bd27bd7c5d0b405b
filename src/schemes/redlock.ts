/**
 * The `redlock` scheme: locks over several independent masters. A lock is held by whoever a majority of them says so.
 * https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/#the-redlock-algorithm, with what it lacks:
 * fences that grow (docs/decisions/009-fences-on-redlock.md), and leases put back only where nobody can have held since.
 *
 * Guarantees one exclusive holder as long as fewer than half of the nodes fail, their clocks and ours run at about
 * the same speed, and no node forgets a lease that still runs; and growing fences also where clocks do not agree,
 * leases end early, and messages come late or never. Goes on while a majority of the nodes answers.
 *
 * Does not guarantee any order: waiters contend, one of each manager, when a majority of the nodes has told them of
 * a release, or after a growing, random pause. Exclusive locks only. Any library that does `SET key token NX PX` on
 * the same nodes excludes us and we it.
 */
import type { Clock } from "../clock.ts";
import { COMMAND_LIMIT, schemeError } from "../driver.ts";
import type { Driver, Send } from "../driver.ts";
import type { SchemeError } from "../errors.ts";
import { channelPrefix, nameOfKey, nodeKeys } from "../keys.ts";
import type { NodeKeys } from "../keys.ts";
import { TOKEN } from "../scheme.ts";
import type {
  Answer,
  Extension,
  GivenUp,
  Grant,
  HolderState,
  LockMode,
  LockRequest,
  LockState,
  PushListener,
  Scheme,
  Selection,
} from "../scheme.ts";
import { Clients } from "./clients.ts";
import { EXPIRY_MARGIN, POKE_INTERVAL } from "./memory.ts";
import { AheadOfClock, askAll, judgeVotes, judgeYes, noQuorum, quorumOf } from "./redlock/ballot.ts";
import type { Failure, Vote, Votes } from "./redlock/ballot.ts";
import { Identity } from "./redlock/identity.ts";
import { Line } from "./redlock/line.ts";
import { isLook, majorityState } from "./redlock/look.ts";
import type { Look } from "./redlock/look.ts";
import { Node } from "./redlock/node.ts";
import { Proposals } from "./redlock/proposals.ts";
import { findNames } from "./scan.ts";

/** Pauses of the first in line, while releases are told and while they are not. */
const PAUSES = { told: { first: 50, longest: 1_000 }, untold: { first: 10, longest: 250 } };
/** After split votes, somebody must come first: up to so many milliseconds apart. */
const SPLIT_PAUSE = 30;
/** The first request waits no longer than this for nodes to say who they are, once a majority has. */
const INTRODUCTION = 250;

export interface RedlockSettings {
  readonly prefix: string;
  readonly clientId: string;
  readonly label: string;
  readonly ttl: number;
  readonly nodeTimeout: number | undefined;
  readonly delayRestarted: boolean;
}

/** How a vote over a request came out. */
interface Campaign {
  /** The fence of the grant, or why there is none. */
  readonly won: number | "held" | "no-quorum";
  readonly votes: Votes<Node, Vote>;
  /** Of the round that decided. */
  readonly error: () => SchemeError;
}

export class RedlockScheme implements Scheme {
  readonly name = "redlock";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive"]);
  readonly #clock: Clock;
  readonly #settings: RedlockSettings;
  readonly #nodes: readonly Node[];
  readonly #identities: readonly Identity[];
  readonly #quorum: number;
  readonly #roster: { readonly servers: Map<string, string>; largestTtl: number; readonly delayRestarted: boolean };
  readonly #proposals: Proposals;
  readonly #clients: Clients;
  readonly #line: Line;
  #introduction: Promise<void> | undefined;
  #introduced = false;
  #listener: PushListener | undefined;
  #listening = false;
  #closed = false;

  constructor(drivers: readonly Driver[], clock: Clock, settings: RedlockSettings) {
    this.#clock = clock;
    this.#settings = settings;
    const { prefix, ttl, delayRestarted } = settings;
    this.#roster = { servers: new Map(), largestTtl: ttl, delayRestarted };
    const title = (i: number): string => `node ${i + 1} of ${drivers.length}`;
    this.#identities = drivers.map((driver, i) => new Identity(title(i), driver, clock, this.#roster));
    this.#nodes = drivers.map(
      (driver, i) => new Node(title(i), driver, clock, this.#identities[i] as Identity, prefix),
    );
    this.#quorum = quorumOf(drivers.length);
    this.#proposals = new Proposals(clock);
    this.#clients = new Clients(this.#broadcast, clock, settings);
    this.#line = new Line((lock, token, delay) => this.#listener?.next(lock, token, delay - EXPIRY_MARGIN));
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  async acquire(request: LockRequest, wait: boolean): Promise<Answer> {
    const { lock, token } = request;
    await this.#prepare(request.ttl);
    const { won, votes, error } = await this.#campaign(request, { client: wait, force: false });
    if (typeof won === "number") {
      this.#line.leave(lock, token);
      return { kind: "granted", fence: won };
    }
    if (won === "no-quorum") throw error();
    if (!wait) return { kind: "busy" };
    this.#listen();
    return { kind: "pending", pokeAfter: this.#pokeAfter(request, this.#line.enter(lock, token), votes) };
  }

  async steal(request: LockRequest): Promise<Answer> {
    await this.#prepare(request.ttl);
    const { won, votes, error } = await this.#campaign(request, { client: false, force: true });
    if (typeof won !== "number") throw error();
    const victims = new Set<string>();
    for (const vote of votes.values()) if (vote.kind === "granted" && vote.victim) victims.add(vote.victim);
    victims.delete(request.token);
    for (const victim of victims) this.#tellLoss(request.lock, victim, won);
    return { kind: "granted", fence: won };
  }

  async extend(grant: Grant, ttl: number): Promise<Extension> {
    await this.#prepare(ttl);
    // Whoever holds for so long wants to know soon when the lock is stolen.
    this.#listen();
    const keys = this.#keys(grant.lock);
    const { result, votes } = await askAll(
      this.#nodes,
      this.#terms(ttl),
      (node, open) => node.renew(keys, grant, ttl, open),
      (all) => judgeYes(all.values(), this.#nodes.length),
    );
    if (result === "yes") return "extended";
    if (result === "no-quorum") throw noQuorum(this.#nodes, votes);
    // The lease is over: what is left of it, or was put back just now, must not stand in anybody's way.
    for (const node of this.#nodes) node.drop(keys, grant.token, true, ttl).catch(() => {});
    const lost = [...votes.values()].filter(({ kind }) => kind === "no");
    return lost.filter((vote) => "other" in vote && vote.other).length * 2 > lost.length ? "stolen" : "gone";
  }

  async release({ lock, token }: GivenUp): Promise<"released" | "gone" | "unsure"> {
    this.#line.leave(lock, token);
    const keys = this.#keys(lock);
    const dropsBefore = this.#drops;
    const { result, votes } = await askAll(
      this.#nodes,
      { clock: this.#clock, limit: COMMAND_LIMIT },
      (node) => node.drop(keys, token, true, this.#roster.largestTtl),
      (all) => this.#judgeRelease([...all.values()]),
    );
    if (result === "no-quorum") throw noQuorum(this.#nodes, votes);
    return result === "gone" && dropsBefore !== this.#drops ? "unsure" : result;
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.foreign ?? holder.token;
    if (expected === undefined) return false;
    const keys = this.#keys(lock);
    const { result, votes } = await askAll(
      this.#nodes,
      { clock: this.#clock, limit: COMMAND_LIMIT },
      (node) => node.evict(keys, expected),
      (all) => {
        const kinds = [...all.values()].map(({ kind }) => kind);
        const failed = kinds.filter((kind) => kind === "failed").length;
        // Who held a majority of the nodes held one of these; and is left with less than a majority now.
        if (kinds.length - failed >= this.#quorum) return kinds.includes("yes") ? "taken" : "gone";
        return failed > this.#nodes.length - this.#quorum ? "no-quorum" : undefined;
      },
    );
    if (result === "no-quorum") throw noQuorum(this.#nodes, votes);
    if (result === "taken" && holder.token) this.#tellLoss(lock, holder.token, holder.fence ?? Number.MAX_SAFE_INTEGER);
    return result === "taken";
  }

  async query(selection: Selection): Promise<LockState[]> {
    const named = typeof selection === "object" && "name" in selection;
    const found = await this.#askEach((node) =>
      findNames((command) => node.send(command), this.#settings.prefix, selection),
    );
    const names = [...new Set(found.flat())].sort();
    const keys = names.map((name) => this.#keys(name));
    const looks = names.length > 0 ? await this.#askEach((node) => node.look(keys)) : [];
    const states = names.map((name, i) => {
      const answers = looks.map((each) => each[i]);
      // Among all keys of the prefix there may be some that are no locks.
      const failure = answers.find((each) => !isLook(each)) as unknown[] | undefined;
      if (failure && named) throw schemeError(new Error(String(failure[1])));
      return majorityState(name, answers.filter(isLook) as Look[], this.#quorum);
    });
    const tokens = states.flatMap(({ holders }) => holders.flatMap(({ token }) => token ?? []));
    const labelOf = await this.#clients.labels(tokens);
    return states.map((state) => ({
      ...state,
      holders: state.holders.map((each) => ({ ...each, label: labelOf(each.token ?? "") })),
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#clients.forget(), ...this.#nodes.map((node) => node.settled())]);
    for (const node of this.#nodes) node.close();
  }

  /**
   * One vote over one request: a round to ask, and a second one only where the fences of a majority differ. What it
   * did not win is taken back on every node that may have granted it, also later.
   */
  async #campaign(request: LockRequest, manner: { client: boolean; force: boolean }): Promise<Campaign> {
    const keys = this.#keys(request.lock);
    const first = await this.#poll(request, keys, manner);
    if (typeof first.won === "number") return first;
    this.#takeBack(request, keys, first.votes);
    const refusals = [...first.votes.values()].filter(wasAhead);
    if (refusals.length === 0) return first;
    // The nodes' clocks are behind ours: propose by theirs.
    for (const { cause } of refusals) this.#proposals.refused((cause as AheadOfClock).micros);
    const second = await this.#poll(request, keys, manner);
    if (typeof second.won !== "number") this.#takeBack(request, keys, second.votes);
    return second;
  }

  async #poll(
    { token, ttl }: LockRequest,
    keys: NodeKeys,
    manner: { client: boolean; force: boolean },
  ): Promise<Campaign> {
    const client = manner.client ? this.#settings.clientId : "";
    const wish = { token, ttl, proposal: this.#proposals.next(), client, force: manner.force };
    const { result, votes } = await askAll(
      this.#nodes,
      this.#terms(ttl),
      (node, open) => node.vote(keys, wish, open),
      (all) => judgeVotes(all.values(), this.#nodes.length),
    );
    const error = (): SchemeError => noQuorum(this.#nodes, votes);
    if (result.kind === "granted") {
      this.#proposals.drawn(result.fence);
      return { won: result.fence, votes, error };
    }
    if (result.kind !== "raise") return { won: result.kind, votes, error };
    return this.#raise(token, ttl, keys, votes, result.fence);
  }

  /** Bring the largest fence of the votes to a majority, where they are still ours. */
  async #raise(token: string, ttl: number, keys: NodeKeys, votes: Votes<Node, Vote>, fence: number): Promise<Campaign> {
    const raised = await askAll(
      this.#nodes,
      this.#terms(ttl),
      async (node, open) => {
        const vote = votes.get(node);
        if (vote?.kind === "failed") throw vote.cause;
        if (vote?.kind !== "granted") return { kind: "no" as const };
        return vote.fence === fence ? { kind: "yes" as const } : node.raise(keys, token, fence, open);
      },
      (all) => judgeYes(all.values(), this.#nodes.length),
    );
    if (raised.result === "yes") this.#proposals.drawn(fence);
    const won = raised.result === "yes" ? fence : raised.result === "no" ? "held" : "no-quorum";
    return { won, votes, error: () => noQuorum(this.#nodes, raised.votes) };
  }

  #takeBack({ token, ttl }: LockRequest, keys: NodeKeys, votes: Votes<Node, Vote>): void {
    for (const node of this.#nodes) {
      // Nobody waits for this release: telling of it would only make contenders ask at once, and split again.
      if (votes.get(node)?.kind !== "held") node.drop(keys, token, false, ttl).catch(() => {});
    }
  }

  #judgeRelease(votes: readonly { readonly kind: string }[]): "released" | "gone" | "unsure" | "no-quorum" | undefined {
    const count = (kind: string): number => votes.filter((vote) => vote.kind === kind).length;
    const minority = this.#nodes.length - this.#quorum;
    if (count("yes") >= this.#quorum) return "released";
    if (count("no") > minority) return "gone";
    if (count("failed") > minority) return "no-quorum";
    return votes.length === this.#nodes.length ? "unsure" : undefined;
  }

  /** When a waiter asks again by itself. */
  #pokeAfter(request: LockRequest, first: boolean, votes: Votes<Node, Vote>): number {
    // The ticket counts the attempts: each pause is longer than the last.
    const attempt = Number(request.ticket ?? 0);
    request.ticket = String(attempt + 1);
    if (!first) return POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const held = [...votes.values()].filter((vote) => vote.kind === "held");
    const holders = new Set(held.map(({ holder }) => holder));
    const [holder = ""] = holders;
    const isSplit = holders.size > 1 || [...votes.values()].some(({ kind }) => kind === "granted");
    if (isSplit) return Math.random() * SPLIT_PAUSE;
    const told = TOKEN.test(holder) && this.#nodes.filter(({ listens }) => listens).length >= this.#quorum;
    const pauses = told ? PAUSES.told : PAUSES.untold;
    const pause = Math.min(pauses.longest, pauses.first * 1.5 ** attempt) * (0.5 + Math.random());
    // A majority is free when this one's time has ended: until then, every lease of the same holder runs.
    const left = Math.max(...held.map((vote) => (vote.left < 0 ? Infinity : vote.left)));
    return Math.min(pause, left + EXPIRY_MARGIN + 10 * Math.random());
  }

  async #prepare(ttl: number): Promise<void> {
    this.#roster.largestTtl = Math.max(this.#roster.largestTtl, ttl);
    this.#clients.announce(ttl);
    if (this.#introduced) return;
    this.#introduction ??= this.#introduce(ttl).finally(() => (this.#introduction = undefined));
    await this.#introduction;
  }

  /**
   * Ask the nodes who they are, before anything is sent that could be left behind. A minority of them that is younger
   * than the largest ttl has been restarted.
   *
   * @throws SchemeError where two are one server, or one is a replica
   */
  async #introduce(ttl: number): Promise<void> {
    const limit = Math.min(INTRODUCTION, this.#limit(ttl));
    const { votes } = await askAll(
      this.#nodes,
      { clock: this.#clock, limit },
      (node) => node.meet().then(() => ({ kind: "yes" as const })),
      (all) => all.size === this.#nodes.length || undefined,
    );
    for (const vote of votes.values()) {
      const code = vote.kind === "failed" ? (vote.cause as SchemeError).code : undefined;
      if (vote.kind === "failed" && (code === "same-server" || code === "read-only")) throw vote.cause;
    }
    const known = this.#identities.filter(({ age }) => age !== undefined);
    const young = known.filter(({ age = Infinity }) => age < this.#roster.largestTtl);
    if (known.length - young.length >= this.#quorum) await Promise.all(young.map((each) => each.leaveOut()));
    this.#introduced = known.length >= this.#quorum;
  }

  #listen(): void {
    if (this.#listening || this.#closed) return;
    this.#listening = true;
    for (const node of this.#nodes) {
      node.listen(this.#settings.clientId, (text) => this.#hear(node, text));
    }
  }

  #hear(node: Node, text: string): void {
    const [, what, number, token = "", key = ""] = /^(\w+) (\d+) (\S+) ([^]*)$/.exec(text) ?? [];
    const lock = nameOfKey(this.#settings.prefix, key) ?? "";
    if (what === "freed") this.#line.freed(lock, node, this.#quorum, Number(number));
    else if (what === "lost") this.#listener?.lost(lock, token, Number(number));
  }

  #tellLoss(lock: string, token: string, fence: number): void {
    if (!TOKEN.test(token)) return;
    const channel = channelPrefix(this.#settings.prefix) + token.slice(0, token.indexOf(":"));
    const [key] = this.#keys(lock);
    void this.#broadcast(["PUBLISH", channel, `lost ${fence} ${token} ${key}`]);
  }

  /** Send to all nodes; the first answer that is one. Null where there is none. */
  readonly #broadcast: Send = (command) =>
    Promise.any(
      this.#nodes.map(async (node) => {
        const reply = await node.send(command);
        return reply ?? Promise.reject(new Error("nothing there"));
      }),
    ).catch(() => null);

  /** What each node answers, of those that do; at least a majority. */
  async #askEach<T>(ask: (node: Node) => Promise<T>): Promise<T[]> {
    const { votes } = await askAll(
      this.#nodes,
      this.#terms(this.#settings.ttl),
      (node) => ask(node).then((answer) => ({ kind: "yes" as const, answer })),
      (all) => all.size === this.#nodes.length || undefined,
    );
    const answers = [...votes.values()].flatMap((vote) => ("answer" in vote ? [vote.answer] : []));
    if (answers.length < this.#quorum) throw noQuorum(this.#nodes, votes);
    return answers;
  }

  #keys(lock: string): NodeKeys {
    return nodeKeys(this.#settings.prefix, lock);
  }

  #terms(ttl: number): { readonly clock: Clock; readonly limit: number } {
    return { clock: this.#clock, limit: this.#limit(ttl) };
  }

  /** How long one node may take: much less than the lease, of which its time is spent. */
  #limit(ttl: number): number {
    const { nodeTimeout = Math.min(COMMAND_LIMIT, Math.max(ttl / 20, 100)) } = this.#settings;
    return Math.max(10, Math.min(nodeTimeout, ttl / 4));
  }

  get #drops(): number {
    return this.#nodes.reduce((sum, { driver }) => sum + driver.drops, 0);
  }
}

function wasAhead(vote: Vote | Failure): vote is Failure {
  return vote.kind === "failed" && vote.cause instanceof AheadOfClock;
}
