/**
 * What programs believe: who holds, until when, with which fence. Compared with each other, because no two may believe
 * at once, and with what servers keep, because nobody may believe for longer than that.
 */
import { Hold } from "./attempt.ts";
import type { Cause, HoldTerms } from "./attempt.ts";
import type { History } from "./history.ts";
import type { Keeping } from "./keeping.ts";
import { Registers } from "./register.ts";
import type { Verdict } from "./verdict.ts";
import type { Verb } from "../plan/plan.ts";

/** What takes a lock with `maxHold`, and holds it itself. */
const LIMITED: ReadonlySet<Verb> = new Set(["request", "acquire", "try", "permits", "several", "reenter"]);

export class Beliefs {
  readonly #history: History;
  readonly #verdict: Verdict;
  readonly #keeping: Keeping;
  readonly #holds = new Map<string, Set<Hold>>();
  readonly #registers = new Registers();
  readonly #limit: number;
  count = 0;

  constructor(history: History, verdict: Verdict, keeping: Keeping, limit: number) {
    this.#history = history;
    this.#verdict = verdict;
    this.#keeping = keeping;
    this.#limit = limit;
  }

  begin(terms: HoldTerms): Hold {
    const hold = new Hold(terms, terms.attempt.by.process.time);
    const { lock, fence, attempt } = terms;
    this.count++;
    this.#history.add(attempt.by.name, () => `${attempt.label} holds ${lock}, fence ${fence}`);
    // Except if it was stopped in the midst of its code, or another continuation of it ran before that of `acquire`.
    const isSure =
      hold.process.hitches === 0 && ["request", "permits", "several", "once"].includes(attempt.operation.do);
    if (isSure && hold.process.inside(terms.remaining) <= 0)
      this.#verdict.fail("timely loss", `${hold.label} begins although its lease is over`);
    this.#keeping.begun(hold);
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
    this.#compareWithLimit(hold);
    this.#compareWithServers(hold);
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

  /** What its program has limited with `maxHold` ends in time, whatever renews it. */
  #compareWithLimit({ label, process, beganAt, deadline, terms: { lock, attempt } }: Hold): void {
    const { maxHold, do: verb } = attempt.operation;
    if (maxHold === undefined || !LIMITED.has(verb) || process.hasSlept) return;
    const late = deadline - process.local(beganAt) - maxHold;
    if (late <= 0) return;
    this.#verdict.fail(
      "timely loss",
      `${label} believes that it holds ${lock} ${late.toFixed(1)} ms after its maxHold`,
    );
  }

  /** No program may believe for longer than servers keep its grant. */
  #compareWithServers(hold: Hold): void {
    const late = this.#keeping.overdue(hold);
    if (late <= 0) return;
    const cause = this.#causeFor(hold);
    const text = `${hold.label} believes that it holds ${hold.terms.lock} ${late.toFixed(1)} ms longer than it is kept`;
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

  /** Why its holder may believe too long. */
  #causeFor(hold: Hold): Cause | undefined {
    return hold.process.hasSlept ? "clock stood still" : this.#keeping.causeFor(hold);
  }

  /** Programs that still believe, for those who ask at the end. */
  get open(): Hold[] {
    return [...this.#holds.values()].flatMap((holds) => [...holds]).filter(({ isOver }) => !isOver);
  }
}
