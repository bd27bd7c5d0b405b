/** One of several independent servers: what it is asked, and what must be undone there. Knows no majority. */
import type { Clock, Timer } from "../../clock.ts";
import { COMMAND_LIMIT, runScript, schemeError, TimeLimit } from "../../driver.ts";
import type { Driver, Subscription } from "../../driver.ts";
import { channelPrefix } from "../../keys.ts";
import type { NodeKeys } from "../../keys.ts";
import * as lua from "../../lua.generated.ts";
import type { Grant } from "../../scheme.ts";
import { Outbox, replyTo } from "../outbox.ts";
import type { AddItem } from "../outbox.ts";
import { unwrap } from "../lua.ts";
import { AheadOfClock } from "./ballot.ts";
import type { Vote } from "./ballot.ts";
import type { Identity } from "./identity.ts";

/** What a node could not be told is told again so often, as long as a key may be left there. */
const DEBT_PAUSE = 1_000;
const CLOSING_PAUSE = 100;
/** So many keys to drop are remembered for a node that is away; what is beyond goes with its ttl. */
const MOST_DEBTS = 10_000;

export interface Wish {
  readonly token: string;
  readonly ttl: number;
  readonly proposal: number;
  /** The manager that waits, to be told of a release; "" for none. */
  readonly client: string;
  readonly force: boolean;
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

export interface Renewal extends Yes {
  /** Somebody else holds there. */
  readonly other: boolean;
}

export class Node {
  /** How it is called in messages. */
  readonly title: string;
  readonly driver: Driver;
  readonly #clock: Clock;
  readonly #identity: Identity;
  readonly #limit: TimeLimit;
  readonly #channel: string;
  readonly #vote: AddItem<NodeKeys, [string, string, string, string, string]>;
  readonly #raise: AddItem<[string, string], [string, string]>;
  readonly #renew: AddItem<[string, string], [string, string, string]>;
  readonly #drop: AddItem<[string, string], [string, string, string]>;
  /** By token: what may still put its key there, also after everybody gave up. */
  readonly #asked = new Map<string, Promise<unknown>>();
  /** By token: what may still take its key away. It must not overtake a new vote for the same token. */
  readonly #dropping = new Map<string, Promise<Yes>>();
  /** By token: what the node has not heard. */
  readonly #debts = new Map<string, Debt>();
  #debtTimer: Timer | undefined;
  #closed = false;
  #subscription: Subscription | undefined;

  constructor(title: string, driver: Driver, clock: Clock, identity: Identity, prefix: string) {
    this.title = title;
    this.driver = driver;
    this.#clock = clock;
    this.#identity = identity;
    this.#limit = new TimeLimit(clock, driver);
    this.#channel = channelPrefix(prefix);
    const outbox = new Outbox((run) => driver.together(run));
    const none: { keys: []; args: [] } = { keys: [], args: [] };
    // What is given up first frees room for what is asked for.
    this.#drop = outbox.script((items) => runScript(driver, lua.drop, { keys: [], args: [this.#channel] }, items));
    this.#raise = outbox.script((items) => runScript(driver, lua.raise, none, items));
    this.#renew = outbox.script((items) => runScript(driver, lua.renew, none, items));
    this.#vote = outbox.script((items) => runScript(driver, lua.vote, none, items));
  }

  /** Sends one command, within the time limit. */
  send(command: readonly string[]): Promise<unknown> {
    return this.#limit.guard(this.driver.send(command));
  }

  /** Find out which server this is, unless it is known. Rejects when it may not be counted. */
  meet(): Promise<void> {
    return this.#identity.assertCounts();
  }

