import { configDefaults, defineConfig } from "vitest/config";

// What takes minutes has a command of its own: npm run test:topologies, test:package, test:site.
const long = process.env["HOLDFAST_LONG"] === undefined ? ["test/topologies/**"] : [];
const runtimes = process.env["HOLDFAST_RUNTIMES"] === undefined ? ["test/runtimes/**"] : ["test/runtimes/*/**"];
const packaging =
  process.env["HOLDFAST_PACKAGE"] === undefined
    ? ["test/package/**", "test/nestjs/**", "test/next/**"]
    : ["test/nestjs/app/**", "test/next/shop/**"];
const site = process.env["HOLDFAST_SITE"] === undefined ? ["test/site/**"] : [];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...long, ...packaging, ...runtimes, ...site],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    // Most tests wait most of the time.
    maxWorkers: 4,
    // Of processes that tests start, such as the command's, nothing is counted. The page runs in browsers.
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      exclude: ["src/**/*.generated.ts", "src/dashboard/page/**"],
      reporter: ["text", "json-summary"],
      reportsDirectory: ".cache/coverage",
    },
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
