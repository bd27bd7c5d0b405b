/** In the process of the tests, before each file: activates the mutant, or notes which test runs whose code. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeEach } from "vitest";
import type { Coverage, Task } from "./mutant.ts";

/** Stryker's, which the instrumented code reads. */
interface Namespace {
  activeMutant?: string;
  currentTestId?: string | undefined;
  mutantCoverage?: Coverage;
}

const { mutant, isSurvey } = JSON.parse(readFileSync(process.env["HOLDFAST_MUTATION_TASK"]!, "utf8")) as Task;
const NAME = "__stryker__";
const space = ((globalThis as { [NAME]?: Namespace })[NAME] ??= {});
if (mutant && !mutant.scripts) space.activeMutant = mutant.id;
// Code that is loaded already keeps this object.
const covered = Object.assign((space.mutantCoverage ??= { static: {}, perTest: {} }), { static: {}, perTest: {} });
space.currentTestId = undefined;

const generated = {
  "schemes/lua": await import("../src/schemes/lua/scripts.generated.ts"),
  "schemes/redlock": await import("../src/schemes/redlock/scripts.generated.ts"),
};
for (const [folder, scripts] of Object.entries(generated)) {
  for (const script of Object.values(scripts) as { name: string; source: string; sha: string }[]) {
    const source = mutant?.scripts?.[folder]?.[script.name];
    if (source !== undefined) {
      script.source = source;
      script.sha = createHash("sha1").update(source).digest("hex");
    }
    if (isSurvey) noteUse(script, `${folder}/${script.name}`);
  }
}

/** Whoever sends a script reads its digest. */
function noteUse(script: { sha: string }, id: string): void {
  const { sha } = script;
  if (Object.getOwnPropertyDescriptor(script, "sha")?.get) return;
  Object.defineProperty(script, "sha", {
    get: () => {
      const test = space.currentTestId;
      (test === undefined ? covered.static : (covered.perTest[test] ??= {}))[id] = 1;
      return sha;
    },
  });
}

if (isSurvey) {
  let file = "";
  beforeEach(({ task }) => {
    space.currentTestId = task.id;
    file = task.file.filepath;
  });
  afterAll(() => {
    const folder = process.env["HOLDFAST_MUTATION_COVERAGE"]!;
    mkdirSync(folder, { recursive: true });
    const name = createHash("sha1").update(file).digest("hex");
    writeFileSync(join(folder, `${name}.json`), JSON.stringify({ file, ...covered }));
  });
}
