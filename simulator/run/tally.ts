/** What many runs have shown together. */
import type { Outcome } from "./fleet.ts";

export class Tally {
  runs = 0;
  hours = 0;
  readonly #began = performance.now();
  readonly #cpu = process.cpuUsage();
  readonly #counts = { commands: 0, holds: 0, operations: 0, accepted: 0, refused: 0 };
  readonly #faults = new Map<string, number>();
  readonly #exceptions = new Map<string, number>();

  add({ plan, hours, commands, holds, writes, verdict }: Outcome): void {
    this.runs++;
    this.hours += hours;
    const counts = this.#counts;
    counts.commands += commands;
    counts.holds += holds;
    counts.accepted += writes.accepted;
    counts.refused += writes.refused;
    for (const step of plan.steps) {
      if ("trouble" in step) count(this.#faults, step.trouble.fault, 1);
      else counts.operations++;
    }
    for (const [cause, times] of verdict.exceptions) count(this.#exceptions, cause, times);
  }

  get realMinutes(): number {
    return (performance.now() - this.#began) / 60e3;
  }

  get cpuMinutes(): number {
    const { user, system } = process.cpuUsage(this.#cpu);
    return (user + system) / 60e6;
  }

  get figures(): object {
    const faults = Object.fromEntries(this.#faults);
    const exceptions = Object.fromEntries(this.#exceptions);
    const { runs, hours, cpuMinutes, realMinutes } = this;
    return { runs, hours, ...this.#counts, faults, exceptions, cpuMinutes, realMinutes };
  }

  get lines(): string[] {
    const { commands, holds, accepted, refused } = this.#counts;
    const counted = [...this.#exceptions].map(([cause, times]) => `${cause} ${times}`).join(", ");
    const perMinute = (minutes: number): string => (this.hours / minutes).toFixed(0);
    return [
      `${this.runs} runs, ${this.hours.toFixed(1)} virtual hours, ${commands} commands, ${holds} holders, ` +
        `${accepted} guarded writes accepted and ${refused} refused`,
      `exceptions of the published list: ${counted || "none"}`,
      `${perMinute(this.cpuMinutes)} virtual hours a minute of this process's CPU, ${perMinute(this.realMinutes)} a minute`,
    ];
  }
}

function count(counts: Map<string, number>, what: string, times: number): void {
  counts.set(what, (counts.get(what) ?? 0) + times);
}
