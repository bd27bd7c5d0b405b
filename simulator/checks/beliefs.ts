/**
 * What programs believe: who holds, until when, with which fence. Compared with each other, because no two may believe
 * at once, and with what the server keeps, because nobody may believe for longer than that.
 */
import type { SimulatedServer } from "../server/server.ts";
import { Hold } from "./attempt.ts";
import type { Cause, HoldTerms } from "./attempt.ts";
import type { History } from "./history.ts";
import type { Ledger } from "./ledger.ts";
import { Registers } from "./register.ts";
import type { Verdict } from "./verdict.ts";

export class Beliefs {
  readonly #history: History;
  readonly #verdict: Verdict;
  readonly #ledger: Ledger;
  readonly #server: SimulatedServer;
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #registers = new Registers();
  readonly #mayNotKnow: (hold: Hold, lostAt: number) => boolean;
  #limit: number;
  count = 0;

  /** @param mayNotKnow whether whoever begins to hold may not have heard of a loss that happened at that time */
  constructor(
    server: SimulatedServer,
    history: History,
    verdict: Verdict,
    ledger: Ledger,
    limit: number,
    mayNotKnow: (hold: Hold, lostAt: number) => boolean,
  ) {
    this.#mayNotKnow = mayNotKnow;
    this.#server = server;
    this.#history = history;
    this.#verdict = verdict;
    this.#ledger = ledger;
    this.#limit = limit;
  }

  begin(terms: HoldTerms): Hold {
    const hold = new Hold(terms, terms.attempt.by.process.time);
    const { lock, fence, attempt } = terms;
    this.count++;
    this.#history.add(attempt.by.name, () => `${attempt.label} holds ${lock}, fence ${fence}`);
    const grant = this.#ledger.grantOf(lock, terms.token, fence);
    if (grant) this.#ledger.learnFence(grant, fence);
    else this.#verdict.fail("growing fences", `${hold.label} holds ${lock} with ${fence}, which the server never gave`);
    const holds = this.#of(lock);
    holds.add(hold);
    attempt.holds.push(hold);
    this.sample(hold, true);
    return hold;
  }

  /** Its program has given it back, or has heard that it is lost. */
  end(hold: Hold, how: string): void {
    if (hold.endedAt < Infinity) return;
    hold.endedAt = hold.process.time;
    this.#of(hold.terms.lock).delete(hold);
    const { attempt, lock } = hold.terms;
    this.#history.add(attempt.by.name, () => `${attempt.label} ${how} ${lock}`);
  }

  /** Its process has run. @param mayBeLonger it may have heard that its lease is longer */
  sample(hold: Hold, mayBeLonger: boolean): void {
    if (!hold.sample(mayBeLonger)) return;
    this.#compareWithServer(hold);
    this.#compareWithOthers(hold);
  }

  /** Read what the lock guards. Undefined: refused, because a later holder has been there. */
  read({ terms: { lock, fence } }: Hold): number | undefined {
    return this.#registers.read(lock, fence);
  }

  write(hold: Hold, read: number): void {
    const { lock, fence } = hold.terms;
    if (this.#registers.write(lock, fence, read) !== "overwrote") return;
    const text = `${hold.label} writes ${lock} with ${fence}, and overwrites what it has not read`;
    this.#verdict.fail("guarded writes", text);
  }

  get writes(): { readonly accepted: number; readonly refused: number } {
    return this.#registers.writes;
  }

  /** Who holds it, dead or alive, as far as is known. */
  #of(lock: string): Set<Hold> {
    let holds = this.#holds.get(lock);
    if (!holds) this.#holds.set(lock, (holds = new Set()));
    return holds;
  }

  /** No program may believe for longer than the server keeps its grant. */
  #compareWithServer(hold: Hold): void {
    const { lock, token, fence } = hold.terms;
    const grant = this.#ledger.grantOf(lock, token, fence);
    if (!grant) return;
    const until = this.#server.timeOf(grant.expiry);
    const late = hold.deadlineTime - until;
    if (late <= 0) return;
    const cause = this.#causeFor(hold);
    const text = `${hold.label} believes that it holds ${lock} ${late.toFixed(1)} ms longer than the server`;
    if (cause) this.#verdict.except(cause, text);
    else this.#verdict.fail("timely loss", text);
  }

  #compareWithOthers(hold: Hold): void {
    const { lock, permits, attempt } = hold.terms;
    const now = attempt.by.process.time;
    let used = permits ?? 0;
    const others: Hold[] = [];
    for (const other of this.#of(lock)) {
      if (other === hold) continue;
      if (other.process.isDead) this.#of(lock).delete(other);
      if (!other.believes(now)) continue;
      if (permits !== undefined) used += other.terms.permits ?? 0;
      else if (hold.mode === "shared" && other.mode === "shared") continue;
      others.push(other);
    }
    const broken = permits === undefined ? others.length > 0 : used > this.#limit;
    if (!broken) return;
    const all = [hold, ...others];
    const text = `${all.map(({ label }) => label).join(" and ")} hold ${lock} at once`;
    const cause = all.map((each) => this.#causeFor(each)).find((each) => each !== undefined);
    if (cause) this.#verdict.except(cause, text);
    else this.#verdict.fail(permits === undefined ? "one holder" : "permits", text);
  }

  /** Why the server may have lost a grant under its holder. */
  #causeFor(hold: Hold): Cause | undefined {
    const { lock, token, fence } = hold.terms;
    if (hold.process.hasSlept) return "clock stood still";
    const { lost, lostAt = 0, toldAt = Infinity } = this.#ledger.grantOf(lock, token, fence) ?? {};
    // What was taken away is not handed on within a process once that is known there.
    const isKnown = (lost === "stolen" || lost === "deleted") && !this.#mayNotKnow(hold, lostAt);
    if (hold.beganAt >= toldAt) return undefined;
    return isKnown ? undefined : lost;
  }

  /** Programs that still believe, for those who ask at the end. */
  get open(): Hold[] {
    return [...this.#holds.values()].flatMap((holds) => [...holds]).filter(({ isOver }) => !isOver);
  }
}
