/**
 * The `redlock` scheme: locks over several independent masters. A lock is held by whoever a majority of them votes for.
 * https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/#the-redlock-algorithm, with what it lacks:
 * fences that grow, and a queue on every node (docs/decisions/041-a-queue-over-the-quorum.md).
 *
 * The path of an acquire (redlock/claim.ts):
 *
 *     take ── a majority votes for it ───────────────────────────────▶ won ── renew at the other nodes
 *       │                                                               ▲
 *       └─ somebody holds or waits ─▶ ticket ─▶ bid at all nodes ── votes of a majority, answered or pushed
 *                                                 ▲     │
 *                                                 └─────┘ some votes, no majority: bid again after 20 ms
 *
 * Guarantees one exclusive holder (or shared holders only) as long as fewer than half of the nodes fail, and clocks run at
 * about the same speed; growing fences; first come, first served, once a majority knows the request.
 *
 * Any library that does `SET key token NX PX` on the same nodes excludes us and we it.
 */
import { NOBODY, report } from "../caller.ts";
import type { Caller } from "../caller.ts";
import type { Clock } from "../clock.ts";
import type { Driver } from "../drivers/driver.ts";
import { COMMAND_LIMIT } from "../drivers/time-limit.ts";
import { SchemeError } from "../errors.ts";
import { Clients } from "./clients.ts";
import type { ClientSettings } from "./clients.ts";
import { Keys, nameOfKey, nodeKeys } from "./keys.ts";
import type { NodeKeys } from "./keys.ts";
import { checkReply } from "../drivers/replies.ts";
import { Claim } from "./redlock/claim.ts";
import { Fleet } from "./redlock/fleet.ts";
import type { FleetSettings } from "./redlock/fleet.ts";
import { Precedence } from "./redlock/precedence.ts";
import { majorityState, readLook } from "./redlock/look.ts";
import type { Node } from "./redlock/node.ts";
import * as lua from "./redlock/scripts.generated.ts";
import { findNames } from "./scan.ts";
import { STALE_AFTER } from "./scheme.ts";
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

export interface RedlockSettings extends FleetSettings, ClientSettings {}

/** What a push says: what, a number, the number of the question that it answers, token, key. */
const MESSAGE = /^(\w+) (\d+) (\d+) (\S+) ([^]*)$/;

const GONE = Promise.resolve("gone" as const);

export class RedlockScheme implements Scheme {
  readonly name = "redlock";
  readonly modes: ReadonlySet<LockMode> = new Set<LockMode>(["exclusive", "shared"]);
  readonly queues = true;
  readonly hasTurns = true;
  readonly #settings: RedlockSettings;
  readonly #keys: Keys<NodeKeys>;
  readonly #fleet: Fleet;
  readonly #clients: Clients;
  /** By token. */
  readonly #claims = new Map<string, Claim>();
  /** By lock, of the latest request that was made while others of this manager held it or waited. */
  readonly #latest = new Map<string, Precedence>();
  #listener: PushListener | undefined;
  #isListening = false;
  #wasHearing = false;

