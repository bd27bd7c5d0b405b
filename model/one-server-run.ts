/**
 * Checks the model of one server, in less than a minute. Prints what it has checked, and ends with 1 if a promise can be
 * broken, or if a planted mistake goes unnoticed. With `--results FILE` it also writes that to a file, for docs/proof.md.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { explore, findStuck } from "./explore.ts";
import type { Explored } from "./explore.ts";
import { OneServerModel } from "./one-server.ts";
import type { Mistake, Terms } from "./one-server.ts";

const two: Terms = { clients: ["exclusive", "exclusive"] };
const three: Terms = { clients: ["exclusive", "exclusive", "exclusive"] };
const mixed: Terms = { clients: ["shared", "exclusive", "shared"] };
const all = [0, 1, 2];
const theft: Terms = { clients: ["exclusive", "exclusive", "thief"], turn: 2 };

/** One holder, growing fences, nobody who lives is overtaken, no request runs twice. */
const SAFE: Readonly<Record<string, Terms>> = {
  "three requests that may give up": { ...three, gives: all },
  "readers and a writer that may give up": { ...mixed, gives: all },
  "two that ask again when they like": { ...two, gives: all, pokes: true },
  "holders freeze until their leases have ended": { ...two, freezes: true, gives: all, pokes: true },
  "a push and an answer are lost": { ...two, lostPushes: 1, lostAnswers: 1, freezes: true, pokes: true },
  "a client crashes": { ...three, crashes: 1 },
  "a client crashes, and a push is lost": {
    ...two,
    crashes: 1,
    lostPushes: 1,
    gives: all,
    freezes: true,
    pokes: true,
  },
  "the lock is stolen, and one place has two requests": theft,
  "the server forgets": { ...two, amnesias: 1, pokes: true, freezes: true },
  "the server forgets, and one place has two requests": { ...two, turn: 2, amnesias: 1, lostAnswers: 1, pokes: true },
};

/** Everybody who lives is served, by pushes alone if nothing goes wrong. */
const LIVE: Readonly<Record<string, Terms>> = {
  "three requests, by pushes alone": { ...three, gives: [1] },
  "readers and a writer, by pushes alone": { ...mixed, gives: [1] },
  "a reader that stays, and a writer that gives up": { ...mixed, stays: true, gives: [1] },
  "a push is lost": { ...two, lostPushes: 1, gives: [1], pokes: true },
  "a client crashes": { ...two, crashes: 1, gives: [1], pokes: true },
  "the server forgets": { ...two, amnesias: 1, pokes: true },
  "an answer is lost": { ...two, lostAnswers: 1, pokes: true },
};

const MISTAKES: Readonly<Record<Mistake, { readonly terms: Terms; readonly isStuck?: boolean }>> = {
  "late deadline": { terms: { ...two, pokes: true } },
  "no claim": { terms: { ...two, pokes: true } },
  "late push counts": { terms: { ...two, pokes: true, freezes: true } },
  overtaking: { terms: { ...three, freezes: true } },
  "release without promote": { terms: three, isStuck: true },
  "withdraw without promote": { terms: { ...mixed, stays: true, gives: [1] }, isStuck: true },
  "no liveness test": { terms: { ...three, crashes: 1 }, isStuck: true },
  "no poke": { terms: { ...two, lostPushes: 1, pokes: true }, isStuck: true },
  "counter without clock": { terms: { ...two, amnesias: 1, pokes: true } },
  "release without token": { terms: { ...three, freezes: true } },
  "turn after theft": { terms: theft },
  "forgets revoked": { terms: theft },
  "begins again": { terms: { ...two, gives: all, pokes: true } },
};

let isBroken = false;
const results: { title: string; states: number; found?: string }[] = [];

function run(title: string, check: () => Explored, isMistake = false): void {
  const startedAt = performance.now();
  const { states, violation } = check();
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  const { what, path = [] } = violation ?? {};
  if ((what === undefined) === isMistake) isBroken = true;
  results.push({ title, states, ...(what === undefined ? {} : { found: what }) });
  const right = what === undefined ? "holds" : `BROKEN: ${what}`;
  const found = what === undefined ? "NOT FOUND" : `found: ${what}, in ${path.length} steps`;
  console.log(`  ${title}: ${isMistake ? found : right} (${states.toLocaleString("en")} states, ${seconds} s)`);
  if (isMistake) return;
  for (const [i, step] of path.entries()) console.log(`    ${i + 1}. ${step}`);
}

const stuck = (terms: Terms) => (): Explored => {
  const model = new OneServerModel(terms);
  return findStuck(model, (state) => model.isServed(state));
};
const safe = (terms: Terms) => (): Explored => explore(new OneServerModel(terms));

console.log("One server: one holder, growing fences, order among the living, no request runs twice");
for (const [title, terms] of Object.entries(SAFE)) run(title, safe(terms));
console.log("One server: everybody who lives is served");
for (const [title, terms] of Object.entries(LIVE)) run(title, stuck(terms));
console.log("One server: planted mistakes");
for (const [title, { terms, isStuck }] of Object.entries(MISTAKES)) {
  const wrong = { ...terms, mistake: title as Mistake };
  run(title, isStuck ? stuck(wrong) : safe(wrong), true);
}
const { values } = parseArgs({ options: { results: { type: "string" } } });
if (values.results !== undefined) writeFileSync(values.results, `${JSON.stringify(results, undefined, 2)}\n`);
process.exitCode = isBroken ? 1 : 0;
