/** What the reports of vitest's json reporter say. */

/** A test that failed, or a file that failed outside its tests. */
export interface Failure {
  /** The test file's absolute path. */
  readonly file?: string;
  /** The test's full title. */
  readonly title: string;
  readonly message: string;
}

interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

/** A file that fails outside its tests (an import, a hook) has no failed test: it counts as one failure. */
export function readReport(text: string): { passed: number; failures: Failure[] } {
  if (text === "") return { passed: 0, failures: [] }; // vitest was ended while it wrote
  const { numPassedTests, testResults } = JSON.parse(text) as Report;
  const failures = testResults.flatMap(({ name: file, status, message, assertionResults }): Failure[] => {
    const failed = assertionResults.filter((each) => each.status === "failed");
    if (status === "failed" && failed.length === 0) return [{ file, title: "outside its tests", message }];
    return failed.map(({ fullName: title, failureMessages = [] }) => ({
      file,
      title,
      message: failureMessages.map(tidy).join("\n"),
    }));
  });
  return { passed: numPassedTests, failures };
}

/** Without the frames of libraries. Of a test that took too long vitest reports only where it stands. */
function tidy(stack: string): string {
  return stack
    .replace(/^Error: STACK_TRACE_ERROR$/m, "Error: the test took longer than its limit")
    .replaceAll(/\n +at [^\n]*node_modules[^\n]*/g, "");
}
