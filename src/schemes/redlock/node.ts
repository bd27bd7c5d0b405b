/** One of several independent servers: what it is asked, and what must be undone there. Knows no majority. */
import type { Clock, Timer } from "../../clock.ts";
import { COMMAND_LIMIT, TimeLimit } from "../../drivers/time-limit.ts";
import { runScript } from "../../drivers/run-script.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import type { Driver, Subscription } from "../../drivers/driver.ts";
import { channelPrefix } from "../keys.ts";
import type { NodeKeys } from "../keys.ts";
import * as lua from "./scripts.generated.ts";
import type { Grant, HolderState } from "../scheme.ts";
import { Outbox } from "../outbox.ts";
import type { Listener, PostItem } from "../outbox.ts";
import { checkReply } from "../lua/replies.ts";
import { AheadOfClock } from "./ballot.ts";
import type { Failure, Vote } from "./ballot.ts";
import { Errands } from "./errands.ts";
import type { Errand } from "./errands.ts";
import type { Identity } from "./identity.ts";

/** What a node could not be told is told again so often, as long as a key may be left there. */
const DEBT_PAUSE = 1_000;
const CLOSING_PAUSE = 100;
/** How much longer than a lease a node remembers its fence, in milliseconds: as in the scripts. */
const COUNTER_LIFE = 300_000;
/** So many keys to drop are remembered for a node that is away; what is beyond goes with its ttl. */
const MOST_DEBTS = 10_000;

/** A wish to hold, as it is put to every node. */
export class Wish {
  readonly token: string;
  readonly ttl: number;
  readonly proposal: number;
  readonly force: boolean;
  readonly args: [number: string, proposal: string];
  /** What others may wish for in the same call. */
  readonly shared: readonly [ttl: number, wait: boolean, force: boolean];

  /** @param wait be told of a release */
  constructor(token: string, ttl: number, proposal: number, wait: boolean, force: boolean) {
    this.token = token;
    this.ttl = ttl;
    this.proposal = proposal;
    this.force = force;
    // The tokens of a manager differ only in what follows its id.
    this.args = [token.slice(token.indexOf(":") + 1), String(proposal)];
    this.shared = [ttl, wait, force];
  }

  /** The same without being told of a release. */
  quiet(): Wish {
    return new Wish(this.token, this.ttl, this.proposal, false, this.force);
  }
}

/** How a key is taken away. */
export interface Dropping {
  /** Those who wait for it are told. */
  readonly tell: boolean;
  /** How long the key may last. */
  readonly ttl: number;
  /** The manager that is to be told of releases no longer; "" for none. */
  readonly leaving?: string;
}

export interface NodeSettings {
  readonly prefix: string;
  readonly clientId: string;
}

/** A key that must go. */
interface Debt {
  readonly keys: NodeKeys;
  readonly until: number;
}

/** Whether the node did what it was asked to. */
export interface Yes {
  readonly kind: "yes" | "no";
}

/** Whether the key was there; "unsure" if not, but the call may have run twice. */
export interface Dropped {
  readonly kind: "yes" | "no" | "unsure";
}

export interface Renewal extends Yes {
  /** Somebody else holds there. */
  readonly other: boolean;
}

/** Where the node's vote is counted. Nothing is sent where it is no longer wanted. */
export interface Poll<V> {
  readonly wanted: boolean;
  count(node: Node, vote: V | Failure): void;
}

/** A question that is on its way. */
class Asked<V> implements Listener {
  readonly token: string;
  readonly poll: Poll<V>;
  readonly read: (reply: unknown) => V;
  readonly send: (asked: Asked<V>) => void;
  errand: Errand | undefined;
  readonly #answered: (asked: Asked<V>, reply: unknown, error: unknown) => void;

  constructor(
    token: string,
    poll: Poll<V>,
    read: (reply: unknown) => V,
    send: (asked: Asked<V>) => void,
    answered: (asked: Asked<V>, reply: unknown, error: unknown) => void,
  ) {
    this.token = token;
    this.poll = poll;
    this.read = read;
    this.send = send;
    this.#answered = answered;
  }

  heard(reply: unknown, error: unknown): void {
    this.#answered(this, reply, error);
  }
}

export class Node {
  /** How it is called in messages. */
  readonly title: string;
  readonly driver: Driver;
  /** It did not answer in time of late: others are asked first until then. */
  lagsUntil: number = -Infinity;
  readonly #clock: Clock;
  readonly #identity: Identity;
  readonly #limit: TimeLimit;
  readonly #channel: string;
  readonly #vote: PostItem<NodeKeys, [number: string, proposal: string], [ttl: number, wait: boolean, force: boolean]>;
  readonly #raise: PostItem<[string, string], [string, string]>;
  readonly #renew: PostItem<[string, string], [string, string, string]>;
  readonly #drop: PostItem<[string, string], [string], [tell: boolean, leaving: string]>;
  readonly #evict: PostItem<NodeKeys, [holder: string, fence: string, life: string]>;
  readonly #errands = new Errands();
  /** By token: what the node has not heard. */
  readonly #debts = new Map<string, Debt>();
  #debtTimer: Timer | undefined;
  #closed = false;
  #subscription: Subscription | undefined;

