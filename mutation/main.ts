/**
 * `npm run mutation`: changes the code in one place after the other, and looks whether a test notices.
 *
 *     --sample N    how many mutants, drawn by the seed (default: 300)
 *     --seed S      (default: 1)
 *     --only TEXT   only of files whose path has this text
 *     --jobs N      how many at a time (default: 2)
 *     --again       survivors once more, because there are new tests
 *     --list        print the mutants and end
 *     --results FILE   where the figures go (default: none are written)
 *
 * First all tests are run once, which shows which of them runs which mutant's code, and how long it takes. A mutant is
 * then tried with the quickest of its tests, and, if it survives those, with the others. Among the mutants are controls, in
 * which nothing is changed: a control that "dies" tells how many are killed by chance. What was found is kept in
 * .cache/mutation as long as the code is the same, so that a call that is stopped can be continued.
 */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { mutateLua } from "./lua.ts";
import { CONTROL, type Mutant } from "./mutant.ts";
import { Crew } from "./crew.ts";
import { type Verdict, report } from "./report.ts";
import { readSurvey, survey } from "./survey.ts";
import { CACHE, mutateTypeScript } from "./typescript.ts";
import { Random } from "../simulator/world/random.ts";

const { values } = parseArgs({
  options: {
    sample: { type: "string", default: "300" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "2" },
    again: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    results: { type: "string" },
  },
});

/** Of so many mutants, one is followed by a control. */
const CONTROL_EVERY = 20;

const all = [...(await mutateTypeScript()), ...(await mutateLua())];
const mutants = all.filter(({ file }) => file.includes(values.only));
if (values.list) {
  for (const mutant of mutants) console.log(inWords(mutant));
  process.exit();
}

const folder = join(CACHE, digest());
mkdirSync(folder, { recursive: true });
const KNOWN = join(folder, "verdicts.jsonl");
const known = new Map<string, Verdict>();
for (const entry of existsSync(KNOWN) ? readFileSync(KNOWN, "utf8").trim().split("\n") : []) {
  const verdict = JSON.parse(entry) as Verdict;
  known.set(verdict.id, verdict);
}
if (values.again) {
  for (const [id, { result }] of known) {
    if (result === "survived" || result === "not covered" || id.startsWith(CONTROL)) known.delete(id);
  }
}

const crew = new Crew(Number(values.jobs), folder);
try {
  if (values.again || !existsSync(join(folder, "survey.json"))) await survey(crew, folder);
  const tests = readSurvey(folder, all);
  const random = new Random(values.seed);
  const drawn = mutants
    .map((mutant) => ({ mutant, at: random.fork(mutant.id).next() }))
    .toSorted((a, b) => a.at - b.at);
  const sample = drawn.slice(0, Number(values.sample)).map(({ mutant }) => mutant);
  const controls = sample
    .filter((_, i) => i % CONTROL_EVERY === 0)
    .map((each) => ({ ...each, id: `${CONTROL}${each.id}` }));
  const waiting = sample.concat(controls).filter(({ id }) => !known.has(id));
  let left = waiting.length;
  await crew.each(waiting, async (mutant, worker) => {
    const verdict = await worker.judge(mutant, tests.of(mutant));
    known.set(verdict.id, verdict);
    appendFileSync(KNOWN, `${JSON.stringify(verdict)}\n`);
    console.log(`${--left} left. ${inWords(mutant)}: ${verdict.result}${verdict.by ? `, by ${verdict.by}` : ""}`);
  });
  const text = await report({ mutants, sample, controls, known, tests, seed: values.seed, only: values.only });
  console.log(text.summary);
  if (values.results) writeFileSync(values.results, `${JSON.stringify(text.figures, undefined, 2)}\n`);
} finally {
  crew.close();
}

function inWords({ id, file, line, what, before, after }: Mutant): string {
  return id.startsWith(CONTROL) ? id : `${file}:${line} ${what}: ${before} → ${after}`;
}

/** Of the mutants. */
function digest(): string {
  const hash = createHash("sha1");
  for (const mutant of all) hash.update(JSON.stringify({ ...mutant, scripts: undefined }));
  return hash.digest("hex").slice(0, 12);
}