  constructor(drivers: readonly Driver[], clock: Clock, settings: RedlockSettings) {
    this.#settings = settings;
    this.#keys = new Keys(settings.prefix, nodeKeys);
    this.#fleet = new Fleet(drivers, clock, settings, {
      granted: ({ lock, token, fences }, fence, since) => this.#listener?.granted(lock, token, fence, fences, since),
      refused: (token) => {
        const claim = this.#claims.get(token);
        if (claim) this.#drop(claim, NOBODY);
      },
    });
    this.#clients = new Clients(this.#fleet.broadcast, clock, settings, () =>
      Promise.resolve(this.#fleet.nodes.map((node) => (command) => node.send(command))),
    );
  }

  listen(listener: PushListener): void {
    this.#listener = listener;
  }

  hearing(): number | undefined {
    return this.#fleet.hearing;
  }

  /** A majority has to hear it. */
  written(lock: string): Promise<void> {
    this.#fleet.flush();
    const [key] = this.#keys.of(lock);
    return new Promise((resolve) => {
      let written = 0;
      for (const { driver } of this.#fleet.nodes)
        void driver.written(key).then(() => ++written === this.#fleet.quorum && resolve());
    });
  }

  acquire(question: Question): void {
    const preparing = this.#prepare(question.ttl);
    if (!preparing) return this.#ask(question);
    preparing.then(
      () => this.#ask(question),
      (error: unknown) => {
        question.isSent = true;
        question.failed(error);
      },
    );
  }

  async steal(request: LockRequest): Promise<Answer> {
    await this.#prepare(request.ttl);
    const claim = this.#claimOf(request as Question, 1);
    const { drawn, victims } = await this.#fleet.seize(claim.keys, request);
    victims.delete(request.token);
    if (!(await this.#win(claim, drawn))) {
      throw new SchemeError("no-quorum", "Another took the lock by force at the same time. Try again.", [], true);
    }
    const robbed = Array.from(victims, ([token, fence]) => ({ token, fence, label: "" }));
    return { kind: "granted", fence: claim.last, victims: robbed };
  }

  extend(grant: Grant, ttl: number, _durability: undefined, caller: Caller<Extension>): void {
    const claim = this.#claims.get(grant.token);
    if (!claim) return report(GONE, caller);
    const preparing = this.#prepare(ttl);
    // Whoever holds for that long wants to know soon if the lock is stolen.
    this.#listen();
    if (!preparing) return this.#fleet.extend(claim, ttl, caller);
    preparing.then(
      () => this.#fleet.extend(claim, ttl, caller),
      (error: unknown) => caller.failed(error),
    );
  }

  downgrade({ token }: Grant): Promise<Extension> {
    const claim = this.#claims.get(token);
    if (!claim) return Promise.resolve("gone");
    return new Promise((resolve, failed) => {
      const answered = (extension: Extension): void => {
        if (extension === "extended") claim.mode = "shared";
        resolve(extension);
      };
      this.#fleet.extend(claim, claim.request.ttl, { answered, failed }, "shared");
    });
  }

  async keep({ token }: Grant, ttl: number, label: string): Promise<Release> {
    const claim = this.#claims.get(token);
    if (!claim) return "gone";
    await this.#prepare(ttl);
    const kept = await new Promise<Release>((answered, failed) =>
      this.#fleet.keep(claim, ttl, label, { answered, failed }),
    );
    this.forget(token);
    return kept;
  }

  forget(token: string): void {
    const claim = this.#claims.get(token);
    if (claim) this.#end(claim);
  }

  async handOver({ token }: Grant, heir: LockRequest): Promise<Answer> {
    await this.#prepare(heir.ttl);
    const claim = this.#claimOf(heir as Question, 1);
    const isWon = await this.#win(claim, await this.#fleet.handOver(token, claim));
    return isWon ? { kind: "granted", fence: claim.last } : { kind: "busy" };
  }

  release(farewell: Farewell): void {
    if (farewell.isBehind) this.#fleet.flush();
    const claim = this.#claims.get(farewell.token);
    if (claim) return this.#drop(claim, farewell);
    const { lock, token } = farewell;
    const all = { keys: this.#keys.of(lock), token, lost: false, ttl: STALE_AFTER };
    this.#fleet.release(all, this.#fleet.nodes, farewell);
  }

  async evict(lock: string, holder: HolderState): Promise<boolean> {
    if ((holder.foreign ?? holder.token) === undefined) return false;
    await this.#prepare(this.#settings.ttl);
    const { drawn } = await this.#fleet.seize(this.#keys.of(lock), { token: "", ttl: 0, label: "" }, holder);
    // Who held a majority of the nodes held one of these, and is left with less than a majority now.
    return drawn.some(([, taken]) => taken > 0);
  }

  async query(selection: Selection): Promise<LockState[]> {
    this.#fleet.flush();
    await Promise.all([...this.#claims.values()].map((claim) => claim.answered()));
    const isNamed = typeof selection === "object" && "name" in selection;
    const { prefix } = this.#settings;
    const found = await this.#fleet.askEach(isNamed ? COMMAND_LIMIT : undefined, (node) =>
      findNames(() => Promise.resolve([(command) => node.send(command)]), prefix, selection),
    );
    const names = [...new Set(found.flat())].sort();
    const keys = names.flatMap((name) => {
      const [key, , queue, holders, waiters] = this.#keys.of(name);
      return [key, holders, queue, waiters];
    });
    const looks =
      names.length > 0
        ? await this.#fleet.askEach(COMMAND_LIMIT, (node) => node.run(lua.look, { keys, args: [] }))
        : [];
    const states = names.flatMap((name, i) => {
      const all = looks.map((each) => readLook(checkReply(each[i])));
      const isOther = all.some(({ kind }) => kind === "other");
      if (isOther && isNamed) throw notALock();
      return isOther ? [] : [majorityState(name, all, this.#fleet.nodes.length)];
    });
    return this.#clients.labelled(states);
  }

  async close(): Promise<void> {
    await Promise.all([this.#clients.forget(), this.#fleet.settled()]);
    this.#fleet.close();
  }

  #ask(question: Question): void {
    if (question.wait) this.#listen();
    // Who has a ticket is put in its place by it, and need not wait for that.
    const isPlaced = question.opens || question.ticket !== undefined || this.#claims.has(question.token);
    const precedence = isPlaced ? undefined : this.#behindOthers(question);
    this.#claimOf(question, question.fences, precedence).ask(question);
  }

  #behindOthers({ lock, mode }: Question): Precedence {
    const precedence = new Precedence(mode, this.#latest.get(lock));
    this.#latest.set(lock, precedence);
    return precedence;
  }

  #claimOf(request: Question, fences: number, precedence?: Precedence): Claim {
    let claim = this.#claims.get(request.token);
    if (!claim) {
      claim = new Claim(this.#fleet, request, this.#keys.of(request.lock), fences, precedence);
      this.#claims.set(request.token, claim);
    }
    return claim;
  }

  /** These nodes vote for it. @returns whether they are a majority, with a fence that they all know; else it is dropped */
  async #win(claim: Claim, drawn: readonly [Node, number][]): Promise<boolean> {
    for (const link of claim.links.all) link.mayKnow = true;
    if (!(await this.#fleet.raise(claim, drawn))) {
      this.#drop(claim, NOBODY);
      return false;
    }
    claim.state = "won";
    // Word that others took it by force may come before word that it has won.
    const left = claim.links.all.filter((link) => !link.isRobbed).length;
    if (left < this.#fleet.quorum) this.#listener?.lost(claim.request.lock, claim.request.token, claim.last);
    return true;
  }

  /** Give the claim up wherever it may be known. */
  #drop(claim: Claim, caller: Caller<Release>): void {
    const { keys, token } = claim;
    const lost = claim.state !== "won";
    // What has been asked and not sent must not come behind its release.
    if (claim.links.isUnsent) this.#fleet.flush();
    const nodes = this.#end(claim);
    if (nodes.length === 0) return report(GONE, caller);
    const left = (node: Node): void => void (claim.links.to(node).isReleased = true);
    this.#fleet.release({ keys, token, lost, ttl: claim.request.ttl, left }, nodes, caller);
  }

  #end(claim: Claim): Node[] {
    this.#claims.delete(claim.token);
    if (this.#latest.get(claim.lock) === claim.precedence) this.#latest.delete(claim.lock);
    return claim.end();
  }

  #prepare(ttl: number): Promise<void> | undefined {
    const preparing = this.#fleet.prepare(ttl);
    if (preparing) return preparing.then(() => this.#clients.announce(ttl));
    this.#clients.announce(ttl);
    return undefined;
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    for (const node of this.#fleet.nodes) {
      node.listen(
        (text) => this.#hear(node, text),
        () => this.#heardAgain(),
      );
    }
  }

  /** With the pushes of a majority nothing is missed for long: one of them is among those that matter. */
  #heardAgain(): void {
    const isHearing = this.#fleet.hearing !== undefined;
    if (isHearing && !this.#wasHearing) this.#listener?.missed();
    this.#wasHearing = isHearing && this.#fleet.nodes.every(({ listens }) => listens);
  }

  #hear(node: Node, text: string): void {
    const [, what, number, asked, token = "", key = ""] = MESSAGE.exec(text) ?? [];
    const lock = nameOfKey(this.#settings.prefix, key) ?? "";
    if (what === "granted") this.#heardGrant(node, lock, token, Number(number), Number(asked));
    else if (what === "next") this.#listener?.next(lock, token, Number(number));
    else if (what === "lost") this.#heardLoss(node, lock, token, Number(number));
  }

  #heardLoss(node: Node, lock: string, token: string, fence: number): void {
    const claim = this.#claims.get(token);
    // The vote of one node is no grant.
    if (claim && claim.state !== "won") claim.robbed(node);
    else this.#listener?.lost(lock, token, fence);
  }

  #heardGrant(node: Node, lock: string, token: string, last: number, asked: number): void {
    const claim = this.#claims.get(token);
    if (claim) return claim.pushed(node, last, asked);
    // It was given up, and the node has not heard.
    this.#fleet.release({ keys: this.#keys.of(lock), token, lost: true, ttl: STALE_AFTER }, [node], NOBODY);
  }
}

function notALock(): SchemeError {
  return new SchemeError(
    "wrong-type",
    "The lock's key holds something that is no lock. Use another name or prefix.",
    [],
  );
}