  constructor(title: string, driver: Driver, clock: Clock, identity: Identity, { prefix, clientId }: NodeSettings) {
    this.title = title;
    this.driver = driver;
    this.#clock = clock;
    this.#identity = identity;
    this.#limit = new TimeLimit(clock, driver);
    this.#channel = channelPrefix(prefix);
    const outbox = new Outbox((run) => driver.together(run));
    const none: { keys: []; args: [] } = { keys: [], args: [] };
    // What is given up first frees room for what is asked for.
    this.#drop = outbox.heardScript((items) => {
      const [tell, leaving] = items.common;
      return runScript(driver, lua.drop, { keys: [], args: [this.#channel, flag(tell), leaving] }, items);
    });
    this.#evict = outbox.heardScript((items) => {
      return runScript(driver, lua.evict, { keys: [], args: [this.#channel] }, items);
    });
    this.#raise = outbox.heardScript((items) => runScript(driver, lua.raise, none, items));
    this.#renew = outbox.heardScript((items) => runScript(driver, lua.renew, none, items));
    this.#vote = outbox.heardScript((items) => {
      const [ttl, wait, force] = items.common;
      return runScript(driver, lua.vote, { keys: [], args: [clientId, String(ttl), flag(wait), flag(force)] }, items);
    });
  }

  /** Sends one command, within the time limit. */
  send(command: readonly string[]): Promise<unknown> {
    return this.#limit.guard(this.driver.send(command));
  }

  /** Find out which server this is, unless it is known. Rejects when it may not be counted. */
  meet(): Promise<void> {
    return this.#identity.assertCounts();
  }

  vote(keys: NodeKeys, wish: Wish, poll: Poll<Vote>): void {
    const send = (asked: Listener): void => this.#vote(asked, keys, wish.args, ...wish.shared);
    this.#ask(wish.token, poll, (reply) => readVote(reply, wish), send);
  }

  raise([key, counter]: NodeKeys, token: string, fence: number, poll: Poll<Yes>): void {
    const send = (asked: Listener): void => this.#raise(asked, [key, counter], [token, String(fence)]);
    this.#ask(token, poll, (reply) => readRaise(reply, fence), send);
  }

  renew([key, counter]: NodeKeys, { token, fence }: Grant, ttl: number, poll: Poll<Renewal>): void {
    const send = (asked: Listener): void => this.#renew(asked, [key, counter], [token, String(fence), String(ttl)]);
    this.#ask(token, poll, readRenewal, send);
  }

  /**
   * Take the token's key away, now and whenever a vote that is still out may have put it there; if the node does not
   * hear it, again and again until `ttl` has passed. Counts the first answer: whether it was there.
   */
  drop(keys: NodeKeys, token: string, { tell, ttl, leaving = "" }: Dropping, poll?: Poll<Dropped>): void {
    const errand = this.#errands.of(token);
    const send = (told?: Poll<Dropped>): void => {
      const { drops } = this.driver;
      const heard = (reply: unknown, error: unknown): void => {
        if (error === undefined) this.#debts.delete(token);
        else this.#owe(token, { keys, until: this.#clock.now() + ttl });
        told?.count(this, readDrop(reply, error, drops !== this.driver.drops));
        this.#errands.dropped(token, errand);
      };
      this.#drop({ heard }, [keys[0], keys[2]], [token], tell, leaving);
    };
    this.#errands.drop(errand, () => send(poll), send);
  }

  /** Take the lock from exactly this holder, for good. */
  evict(keys: NodeKeys, holder: string, { fence = 0, remaining = 0 }: HolderState, poll: Poll<Yes>): void {
    const read = (reply: unknown): Yes => readRaise(reply, fence);
    const heard = (reply: unknown, error: unknown): void => {
      poll.count(this, error === undefined ? attempt(() => read(checkReply(reply))) : failure(error));
    };
    const life = Math.ceil(remaining) + COUNTER_LIFE;
    this.#evict({ heard }, keys, [holder, String(fence), String(life)]);
  }

  look(keys: readonly NodeKeys[]): Promise<unknown[]> {
    const items = { keys: keys.flatMap(([key, counter]) => [key, counter]), args: [] };
    return this.#limit.guard(runScript(this.driver, lua.look, { keys: [], args: [] }, items));
  }

