/** Which tests run a mutant's code, from one run of all of them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Crew } from "./crew.ts";
import { CONTROL, type Coverage, type Mutant, type TestResult } from "./mutant.ts";

/** Tests that take longer, in milliseconds, or failed unchanged, are left out: what waits that long is tried too seldom. */
export const LONGEST = 15_000;

type Seen = Coverage & { readonly file: string };

interface Survey {
  readonly results: readonly TestResult[];
  readonly coverage: readonly Seen[];
}

/** Tests by what they run. */
export interface Tests {
  readonly count: number;
  readonly leftOut: number;
  /** The quickest first. Empty if none runs it. */
  of(mutant: Mutant): readonly TestResult[];
}

/** Runs the tests: all of them, or, if that was done before, those of files that were changed since then. */
export async function survey(crew: Crew, folder: string): Promise<void> {
  const path = join(folder, "survey.json");
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Survey) : { results: [], coverage: [] };
  const into = join(folder, "coverage");
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into);
  const { results, errors } = await crew.survey(existsSync(path) ? statSync(path).mtimeMs : 0);
  for (const error of errors) console.warn(`While the tests were looked at: ${error.split("\n")[0]}`);
  const seen = readdirSync(into).map((name) => JSON.parse(readFileSync(join(into, name), "utf8")) as Seen);
  const files = new Set(seen.map(({ file }) => file));
  const merged: Survey = {
    results: [...known.results.filter(({ file }) => !files.has(file)), ...results],
    coverage: [...known.coverage.filter(({ file }) => !files.has(file)), ...seen],
  };
  if (merged.results.length === 0) throw new Error("No test ran.");
  writeFileSync(path, JSON.stringify(merged));
}

/** What covers a mutant: its own place, or the scripts that have it. */
const placesOf = ({ id, scripts }: Mutant): string[] =>
  scripts
    ? Object.entries(scripts).flatMap(([folder, some]) => Object.keys(some).map((name) => `${folder}/${name}`))
    : [id];

export function readSurvey(folder: string, mutants: readonly Mutant[]): Tests {
  const { results, coverage } = JSON.parse(readFileSync(join(folder, "survey.json"), "utf8")) as Survey;
  const usable = results
    .filter(({ isPassed, milliseconds }) => isPassed && milliseconds <= LONGEST)
    .toSorted((a, b) => a.milliseconds - b.milliseconds);
  const testsAt = new Map<string, Set<string>>();
  const isStatic = new Set<string>();
  for (const { perTest, static: outside } of coverage) {
    for (const place of Object.keys(outside)) isStatic.add(place);
    for (const [test, places] of Object.entries(perTest)) {
      for (const place of Object.keys(places)) {
        const tests = testsAt.get(place) ?? new Set();
        testsAt.set(place, tests.add(test));
      }
    }
  }
  const covering = (places: readonly string[]): readonly TestResult[] => {
    const ids = new Set(places.flatMap((place) => [...(testsAt.get(place) ?? [])]));
    return usable.filter(({ id }) => ids.has(id));
  };
  return {
    count: usable.length,
    leftOut: results.length - usable.length,
    of: (mutant) => {
      const own = { ...mutant, id: mutant.id.startsWith(CONTROL) ? mutant.id.slice(CONTROL.length) : mutant.id };
      const found = covering(placesOf(own));
      // What is run when a module is loaded concerns all who use the module.
      const isLoaded = found.length === 0 && placesOf(own).some((place) => isStatic.has(place));
      return isLoaded ? covering(mutants.filter(({ file }) => file === own.file).flatMap(placesOf)) : found;
    },
  };
}
