/** The tests that mutants are run with: fast ones on a server each, of everything that is mutated. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { instrumentedPath } from "./typescript.ts";

/** Main decides the order: what is likely to find a mutant quickly comes first. */
class AsGiven extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files;
  }
}

/** As in the suite's own configuration: these replace a module or a prototype, or count on a process of their own. */
const alone = ["test/memory.test.ts", "test/waiting.test.ts", "test/reentrancy.test.ts", "test/turns/*.test.ts"];

const files = [
  "acl,blocked-loop,bounds,channels,clients,client-state,close,compare,conformance,contexts,downgrade,driver,durability",
  "events,fence,followers,glob,hand-over,holds,key-prefix,keys,lease,lua,lua-scheme,model,once,options,order,query,queue",
  "redlock-fences,redlock-node,redlock-rules,redlock-scheme,release,renewal,schedule,semaphore,set,several,share,web-locks",
];
const folders = [
  "doctor/eviction",
  "faults/{cleanup,connections,errors,fences,foreign,leases,redlock,redlock-random,waiters}",
  "security/{names,replies}",
];
const shared = [`test/{${files.join(",")}}.test.ts`, ...folders.map((name) => `test/${name}.test.ts`)];

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  plugins: [
    {
      name: "instrumented",
      enforce: "pre",
      load: (id) => {
        const path = instrumentedPath(id);
        return path === undefined ? undefined : readFileSync(path, "utf8");
      },
    },
  ],
  test: {
    pool: "forks",
    maxWorkers: 1,
    setupFiles: [fileURLToPath(new URL("setup.ts", import.meta.url))],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 20_000,
    restoreMocks: true,
    watch: false,
    sequence: { sequencer: AsGiven },
    projects: [
      { extends: true, test: { name: "shared", include: shared, isolate: false } },
      { extends: true, test: { name: "alone", include: alone } },
    ],
  },
});
