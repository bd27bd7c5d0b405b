/** Which lines of src/ ran in processes that tests started: what Node has written down of dist/, by its source maps. */
import { readdirSync, readFileSync } from "node:fs";
import type { Profiler } from "node:inspector";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "acorn";
import { convert } from "ast-v8-to-istanbul";
import istanbul from "istanbul-lib-coverage";
import type { CoverageMap } from "istanbul-lib-coverage";

type Terms = Parameters<typeof convert>[0];

interface Script {
  readonly ast: Terms["ast"];
  readonly code: string;
  readonly sourceMap: NonNullable<Terms["sourceMap"]>;
}

const SOURCE_MAP = /\n\/\/# sourceMappingURL=data:application\/json;base64,(.*)\s*$/;

/** A script of dist/, or of a copy of it: the package as an application has installed it. */
const BUILT = /^file:(?!.*\/node_modules\/(?!holdfast\/)).*\/dist\/(.+)$/;

/** @param folder what NODE_V8_COVERAGE was @param dist the URL of the folder that was built, whose copies count too */
export async function childCoverage(folder: string, dist: URL): Promise<CoverageMap> {
  const map = istanbul.createCoverageMap({});
  const scripts = new Map<string, Script | undefined>();
  for (const file of readdirSync(folder)) {
    for (const { url: loaded, functions } of coverageIn(join(folder, file))) {
      const [, path] = BUILT.exec(loaded) ?? [];
      if (path === undefined) continue;
      const { href: url } = new URL(path, dist);
      const script = scripts.has(url) ? scripts.get(url) : load(url);
      scripts.set(url, script);
      if (!script) continue;
      map.merge(await convert({ ...script, coverage: { url, functions } }));
    }
  }
  return map;
}

function coverageIn(path: string): readonly Profiler.ScriptCoverage[] {
  return (JSON.parse(readFileSync(path, "utf8")) as { readonly result: readonly Profiler.ScriptCoverage[] }).result;
}

/** @returns undefined if it has no source map: it was not compiled, or is left from another build */
function load(url: string): Script | undefined {
  const code = readFileSync(fileURLToPath(url), "utf8");
  const encoded = SOURCE_MAP.exec(code)?.[1];
  if (encoded === undefined) return undefined;
  const sourceMap = JSON.parse(Buffer.from(encoded, "base64").toString()) as Script["sourceMap"];
  return { ast: parse(code, { ecmaVersion: "latest", sourceType: "module" }), code, sourceMap };
}
