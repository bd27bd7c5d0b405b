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
import { report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import type { Clock } from "../clock.ts";
import { schemeError } from "../drivers/server-errors.ts";
import type { Driver } from "../drivers/driver.ts";
import { channelPrefix, Keys, nameOfKey, nodeKeys } from "./keys.ts";
import type { NodeKeys } from "./keys.ts";
import { notOverNodes } from "../errors.ts";
import { EXPIRY_MARGIN, POKE_INTERVAL, TOKEN } from "./scheme.ts";
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
  Selection,
} from "./scheme.ts";
import { Clients } from "./clients.ts";
import type { ClientSettings } from "./clients.ts";
import { judgeRelease, judgeYes, noQuorum } from "./redlock/ballot.ts";
import type { Vote, Votes } from "./redlock/ballot.ts";
import { Campaign } from "./redlock/campaign.ts";
import { Line } from "./redlock/line.ts";
import { isLook, majorityState } from "./redlock/look.ts";
import type { Dropped, Node, Poll, Renewal, Yes } from "./redlock/node.ts";
import { Proposals } from "./redlock/proposals.ts";
import { Roster } from "./redlock/roster.ts";
import type { RosterSettings } from "./redlock/roster.ts";
import { findNames } from "./scan.ts";

/** Pauses of the first in line: while releases are told, while they are not, and after split votes. */
const PAUSES = {
  told: { first: 50, longest: 1_000 },
  untold: { first: 10, longest: 250 },
  split: { first: 20, longest: 250 },
};

export interface RedlockSettings extends RosterSettings, ClientSettings {}

export class RedlockScheme implements Scheme {
  readonly name = "redlock";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive"]);
  readonly #settings: RedlockSettings;
  readonly #keys: Keys<NodeKeys>;
  readonly #roster: Roster;
  readonly #campaign: Campaign;
  readonly #clients: Clients;
  readonly #line: Line;
  #listener: PushListener | undefined;
  #listening = false;
  #closed = false;

