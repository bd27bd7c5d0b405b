import { readFile, writeFile } from "node:fs/promises";
import { benchFolder } from "./folders.ts";
import type { Judgement } from "./results.ts";

const file = `${benchFolder}results/guard.json`;

/** What a run on some machine gave, per figure. Ratios travel between machines; the times behind them do not. */
export type Committed = Record<string, { readonly ratio: number; readonly tolerance: number }>;

export async function readGuard(): Promise<Committed> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Committed;
  } catch (cause) {
    throw new Error(`Expected ${file} to be there; write it with --write-guard and commit it.`, { cause });
  }
}

/** Keeps what this run did not measure. */
export async function writeGuard(judgements: readonly Judgement[]): Promise<void> {
  const committed = await readGuard().catch((): Committed => ({}));
  for (const { figure, value } of judgements) {
    committed[figure.id] = { ratio: Number(value.toPrecision(3)), tolerance: figure.tolerance };
  }
  await writeFile(file, `${JSON.stringify(committed, undefined, 2)}\n`);
}

export interface Regression {
  readonly judgement: Judgement;
  readonly committed: number;
  readonly limit: number;
}

export function regressions(judgements: readonly Judgement[], committed: Committed): Regression[] {
  return judgements.flatMap((judgement) => {
    const { figure, value } = judgement;
    const before = committed[figure.id];
    if (!before) return [];
    const lessIsBetter = "atMost" in figure.bound;
    const limit = before.ratio * (lessIsBetter ? 1 + before.tolerance : 1 - before.tolerance);
    const isWorse = lessIsBetter ? !(value <= limit) : !(value >= limit);
    return isWorse ? [{ judgement, committed: before.ratio, limit }] : [];
  });
}
