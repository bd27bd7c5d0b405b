import { configDefaults, defineConfig } from "vitest/config";

// What needs many servers and minutes has a command of its own: npm run test:topologies.
const long = process.env["HOLDFAST_LONG"] === undefined ? ["test/topologies/**"] : [];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...long],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