  /** True while notices of this node arrive. */
  get listens(): boolean {
    return this.#subscription?.up ?? false;
  }

  /** Hear what is told to a manager. What is missed while the connection is away, polling finds. */
  listen(clientId: string, message: (text: string) => void): void {
    this.#subscription ??= this.driver.subscribe(this.#channel + clientId, { message, up: () => {} });
  }

  /** Wait until it has heard what was to be dropped, within the time limit. */
  async settled(): Promise<void> {
    const end = this.#clock.now() + COMMAND_LIMIT;
    for (;;) {
      await this.#limit.guard(this.#errands.allDropped()).catch(() => {});
      if (this.#debts.size === 0 || this.#clock.now() > end) return;
      await new Promise<void>((resolve) => void this.#clock.after(CLOSING_PAUSE, () => resolve()));
      this.#pay();
    }
  }

  close(): void {
    this.#closed = true;
    this.#debtTimer?.cancel();
    this.#debts.clear();
    this.#subscription?.close();
    this.#limit.close();
    this.driver.close();
  }

  #ask<V>(token: string, poll: Poll<V>, read: (reply: unknown) => V, send: (asked: Listener) => void): void {
    this.#send(new Asked(token, poll, read, send, this.#answered));
  }

  /** Unless nobody wants to know any more. */
  #send<V>(asked: Asked<V>): void {
    if (!this.#identity.counts) return this.#meetThen(asked.poll, () => this.#send(asked));
    const errand = this.#errands.of(asked.token);
    if (errand.drops > 0) {
      (errand.later ??= []).push(() => this.#send(asked));
      return;
    }
    if (!asked.poll.wanted) return this.#errands.tidy(asked.token, errand);
    if (this.#debts.size > 0) this.#debts.delete(asked.token);
    errand.asked++;
    asked.errand = errand;
    asked.send(asked);
  }

  /** An answer counts only if it comes from the server that we know, and that one has not forgotten anything. */
  readonly #answered = <V>(asked: Asked<V>, reply: unknown, error: unknown): void => {
    this.#errands.answered(asked.token, asked.errand as Errand);
    const { poll } = asked;
    if (error !== undefined) return poll.count(this, failure(error));
    const vote = attempt(() => asked.read(checkReply(reply)));
    // The connection may have been lost meanwhile, and the answer be that of a server that was restarted.
    if (this.#identity.counts) poll.count(this, vote);
    else this.#meetThen(poll, () => poll.count(this, vote));
  };

  #meetThen<V>(poll: Poll<V>, go: () => void): void {
    this.#identity.assertCounts().then(go, (error: unknown) => poll.count(this, failure(error)));
  }

  #owe(token: string, debt: Debt): void {
    if (this.#closed || this.#debts.size >= MOST_DEBTS) return;
    this.#debts.set(token, debt);
    this.#debtTimer ??= this.#clock.after(DEBT_PAUSE, () => {
      this.#debtTimer = undefined;
      this.#pay();
    });
  }

  #pay(): void {
    const now = this.#clock.now();
    for (const [token, { keys, until }] of this.#debts) {
      this.#debts.delete(token);
      if (until > now) this.drop(keys, token, { tell: true, ttl: until - now });
    }
  }
}

function flag(value: boolean): "0" | "1" {
  return value ? "1" : "0";
}

function failure(error: unknown): Failure {
  return { kind: "failed", cause: schemeError(error) };
}

function attempt<V>(read: () => V): V | Failure {
  try {
    return read();
  } catch (error) {
    return failure(error);
  }
}

function readVote(reply: unknown, { proposal, force }: Wish): Vote {
  if (!Array.isArray(reply)) {
    const number = Number(reply);
    if (number < 0) throw new AheadOfClock(proposal, -number);
    return { kind: "granted", fence: number };
  }
  const [number, text] = reply as [unknown, unknown];
  if (force) return { kind: "granted", fence: Number(number), victim: String(text) };
  return { kind: "held", left: Number(number), holder: String(text) };
}

function readRaise(reply: unknown, fence: number): Yes {
  const number = Number(reply);
  if (number < 0) throw new AheadOfClock(fence, -number);
  return { kind: number === 1 ? "yes" : "no" };
}

function readRenewal(reply: unknown): Renewal {
  const number = Number(reply);
  return { kind: number > 0 ? "yes" : "no", other: number < 0 };
}

function readDrop(reply: unknown, error: unknown, mayHaveRunTwice: boolean): Dropped | Failure {
  if (error !== undefined) return failure(error);
  if (Number(reply) === 1) return { kind: "yes" };
  return { kind: mayHaveRunTwice ? "unsure" : "no" };
}
