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

/** @param folder what NODE_V8_COVERAGE was @param dist how the address of each script begins that counts */
export async function childCoverage(folder: string, dist: string): Promise<CoverageMap> {
  const map = istanbul.createCoverageMap({});
  const scripts = new Map<string, Script>();
  for (const file of readdirSync(folder)) {
    for (const { url, functions } of coverageIn(join(folder, file))) {
      if (!url.startsWith(dist)) continue;
      const script = scripts.get(url) ?? load(url);
      scripts.set(url, script);
      map.merge(await convert({ ...script, coverage: { url, functions } }));
    }
  }
  return map;
}

function coverageIn(path: string): readonly Profiler.ScriptCoverage[] {
  return (JSON.parse(readFileSync(path, "utf8")) as { readonly result: readonly Profiler.ScriptCoverage[] }).result;
}

function load(url: string): Script {
  const code = readFileSync(fileURLToPath(url), "utf8");
  const encoded = SOURCE_MAP.exec(code)?.[1];
  if (encoded === undefined) throw new Error(`Expected a source map in ${url}. Build it with one.`);
  const sourceMap = JSON.parse(Buffer.from(encoded, "base64").toString()) as Script["sourceMap"];
  return { ast: parse(code, { ecmaVersion: "latest", sourceType: "module" }), code, sourceMap };
}
