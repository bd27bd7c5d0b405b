/**
 * Bundles the package's modules: a file for each entry in package.json, and what several of them share in `dist/shared`.
 * To load one file for each module takes more time than to run them. The types stay as TypeScript writes them.
 *
 *     --sourcemap   with source maps in the files, for `npm run coverage`
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

type Conditions = Readonly<Record<string, { readonly default: string }>>;

const { values } = parseArgs({ options: { sourcemap: { type: "boolean", default: false } } });
const root = fileURLToPath(new URL("..", import.meta.url));
const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  readonly exports: Readonly<Record<string, Conditions | string>>;
};

const entries = Object.values(exports).flatMap((conditions) => {
  if (typeof conditions === "string") return [];
  const [, name] = /^\.\/dist\/(.+)\.js$/.exec(conditions["import"]?.default ?? "") ?? [];
  if (!name) throw new Error(`Expected a file in dist, not ${JSON.stringify(conditions)}.`);
  return [`src/${name}.ts`];
});

await build({
  absWorkingDir: root,
  entryPoints: entries,
  outdir: "dist",
  outbase: "src",
  chunkNames: "shared/[name]-[hash]",
  bundle: true,
  splitting: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20.19",
  sourcemap: values.sourcemap ? "inline" : false,
  logLevel: "warning",
});