  /** @param open whether the answer is still wanted; nothing is sent when it no longer is */
  vote(keys: NodeKeys, { token, ttl, proposal, client, force }: Wish, open: () => boolean): Promise<Vote> {
    return this.#counted(token, open, async () => {
      const args = [token, String(ttl), String(proposal), client, force ? "1" : "0"] as const;
      const reply = await this.#note(token, replyTo(this.#vote(keys, [...args])));
      if (!Array.isArray(reply)) {
        const number = Number(reply);
        if (number < 0) throw new AheadOfClock(proposal, -number);
        return { kind: "granted", fence: number };
      }
      const [number, text] = reply as [unknown, unknown];
      if (force) return { kind: "granted", fence: Number(number), victim: String(text) };
      return { kind: "held", left: Number(number), holder: String(text) };
    });
  }

  raise([key, counter]: NodeKeys, token: string, fence: number, open: () => boolean): Promise<Yes> {
    return this.#counted(token, open, async () => {
      const reply = Number(unwrap(await replyTo(this.#raise([key, counter], [token, String(fence)]))));
      if (reply < 0) throw new AheadOfClock(fence, -reply);
      return { kind: reply === 1 ? "yes" : "no" };
    });
  }

  renew([key, counter]: NodeKeys, { token, fence }: Grant, ttl: number, open: () => boolean): Promise<Renewal> {
    return this.#counted(token, open, async () => {
      const args = [token, String(fence), String(ttl)] as const;
      const reply = Number(await this.#note(token, replyTo(this.#renew([key, counter], [...args]))));
      return { kind: reply > 0 ? "yes" : "no", other: reply < 0 };
    });
  }

  /**
   * Take the token's key away, now and whenever a vote that is still out may have put it there; if the node does not
   * hear it, again and again until `ttl` has passed. Answers for the first time: whether it was there.
   *
   * @param leaving the manager that is to be told of releases no longer; "" for none
   */
  drop(keys: NodeKeys, token: string, tell: boolean, ttl: number, leaving = ""): Promise<Yes> {
    const [key, , waiters] = keys;
    const send = (): Promise<unknown> => {
      const call = replyTo(this.#drop([key, waiters], [token, tell ? "1" : "0", leaving]));
      const owe = (): void => this.#owe(token, { keys, until: this.#clock.now() + ttl });
      call.then(() => this.#debts.delete(token), owe);
      return call;
    };
    const asked = this.#asked.get(token);
    const dropping = this.#dropping.get(token);
    // Nothing is asked for the token before that is answered, so it will do.
    if (dropping && !asked && !leaving) return dropping;
    const call = send();
    const all = asked ? Promise.allSettled([call, asked]).then(send) : call;
    this.#remember(this.#dropping, token, all.then(yes));
    return call.then(yes);
  }

  /** Take a key away that holds exactly this. */
  async evict([key, , waiters]: NodeKeys, holder: string): Promise<Yes> {
    return yes(await replyTo(this.#drop([key, waiters], [holder, "1", ""])));
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
      await this.#limit.guard(Promise.allSettled(this.#dropping.values())).catch(() => {});
      if (this.#debts.size === 0 || this.#clock.now() > end) return;
      await new Promise<void>((resolve) => void this.#clock.after(CLOSING_PAUSE, resolve));
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

  /** An answer counts only if it comes from the server that we know, and that one has not forgotten anything. */
  async #counted<T>(token: string, open: () => boolean, ask: () => Promise<T>): Promise<T> {
    if (!this.#identity.counts) await this.#identity.assertCounts();
    if (this.#dropping.has(token)) await this.#dropping.get(token)?.catch(() => {});
    if (!open()) throw new Error("no longer wanted");
    if (this.#debts.size > 0) this.#debts.delete(token);
    try {
      const answer = await ask();
      // The connection may have been lost meanwhile, and the answer be that of a server that was restarted.
      if (!this.#identity.counts) await this.#identity.assertCounts();
      return answer;
    } catch (error) {
      throw schemeError(error);
    }
  }

  async #note(token: string, call: Promise<unknown>): Promise<unknown> {
    const earlier = this.#asked.get(token);
    this.#remember(this.#asked, token, earlier ? Promise.allSettled([earlier, call]) : call);
    return unwrap(await call);
  }

  /** Remember a call until it is settled. */
  #remember<T>(calls: Map<string, Promise<T>>, token: string, call: Promise<T>): void {
    calls.set(token, call);
    const settled = (): void => {
      if (calls.get(token) === call) calls.delete(token);
    };
    call.then(settled, settled);
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
      if (until > now) this.drop(keys, token, true, until - now).catch(() => {});
    }
  }
}

function yes(reply: unknown): Yes {
  return { kind: Number(unwrap(reply)) === 1 ? "yes" : "no" };
}
