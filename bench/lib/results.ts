import type { Contender } from "../contenders/index.ts";
import { median, quantile } from "./statistics.ts";
import type { Column, Figure, Mode, Sample, Scenario } from "./scenario.ts";
import type { Machine } from "./machine.ts";

/** The rounds of one contender in one scenario. */
export interface Entry {
  readonly contender: string;
  readonly samples: Sample[];
  /** What went wrong, and how often. */
  readonly faults: Record<string, number>;
}

export interface Results {
  readonly at: string;
  readonly mode: Mode;
  readonly seconds: number;
  readonly machine: Machine;
  /** What others did with the machine before each scenario, in percent of all cores. */
  readonly busy: readonly number[];
  readonly scenarios: readonly { readonly name: string; readonly entries: readonly Entry[] }[];
}

/** A median over the rounds (for a pooled column, the quantile of all observations) and what the rounds ranged over. */
export interface Cell {
  readonly value: number;
  readonly least: number;
  readonly most: number;
}

export function cellOf(column: Column, samples: readonly Sample[]): Cell {
  const rounds = valuesOf(column, samples);
  return { value: valueOf(column, samples), least: Math.min(...rounds), most: Math.max(...rounds) };
}

function valueOf(column: Column, samples: readonly Sample[]): number {
  const { pool } = column;
  if (!pool) return median(valuesOf(column, samples));
  const observations = samples.flatMap(({ pools }) => pools?.[pool.name] ?? []);
  return quantile(observations, pool.share);
}

function valuesOf(column: Column, samples: readonly Sample[]): number[] {
  const { pool, key } = column;
  return samples.map(({ values, pools }) =>
    pool ? quantile(pools?.[pool.name] ?? [], pool.share) : (values[key] ?? NaN),
  );
}

export interface Judgement extends Cell {
  readonly figure: Figure;
  readonly met: boolean;
  /** Whom the ratio is against. */
  readonly against: string | undefined;
}

/** The ratio is taken round by round, between neighbours in time, and the median of the rounds counts. */
export function judge(
  figure: Figure,
  scenario: Scenario,
  entries: readonly Entry[],
  contenders: readonly Contender[],
): Judgement | undefined {
  const column = scenario.columns.find((each) => each.key === figure.column)!;
  const ours = entries.find((entry) => entry.contender === "holdfast");
  if (!ours || ours.samples.length === 0) return undefined;
  const own = valuesOf(column, ours.samples);
  if (!figure.against) return judgement(figure, own, undefined);

  const isRival = (id: string): boolean => contenders.find((each) => each.id === id)?.kind === "rival";
  const { against } = figure;
  const others = entries
    .filter(({ contender }) => (against === "rivals" ? isRival(contender) : against.includes(contender)))
    .filter(({ samples }) => samples.length > 0)
    .map(({ contender, samples }) => ({ contender, values: valuesOf(column, samples) }));
  if (others.length === 0) return undefined;
  const sign = column.better === "more" ? -1 : 1;
  others.sort((a, b) => sign * (median(a.values) - median(b.values)));
  const best = others[0]!;
  const rounds = Math.min(own.length, best.values.length);
  const ratios = Array.from({ length: rounds }, (_, round) => own[round]! / best.values[round]!);
  return judgement(figure, ratios, best.contender);
}

function judgement(figure: Figure, values: readonly number[], against: string | undefined): Judgement {
  const value = median(values);
  const { bound } = figure;
  const met = "atMost" in bound ? value <= bound.atMost : value >= bound.atLeast;
  return { figure, value, least: Math.min(...values), most: Math.max(...values), met, against };
}

export interface Loss {
  readonly contender: string;
  readonly column: Column;
  readonly ours: Cell;
  readonly theirs: Cell;
  /** How many times worse holdfast is. */
  readonly factor: number;
  /** The two ranges touch: it may be noise. */
  readonly withinSpread: boolean;
}

/** Every column of which somebody else is more than 5 % better than holdfast, with the best of them. */
export function lossesOf(scenario: Scenario, entries: readonly Entry[]): Loss[] {
  const ours = entries.find((entry) => entry.contender === "holdfast");
  if (!ours || ours.samples.length === 0) return [];
  const others = entries.filter(({ contender, samples }) => !contender.startsWith("holdfast") && samples.length > 0);
  const losses: Loss[] = [];
  for (const column of scenario.columns) {
    if (column.better === "neither") continue;
    const own = cellOf(column, ours.samples);
    for (const { contender, samples } of others) {
      const theirs = cellOf(column, samples);
      const factor = column.better === "less" ? own.value / theirs.value : theirs.value / own.value;
      if (!(factor > 1.05)) continue;
      const withinSpread = own.least <= theirs.most && theirs.least <= own.most;
      losses.push({ contender, column, ours: own, theirs, factor, withinSpread });
    }
  }
  return losses;
}
