/**
 * The client program as one file, so that a process is up in a tenth of a second. It loads the library as users do, from
 * dist/; with a mistake planted, from a changed copy of src/.
 */
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Plugin, build } from "esbuild";
import { edited, mistakeOf } from "../../simulator/mistakes/mistakes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Inside the project, so that the program finds the client libraries. */
const folder = join(root, "node_modules/.cache/holdfast-chaos");

/** @param mistake one of the simulator's, to be planted in the library */
export async function bundleClient(mistake: string | undefined): Promise<string> {
  await mkdir(folder, { recursive: true });
  const outfile = join(folder, `client-${process.pid}.mjs`);
  const isInScripts = mistake !== undefined && mistakeOf(mistake).file === undefined;
  const plant = `import { plant } from "./simulator/mistakes/mistakes.ts"; plant(${JSON.stringify(mistake)});`;
  await build({
    stdin: { contents: `${isInScripts ? plant : ""} await import("./chaos/client/main.ts");`, resolveDir: root },
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20.19",
    logLevel: "warning",
    logOverride: { "ignored-bare-import": "silent" }, // the package says that its modules have no side effects
    plugins: [library(mistake)],
  });
  return outfile;
}

function library(mistake: string | undefined): Plugin {
  return {
    name: "library",
    setup: (builder) => {
      builder.onResolve({ filter: /^(ioredis|redis|@valkey\/valkey-glide)$/ }, ({ path }) => ({
        path,
        external: true,
      }));
      if (mistake === undefined) {
        builder.onResolve({ filter: /^holdfast$/ }, () => ({ path: join(root, "dist/index.js") }));
        return;
      }
      builder.onResolve({ filter: /^holdfast$/ }, () => ({ path: join(root, "src/index.ts") }));
      const { file, edits } = mistakeOf(mistake);
      if (file === undefined) return;
      builder.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (path !== join(root, "src", file)) return undefined;
        return { contents: edited(readFileSync(path, "utf8"), edits), loader: "ts" };
      });
    },
  };
}
