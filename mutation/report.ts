/** What the mutants that were tried tell: a score with its uncertainty, and who survived. */
import { readFileSync } from "node:fs";
import { findServerBinary, readVersion } from "../scripts/servers.ts";
import type { Mutant } from "./mutant.ts";
import { LONGEST, type Tests } from "./survey.ts";

export interface Verdict {
  readonly id: string;
  readonly result: "killed" | "timed out" | "survived" | "not covered";
  /** The test that failed. */
  readonly by?: string;
  readonly seconds: number;
}

/** A mutant that no test can kill, because it changes nothing that is promised. */
export interface Equivalent {
  readonly file: string;
  readonly line: number;
  readonly before: string;
  readonly after: string;
  readonly reason: string;
}

export interface Score {
  readonly area: string;
  /** How many there are, and how many of them were tried. */
  readonly mutants: number;
  readonly tried: number;
  readonly killed: number;
  readonly timedOut: number;
  readonly equivalent: number;
  readonly survived: number;
  readonly notCovered: number;
  /** Killed or timed out, of those tried that are not equivalent; and the 95 % interval (Wilson's). */
  readonly score: number;
  readonly from: number;
  readonly to: number;
}

export interface Survivor {
  readonly file: string;
  readonly line: number;
  readonly what: string;
  readonly before: string;
  readonly after: string;
  readonly isCovered: boolean;
}

export interface Figures {
  readonly date: string;
  readonly server: string;
  readonly node: string;
  readonly stryker: string;
  readonly seed: string;
  readonly only: string;
  readonly tests: number;
  readonly leftOut: number;
  /** Which took longer than that, in milliseconds, or failed. */
  readonly longest: number;
  readonly controls: number;
  readonly controlsThatDied: number;
  readonly scores: readonly Score[];
  readonly survivors: readonly Survivor[];
}

interface Run {
  readonly mutants: readonly Mutant[];
  readonly sample: readonly Mutant[];
  readonly controls: readonly Mutant[];
  readonly known: ReadonlyMap<string, Verdict>;
  readonly tests: Tests;
  readonly seed: string;
  readonly only: string;
}

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

export function equivalents(): readonly Equivalent[] {
  return JSON.parse(read("equivalent.json")) as Equivalent[];
}

function scoreOf(area: string, all: readonly Mutant[], tried: readonly Mutant[], run: Run): Score {
  const are = (result: Verdict["result"]): Mutant[] => tried.filter(({ id }) => run.known.get(id)?.result === result);
  const listed = equivalents();
  const isEquivalent = (mutant: Mutant): boolean => listed.some((each) => isSame(each, mutant));
  const [killed, timedOut, survived, notCovered] = [
    are("killed"),
    are("timed out"),
    are("survived"),
    are("not covered"),
  ];
  const equivalent = [...survived, ...notCovered].filter(isEquivalent).length;
  const good = killed.length + timedOut.length;
  const counted = good + survived.length + notCovered.length - equivalent;
  const [from, to] = interval(good, counted);
  return {
    area,
    mutants: all.length,
    tried: good + survived.length + notCovered.length,
    killed: killed.length,
    timedOut: timedOut.length,
    equivalent,
    survived: survived.filter((each) => !isEquivalent(each)).length,
    notCovered: notCovered.filter((each) => !isEquivalent(each)).length,
    score: good / counted,
    from,
    to,
  };
}

const isSame = (a: Equivalent, b: Mutant): boolean =>
  a.file === b.file && a.line === b.line && a.before === b.before && a.after === b.after;

/** Wilson's interval for a share, 95 %. */
export function interval(good: number, of: number): [from: number, to: number] {
  const z = 1.96;
  const share = good / of;
  const middle = (share + z ** 2 / (2 * of)) / (1 + z ** 2 / of);
  const half = (z / (1 + z ** 2 / of)) * Math.sqrt((share * (1 - share)) / of + z ** 2 / (4 * of ** 2));
  return [middle - half, Math.min(1, middle + half)];
}

export async function report(run: Run): Promise<{ figures: Figures; summary: string }> {
  const { mutants, sample, controls, known, tests } = run;
  const areas = [...new Set(mutants.map(({ area }) => area))];
  const inArea = (some: readonly Mutant[], area: string): Mutant[] => some.filter((each) => each.area === area);
  const scores = areas.map((area) => scoreOf(area, inArea(mutants, area), inArea(sample, area), run));
  const total = scoreOf("all", mutants, sample, run);
  const listed = equivalents();
  const survivors = sample.flatMap((mutant): Survivor[] => {
    const result = known.get(mutant.id)?.result;
    if ((result !== "survived" && result !== "not covered") || listed.some((each) => isSame(each, mutant))) return [];
    const { file, line, what, before, after } = mutant;
    return [{ file, line, what, before, after, isCovered: result === "survived" }];
  });
  const died = controls.filter(({ id }) => ["killed", "timed out"].includes(known.get(id)?.result ?? ""));
  const { product, version } = await readVersion(await findServerBinary());
  const figures: Figures = {
    date: new Date().toISOString().slice(0, 10),
    server: `${product} ${version}`,
    node: process.version,
    stryker: (JSON.parse(read("node_modules/@stryker-mutator/instrumenter/package.json")) as { version: string })
      .version,
    seed: run.seed,
    only: run.only,
    tests: tests.count,
    leftOut: tests.leftOut,
    longest: LONGEST,
    controls: controls.filter(({ id }) => !["not covered", undefined].includes(known.get(id)?.result)).length,
    controlsThatDied: died.length,
    scores: [...scores, total],
    survivors: survivors.toSorted((a, b) => a.file.localeCompare(b.file) || a.line - b.line),
  };
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  const lines = figures.scores.map(
    ({ area, tried, mutants: of, score, from, to }) =>
      `${area}: ${percent(score)} (${percent(from)} to ${percent(to)}), ${tried} of ${of} tried`,
  );
  const chance = `Controls that died: ${figures.controlsThatDied} of ${figures.controls}.`;
  return { figures, summary: [...lines, chance].join("\n") };
}
