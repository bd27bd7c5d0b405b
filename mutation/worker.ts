/** A process that has vitest loaded: it is given one task after the other, and answers what became of the tests. */
import { statSync, writeFileSync } from "node:fs";
import { createVitest, type TestCase, type TestModule, type TestSuite } from "vitest/node";
import type { Outcome, Task, TestResult } from "./mutant.ts";
import { ROOT } from "./typescript.ts";

/** Of the present run. What vitest itself remembers of a file may be that of an earlier one, if this was stopped before. */
let results: TestResult[] = [];
let errors: string[] = [];

function noteErrors(of: TestSuite | TestModule): void {
  errors.push(...of.errors().map(({ message }) => message));
}

const vitest = await createVitest("test", {
  root: ROOT,
  config: "mutation/vitest.config.ts",
  watch: false,
  reporters: [
    {
      onTestCaseResult: (test) => void (test.result().state !== "skipped" && results.push(resultOf(test))),
      // A hook that failed, or a file that could not be loaded.
      onTestSuiteResult: noteErrors,
      onTestModuleEnd: noteErrors,
    },
  ],
});

function resultOf(test: TestCase): TestResult {
  return {
    id: test.id,
    file: test.module.moduleId,
    project: test.project.name,
    title: test.fullName,
    milliseconds: Math.round(test.diagnostic()?.duration ?? 0),
    isPassed: test.result().state === "passed",
  };
}

async function carryOut(task: Task): Promise<Outcome> {
  writeFileSync(process.env["HOLDFAST_MUTATION_TASK"]!, JSON.stringify(task));
  results = [];
  errors = [];
  vitest.config.bail = task.isSurvey ? 0 : 1;
  for (const project of vitest.projects) project.config.bail = vitest.config.bail;
  const specifications = task.isSurvey
    ? (await vitest.globTestSpecifications()).filter(({ moduleId }) => statSync(moduleId).mtimeMs > (task.since ?? 0))
    : task.tests.map(({ file, project, ids }) =>
        vitest.projects.find(({ name }) => name === project)!.createSpecification(file, ids && { testIds: [...ids] }),
      );
  const { unhandledErrors } = await vitest.runTestSpecifications(specifications, true);
  errors.push(...unhandledErrors.map((error) => (error as { message?: string }).message ?? String(error)));
  return { results, errors };
}

process.on("message", (task: Task) => {
  void carryOut(task).then(
    (outcome) => process.send!(outcome),
    (error: unknown) => process.send!({ results: [], errors: [String(error)] } satisfies Outcome),
  );
});
process.on("disconnect", () => void vitest.close().finally(() => process.exit()));
process.send!("ready");
