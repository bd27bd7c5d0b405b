/** One change of the code, which some test should notice. */
export interface Mutant {
  readonly id: string;
  /** What it counts for: a folder, or "Lua". */
  readonly area: string;
  readonly file: string;
  readonly line: number;
  readonly what: string;
  readonly before: string;
  readonly after: string;
  /** The scripts as they are with the change, by folder and name, if it is one of a script. */
  readonly scripts?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Where the id of a control begins: it is that of a mutant, which is left as it was. */
export const CONTROL = "control ";

/** What a worker is given: a mutant (none: the code as it is), and tests by file, in the order in which they are run. */
export interface Task {
  readonly mutant?: Mutant;
  readonly tests: readonly { readonly file: string; readonly project: string; readonly ids?: readonly string[] }[];
  /** Notes which test runs which mutant's code, and stops at no failure. */
  readonly isSurvey: boolean;
  /** Of a survey: only files that were changed after that, in milliseconds since 1970. */
  readonly since?: number;
}

export interface TestResult {
  readonly id: string;
  readonly file: string;
  readonly project: string;
  readonly title: string;
  readonly milliseconds: number;
  readonly isPassed: boolean;
}

/** What a worker answers. */
export interface Outcome {
  readonly results: readonly TestResult[];
  /** What went wrong outside tests. */
  readonly errors: readonly string[];
}

/** Which mutants' code was run, and which scripts were sent: while a test ran, and otherwise. */
export interface Coverage {
  static: Record<string, number>;
  perTest: Record<string, Record<string, number>>;
}
