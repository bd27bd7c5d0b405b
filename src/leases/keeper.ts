import type { Clock, Timer } from "../clock.ts";
import type { LossReason } from "../errors.ts";
import { Schedule } from "./schedule.ts";
import type { Scheduled } from "./schedule.ts";

/** What the keeper knows of a lease. */
interface Keepable extends Scheduled {
  /** User code runs under it. */
  readonly isGuarded: boolean;
  /** It is due, so it ends or is due later. What had arrived when the timer fired has been read. */
  look(firedAt: number): void;
  /** The manager is being closed. */
  close(): void;
  lose(reason: LossReason): void;
}

/** Keeps the leases of one manager: one timer renews and ends them all. */
export class LeaseKeeper {
  readonly clock: Clock;
  readonly #schedule = new Schedule<Keepable>();
  #timer: Timer | undefined;
  #timerAt = Infinity;
  /** While the manager closes: leases whose callbacks still run, and what to notify when the last has ended. */
  #allEnded: (() => void) | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** The lease begins. */
  add(lease: Keepable): void {
    this.#schedule.add(lease);
    this.#arm();
  }

  /** The lease is over. */
  forget(lease: Keepable): void {
    this.#schedule.remove(lease);
    if (this.#allEnded && !this.#schedule.first) this.#allEnded();
  }

  /** Its due time has changed. */
  reschedule(lease: Keepable): void {
    if (lease.position < 0) return;
    this.#schedule.move(lease);
    this.#arm();
  }

  /**
   * Notify every holder that the manager is closing. Those whose callbacks run keep their leases until they end, for
   * at most that time, and then lose them; all others lose them now.
   */
  async close(timeout: number): Promise<void> {
    for (const lease of this.#schedule.items) {
      if (lease.isGuarded) lease.close();
      else lease.lose("closed");
    }
    if (timeout > 0 && this.#schedule.first) {
      let timer: Timer | undefined;
      await new Promise<void>((resolve) => {
        this.#allEnded = resolve;
        timer = this.clock.after(timeout, () => resolve(), true);
      });
      timer?.cancel();
    }
    for (const lease of this.#schedule.items) lease.lose("closed");
    this.#timer?.cancel();
  }

  #arm(): void {
    const { due } = this.#schedule;
    if (due >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = due;
    this.#timer = this.clock.after(due - this.clock.now(), (firedAt) => this.#look(firedAt));
  }

  #look(firedAt: number): void {
    // No timer is needed until all have been looked at.
    this.#timerAt = -Infinity;
    while (this.#schedule.due <= firedAt) this.#schedule.first?.look(firedAt);
    this.#timerAt = Infinity;
    this.#arm();
  }
}
