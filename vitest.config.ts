import { configDefaults, defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// What takes minutes has a command of its own: npm run test:command, test:topologies, test:package, test:docs, test:site.
const command = process.env["HOLDFAST_COMMAND"] === undefined ? ["test/cli/**"] : [];
const long = process.env["HOLDFAST_LONG"] === undefined ? ["test/topologies/**"] : [];
const runtimes = process.env["HOLDFAST_RUNTIMES"] === undefined ? ["test/runtimes/**"] : ["test/runtimes/*/**"];
const packaging =
  process.env["HOLDFAST_PACKAGE"] === undefined
    ? ["test/package/**", "test/nestjs/**", "test/next/**"]
    : ["test/nestjs/app/**", "test/next/shop/**"];
const docs =
  process.env["HOLDFAST_DOCS"] === undefined
    ? ["test/{choosing,demo,examples,moving,pages,python}.test.ts", "test/frameworks/recipes.test.ts"]
    : [];
const site = process.env["HOLDFAST_SITE"] === undefined ? ["test/site/**", "test/dashboard/page.test.ts"] : [];
const exclude = [...configDefaults.exclude, ...command, ...long, ...packaging, ...runtimes, ...docs, ...site];

/**
 * These need a process of their own: they replace a module or a prototype, count on its timers, fill its memory, or hear
 * what all managers in it report.
 */
const alone = [
  "test/memory.test.ts",
  "test/{otel,prometheus}.test.ts",
  "test/simulator/*.test.ts",
  "test/waiting.test.ts",
  "test/reentrancy.test.ts",
  "test/turns/{leaving,model,order,trouble}.test.ts",
  "test/topologies/node-redis-sentinel.test.ts",
];

/** So that none of these is begun last, when all others are over. */
const longest = [
  "web-locks",
  "cli/exec",
  "cli/listing",
  "conformance",
  "faults/redlock",
  "connect",
  "cli/watch",
  "faults/redlock-random",
  "cli/output",
  "cli/usage",
  "durability",
  "semaphore",
  "hand-over",
  "written",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ project, moduleId }: TestSpecification): number => {
      if (project.name === "alone") return Infinity; // a process that several files share ends when it has to wait for one
      const at = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`));
      return at < 0 ? longest.length : at;
    };
    return files.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
  }
}

export default defineConfig({
  test: {
    pool: "forks",
    // Most tests wait most of the time.
    maxWorkers: 4,
    // Long enough for a machine that has much other work: no test is about how long something takes.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: "shared",
          globalSetup: ["test/support/global-setup.ts"],
          include: ["test/**/*.test.ts"],
          exclude: [...exclude, ...alone],
          // Files take turns in a few processes, because loading the library and its clients anew takes longer than most.
          isolate: false,
        },
      },
      { extends: true, test: { name: "alone", include: alone, exclude } },
    ],
  },
});
