/** For scripts/coverage.ts: counts which lines of src/ the tests run. The dashboard's page runs in browsers. */
import { fileURLToPath } from "node:url";
import { defineConfig, mergeConfig } from "vitest/config";
import tests from "./vitest.config.ts";

export default mergeConfig(
  tests,
  defineConfig({
    test: {
      setupFiles: [fileURLToPath(new URL("test/support/child-coverage.ts", import.meta.url))],
      coverage: {
        enabled: true,
        provider: "v8",
        include: ["src/**/*.ts"],
        exclude: ["src/**/*.generated.ts", "src/dashboard/page/**"],
        reporter: ["text-summary", "json"],
        reportOnFailure: true,
      },
    },
  }),
);