  constructor(drivers: readonly Driver[], clock: Clock, settings: RedlockSettings) {
    this.#settings = settings;
    this.#keys = new Keys(settings.prefix, nodeKeys);
    this.#roster = new Roster(drivers, clock, settings);
    this.#campaign = new Campaign(this.#roster, new Proposals(clock));
    this.#clients = new Clients(this.#roster.broadcast, clock, settings, () =>
      Promise.resolve(this.#roster.nodes.map((node) => (command) => node.send(command))),
    );
    // The manager adds the margin, which is for leases that end by themselves.
    this.#line = new Line((lock, token, delay) => this.#listener?.next(lock, token, delay - EXPIRY_MARGIN));
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  hearing(): undefined {}

  written(): Promise<void> {
    return Promise.resolve();
  }

  acquire(question: Question): void {
    question.isSent = true;
    report(this.#acquire(question), question);
  }

  async #acquire(request: Question): Promise<Answer> {
    const { lock, token, wait } = request;
    const preparing = this.#prepare(request.ttl);
    if (preparing) await preparing;
    const { won, votes, error } = await this.#campaign.run(request, this.#keys.of(lock), {
      wait,
      force: false,
      // A release must be told by more nodes than have to tell of it, for some may be missed.
      everywhere: this.#line.has(lock),
    });
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
    const { won, votes, error } = await this.#campaign.run(request, this.#keys.of(request.lock), {
      wait: false,
      force: true,
      // From whom it is taken must be found wherever it is held.
      everywhere: true,
    });
    if (typeof won !== "number") throw error();
    const victims = new Set<string>();
    for (const vote of votes.values()) if (vote.kind === "granted" && vote.victim) victims.add(vote.victim);
    victims.delete(request.token);
    for (const victim of victims) this.#tellLoss(request.lock, victim, won);
    const robbed = Array.from(victims, (token) => ({ token, fence: undefined, label: "" }));
    return { kind: "granted", fence: won, victims: robbed };
  }

  extend(grant: Grant, ttl: number, _durability: undefined, caller: Caller<Extension>): void {
    report(this.#extend(grant, ttl), caller);
  }

  async #extend(grant: Grant, ttl: number): Promise<Extension> {
    await this.#prepare(ttl);
    // Whoever holds for so long wants to know soon when the lock is stolen.
    this.#listen();
    const keys = this.#keys.of(grant.lock);
    // Whom a renewal asks need not be asked for the lock.
    this.#campaign.end(grant.token);
    const { result, votes } = await this.#roster.ask(
      ttl,
      (node, poll: Poll<Renewal>) => node.renew(keys, grant, ttl, poll),
      (all) => judgeYes(all.values(), this.#roster.nodes.length),
    );
    if (result === "yes") return "extended";
    if (result === "no-quorum") throw noQuorum(this.#roster.nodes, votes);
    // The lease is over: what is left of it, or was put back just now, must not stand in anybody's way.
    for (const node of this.#roster.nodes) node.drop(keys, grant.token, { tell: true, ttl });
    const lost = [...votes.values()].filter(({ kind }) => kind === "no");
    return lost.filter((vote) => "other" in vote && vote.other).length * 2 > lost.length ? "stolen" : "gone";
  }

  keep(): Promise<Release> {
    return Promise.reject(notOverNodes("keep a lock for longer than its holder lives"));
  }

  assertHandsOver(): never {
    throw notOverNodes("hand a lock over");
  }

  handOver(): Promise<Answer> {
    return Promise.reject(notOverNodes("hand a lock over"));
  }

  release(farewell: Farewell): void {
    report(this.#release(farewell), farewell);
  }

  async #release({ lock, token }: Farewell): Promise<Release> {
    this.#line.leave(lock, token);
    const keys = this.#keys.of(lock);
    // Also by a holder: on a node where it had no vote, it may still be waited for.
    const leaving = this.#line.has(lock) ? "" : this.#settings.clientId;
    const dropping = { tell: true, ttl: this.#roster.largestTtl, leaving };
    const asked = this.#campaign.end(token);
    const { result, votes } = await this.#roster.askPatiently(
      asked,
      (node, poll: Poll<Dropped>) => node.drop(keys, token, dropping, poll),
      (all) => judgeRelease(all.values(), asked.length, this.#roster.nodes.length),
    );
    if (result === "no-quorum") throw noQuorum(this.#roster.nodes, votes);
    return result;
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    const expected = holder.foreign ?? holder.token;
    if (expected === undefined) return false;
    const keys = this.#keys.of(lock);
    const { result, votes } = await this.#roster.askPatiently(
      this.#roster.nodes,
      (node, poll: Poll<Yes>) => node.evict(keys, expected, holder, poll),
      (all) => {
        const kinds = [...all.values()].map(({ kind }) => kind);
        const failed = kinds.filter((kind) => kind === "failed").length;
        // Who held a majority of the nodes held one of these; and is left with less than a majority now.
        if (kinds.length - failed >= this.#roster.quorum) return kinds.includes("yes") ? "taken" : "gone";
        return failed > this.#roster.nodes.length - this.#roster.quorum ? "no-quorum" : undefined;
      },
    );
    if (result === "no-quorum") throw noQuorum(this.#roster.nodes, votes);
    if (result === "taken" && holder.token) this.#tellLoss(lock, holder.token, holder.fence ?? Number.MAX_SAFE_INTEGER);
    return result === "taken";
  }

  async query(selection: Selection): Promise<LockState[]> {
    const named = typeof selection === "object" && "name" in selection;
    const found = await this.#roster.askEach(named, (node) =>
      findNames(() => Promise.resolve([(command) => node.send(command)]), this.#settings.prefix, selection),
    );
    const names = [...new Set(found.flat())].sort();
    const keys = names.map((name) => this.#keys.of(name));
    const looks = names.length > 0 ? await this.#roster.askEach(true, (node) => node.look(keys)) : [];
    const states = names.map((name, i) => {
      const answers = looks.map((each) => each[i]);
      // Among all keys of the prefix there may be some that are no locks.
      const failure = answers.find((each) => !isLook(each)) as unknown[] | undefined;
      if (failure && named) throw schemeError(new Error(String(failure[1])));
      return majorityState(name, answers.filter(isLook), this.#roster.quorum);
    });
    return this.#clients.labelled(states);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#clients.forget(), ...this.#roster.nodes.map((node) => node.settled())]);
    this.#roster.close();
  }

  /** When a waiter asks again by itself. */
  #pokeAfter(request: Question, first: boolean, votes: Votes<Node, Vote>): number {
    if (!first) return POKE_INTERVAL * (0.9 + 0.2 * Math.random());
    const { nodes, quorum } = this.#roster;
    const held = [...votes.values()].filter((vote) => vote.kind === "held");
    const [holder = "", ...others] = new Set(held.map((vote) => vote.holder));
    // Nobody has a majority, and no node is silent that could make it one.
    const split = others.length > 0 || (held.length < quorum && votes.size === nodes.length && !hasFailure(votes));
    const isTold = TOKEN.test(holder) && nodes.filter(({ listens }) => listens).length >= quorum;
    const why = split ? "split" : isTold ? "told" : "untold";
    const attempt = countAttempt(request, why);
    const { first: shortest, longest } = PAUSES[why];
    const pause = Math.min(longest, shortest * 1.5 ** attempt);
    if (split) return Math.random() * pause;
    // A majority is free when this one's time has ended: until then, every lease of the same holder runs.
    const left = Math.max(...held.map((vote) => (vote.left < 0 ? Infinity : vote.left)));
    return Math.min(pause * (0.5 + Math.random()), left + EXPIRY_MARGIN + 10 * Math.random());
  }

  #prepare(ttl: number): Promise<void> | undefined {
    const preparing = this.#roster.prepare(ttl);
    if (preparing) return preparing.then(() => this.#clients.announce(ttl));
    this.#clients.announce(ttl);
    return undefined;
  }

  #listen(): void {
    if (this.#listening || this.#closed) return;
    this.#listening = true;
    for (const node of this.#roster.nodes) {
      node.listen(this.#settings.clientId, (text) => this.#hear(node, text));
    }
  }

  #hear(node: Node, text: string): void {
    const [, what, number, token = "", key = ""] = /^(\w+) (\d+) (\S+) ([^]*)$/.exec(text) ?? [];
    const lock = nameOfKey(this.#settings.prefix, key) ?? "";
    if (what === "freed") this.#line.freed(lock, node, this.#roster.quorum, Number(number));
    else if (what === "lost") this.#listener?.lost(lock, token, Number(number));
  }

  #tellLoss(lock: string, token: string, fence: number): void {
    if (!TOKEN.test(token)) return;
    const channel = channelPrefix(this.#settings.prefix) + token.slice(0, token.indexOf(":"));
    const [key] = this.#keys.of(lock);
    void this.#roster.broadcast(["PUBLISH", channel, `lost ${fence} ${token} ${key}`]);
  }
}

function hasFailure(votes: Votes<Node, Vote>): boolean {
  return [...votes.values()].some(({ kind }) => kind === "failed");
}

/** How often in a row the request was kept waiting for this reason; its ticket remembers. */
function countAttempt(request: Question, why: keyof typeof PAUSES): number {
  const [last, count] = (request.ticket ?? "").split(" ");
  const attempt = last === why ? Number(count) + 1 : 0;
  request.ticket = `${why} ${attempt}`;
  return attempt;
}
