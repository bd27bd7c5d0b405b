import { configDefaults, defineConfig } from "vitest/config";

// What takes minutes has a command of its own: npm run test:topologies, npm run test:package.
const long = process.env["HOLDFAST_LONG"] === undefined ? ["test/topologies/**"] : [];
const packaging =
  process.env["HOLDFAST_PACKAGE"] === undefined ? ["test/package/**", "test/nestjs/**"] : ["test/nestjs/app/**"];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...long, ...packaging],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
});
