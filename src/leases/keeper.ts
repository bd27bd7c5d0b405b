import type { Clock, Timer } from "../clock.ts";
import { Schedule } from "./schedule.ts";
import type { Lease } from "./lease.ts";

/** Keeps the leases of one manager: one timer renews and ends them all. */
export class LeaseKeeper {
  readonly clock: Clock;
  readonly #schedule = new Schedule<Lease>();
  #timer: Timer | undefined;
  #timerAt = Infinity;
  /** While the manager closes: those whose callbacks still run, and who wants to know when the last has ended. */
  #allEnded: (() => void) | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** The lease begins. */
  add(lease: Lease): void {
    this.#schedule.add(lease);
    this.#arm();
  }

  /** The lease is over. */
  forget(lease: Lease): void {
    this.#schedule.remove(lease);
    if (this.#allEnded && !this.#schedule.first) this.#allEnded();
  }

  /** When it is due has changed. */
  reschedule(lease: Lease): void {
    if (lease.position < 0) return;
    this.#schedule.remove(lease);
    this.#schedule.add(lease);
    this.#arm();
  }

  /**
   * Tell every holder that the manager is being closed. Those whose callbacks run keep their leases until they end, for
   * at most that time, and lose them then; all others lose them now.
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
        timer = this.clock.after(timeout, resolve, true);
      });
      timer?.cancel();
    }
    for (const lease of this.#schedule.items) lease.lose("closed");
    this.#timer?.cancel();
  }

  #arm(): void {
    const first = this.#schedule.first?.due ?? Infinity;
    if (first >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = first;
    this.#timer = this.clock.after(first - this.clock.now(), () => this.#look());
  }

  #look(): void {
    this.#timerAt = Infinity;
    const now = this.clock.now();
    for (let lease = this.#schedule.first; lease && lease.due <= now; lease = this.#schedule.first) {
      this.#schedule.remove(lease);
      lease.look(now);
      if (lease.isRunning) this.#schedule.add(lease);
    }
    this.#arm();
  }
}
