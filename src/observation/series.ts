/** The values over time: each look of the last 15 minutes, and each minute of the last 24 hours. */
import type { Totals } from "./observation.ts";

/** At one time: milliseconds since 1970, counts, and durations in milliseconds. */
export interface Point {
  readonly time: number;
  readonly holders: number;
  readonly waiters: number;
  readonly contended: number;
  readonly longestWait: number;
  readonly medianWait: number;
  /** Of the holds that ended since the point before; null if none did. */
  readonly longestHold: number | null;
  readonly medianHold: number | null;
}

const RECENT = 15 * 60_000;
const MOST_RECENT = 900;
const MINUTE = 60_000;
const MOST_MINUTES = 24 * 60;

export class Series {
  readonly recent: Point[] = [];
  /** The last one is of the minute that has not ended. */
  readonly minutes: Point[] = [];
  /** How many points the last minute is made of. */
  #gathered = 0;

  /** @param holds how long those were that ended, in milliseconds */
  add(time: number, { holders, waiters, contended, longestWait, medianWait }: Totals, holds: readonly number[]): Point {
    const sorted = [...holds].sort((a, b) => a - b);
    const [longestHold, medianHold] = [sorted.at(-1) ?? null, sorted[sorted.length >> 1] ?? null];
    const point = { time, holders, waiters, contended, longestWait, medianWait, longestHold, medianHold };
    this.recent.push(point);
    while (this.recent.length > MOST_RECENT || (this.recent[0] as Point).time < time - RECENT) this.recent.shift();
    this.#addToMinute(point);
    return point;
  }

  #addToMinute(point: Point): void {
    const time = Math.floor(point.time / MINUTE) * MINUTE;
    const last = this.minutes.at(-1);
    if (last?.time === time) {
      this.minutes[this.minutes.length - 1] = merged(last, point, ++this.#gathered);
      return;
    }
    this.#gathered = 1;
    this.minutes.push({ ...point, time });
    if (this.minutes.length > MOST_MINUTES) this.minutes.shift();
  }
}

/** What is longest stays the longest; the others become means of the n points. */
function merged(all: Point, one: Point, n: number): Point {
  const mean = (a: number, b: number): number => a + (b - a) / n;
  return {
    time: all.time,
    holders: mean(all.holders, one.holders),
    waiters: mean(all.waiters, one.waiters),
    contended: mean(all.contended, one.contended),
    longestWait: Math.max(all.longestWait, one.longestWait),
    medianWait: mean(all.medianWait, one.medianWait),
    longestHold: either(all.longestHold, one.longestHold, Math.max),
    medianHold: either(all.medianHold, one.medianHold, mean),
  };
}

function either(a: number | null, b: number | null, both: (a: number, b: number) => number): number | null {
  if (a === null || b === null) return a ?? b;
  return both(a, b);
}
