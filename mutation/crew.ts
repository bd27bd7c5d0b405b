/** Processes that try mutants, each in a group of its own: one that hangs is ended with all that its tests have started. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CONTROL, type Mutant, type Outcome, type Task, type TestResult } from "./mutant.ts";
import type { Verdict } from "./report.ts";

/**
 * What a mutant is tried with: first, and then again if it has survived. A file costs a server or more, whatever it has
 * of tests. In milliseconds.
 */
const ROUNDS = [
  { files: 3, tests: 6_000 },
  { files: 10, tests: 25_000 },
  { files: Infinity, tests: 120_000 },
];
/** A mutant may make tests slower by so much, besides what starting them takes. */
const PATIENCE = { factor: 3, start: 60_000 };

const MOST_ATTEMPTS = 3;
const LONGEST_SURVEY = 1_800_000;

class TimedOut extends Error {}

/** Tests that have failed, by whether they pass if nothing is changed: some need others of their file before them. */
class Trust {
  readonly #trusted = new Map<string, boolean>();

  isTrusted(test: string): boolean {
    return this.#trusted.get(test) === true;
  }

  isDistrusted(test: string): boolean {
    return this.#trusted.get(test) === false;
  }

  note(test: string, isTrusted: boolean): void {
    this.#trusted.set(test, isTrusted);
  }
}

class Worker {
  readonly #trust: Trust;
  readonly #task: string;
  readonly #coverage: string;
  #child: ChildProcess | undefined;

  constructor(trust: Trust, folder: string, number: number) {
    this.#trust = trust;
    this.#task = join(folder, `task-${process.pid}-${number}.json`);
    this.#coverage = join(folder, "coverage");
  }

  async judge(mutant: Mutant, tests: readonly TestResult[]): Promise<Verdict> {
    const started = performance.now();
    const verdict = (result: Verdict["result"], by?: string): Verdict => ({
      id: mutant.id,
      result,
      ...(by !== undefined && { by }),
      seconds: Math.round((performance.now() - started) / 1_000),
    });
    if (tests.length === 0) return verdict("not covered");
    let rest = byFile(tests);
    for (const round of ROUNDS) {
      const some = within(rest.slice(0, round.files).flat(), round.tests);
      rest = rest.slice(round.files);
      try {
        const killer = await this.#killer(mutant, some);
        if (killer !== undefined) return verdict("killed", killer);
      } catch (error) {
        if (error instanceof TimedOut) return verdict("timed out");
        throw error;
      }
    }
    return verdict("survived");
  }

  /** What noticed the mutant: a test that passes without it, among the same tests. */
  async #killer(mutant: Mutant, tests: readonly TestResult[]): Promise<string | undefined> {
    for (let attempts = 1; ; attempts++) {
      const some = tests.filter(({ id }) => !this.#trust.isDistrusted(id));
      if (some.length === 0) return undefined;
      const { results, errors } = await this.run(taskOf(mutant, some), limitOf(some));
      const failed = results.find(({ isPassed }) => !isPassed);
      if (!failed && errors[0] !== undefined) return `an error: ${errors[0].split("\n")[0]}`;
      // It may have been stopped by what stopped the run before it.
      if (!failed && results.length < some.length && attempts < MOST_ATTEMPTS) continue;
      if (!failed) return undefined;
      if (this.#trust.isTrusted(failed.id)) return failed.title;
      const same = some.filter(({ file }) => file === failed.file);
      const unchanged = await this.run(taskOf(undefined, same), limitOf(same));
      const isTrusted = unchanged.results.find(({ id }) => id === failed.id)?.isPassed ?? false;
      this.#trust.note(failed.id, isTrusted);
      if (isTrusted) return failed.title;
    }
  }

  async run(task: Task, limit: number): Promise<Outcome> {
    const child = (this.#child ??= await this.#start());
    child.send(task);
    const timeout = AbortSignal.timeout(limit);
    try {
      const [outcome] = (await once(child, "message", { signal: timeout })) as [Outcome];
      return outcome;
    } catch (error) {
      this.end();
      if (timeout.aborted) throw new TimedOut(`No answer within ${limit} ms`);
      throw error;
    }
  }

  async #start(): Promise<ChildProcess> {
    const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), {
      execArgv: ["--import", "tsx"],
      detached: true,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { ...process.env, HOLDFAST_MUTATION_TASK: this.#task, HOLDFAST_MUTATION_COVERAGE: this.#coverage },
    });
    child.on("exit", () => (this.#child = undefined));
    await once(child, "message");
    return child;
  }

  end(): void {
    const pid = this.#child?.pid;
    this.#child = undefined;
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

/** Those of a file together: the files with most of them first, as those are about what was changed. */
function byFile(tests: readonly TestResult[]): TestResult[][] {
  const files = new Map<string, TestResult[]>();
  for (const test of tests) files.set(test.file, [...(files.get(test.file) ?? []), test]);
  return [...files.values()].toSorted((a, b) => b.length - a.length);
}

/** The quickest that together take no longer; one at least. */
function within(tests: readonly TestResult[], budget: number): TestResult[] {
  let left = budget;
  const quick = tests.toSorted((a, b) => a.milliseconds - b.milliseconds);
  return quick.filter(({ milliseconds }, i) => (left -= milliseconds) >= 0 || i === 0);
}

const limitOf = (tests: readonly TestResult[]): number =>
  PATIENCE.start + PATIENCE.factor * tests.reduce((sum, { milliseconds }) => sum + milliseconds, 0);

/** Files in the order of their quickest tests. */
function taskOf(mutant: Mutant | undefined, tests: readonly TestResult[]): Task {
  const files = new Map<string, { file: string; project: string; ids: string[] }>();
  for (const { file, project, id } of tests) {
    const entry = files.get(file) ?? { file, project, ids: [] };
    entry.ids.push(id);
    files.set(file, entry);
  }
  const isControl = mutant === undefined || mutant.id.startsWith(CONTROL);
  return { ...(!isControl && { mutant }), tests: [...files.values()], isSurvey: false };
}

export class Crew {
  readonly #workers: readonly Worker[];

  constructor(jobs: number, folder: string) {
    mkdirSync(folder, { recursive: true });
    const trust = new Trust();
    this.#workers = Array.from({ length: jobs }, (_, i) => new Worker(trust, folder, i));
    process.once("SIGINT", () => (this.close(), process.exit(130)));
    process.once("SIGTERM", () => (this.close(), process.exit(143)));
  }

  /** @param since only of files that were changed after that, in milliseconds since 1970 */
  survey(since: number): Promise<Outcome> {
    return this.#workers[0]!.run({ tests: [], isSurvey: true, since }, LONGEST_SURVEY);
  }

  /** Each item is given to the next worker that is free. */
  async each<Item>(items: readonly Item[], work: (item: Item, worker: Worker) => Promise<void>): Promise<void> {
    const waiting = items.values();
    await Promise.all(
      this.#workers.map(async (worker) => {
        for (const item of waiting) await work(item, worker);
      }),
    );
  }

  close(): void {
    for (const worker of this.#workers) worker.end();
  }
}
