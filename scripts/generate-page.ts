/** Bundles the dashboard's page into a module, so that the package needs neither files beside it nor a build by its user. */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Writes `src/dashboard/page.generated.ts`. */
export async function generatePage(): Promise<void> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["src/dashboard/page/main.tsx", "src/dashboard/page/page.css"],
    outdir: "out",
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    // The package contains these libraries, and so has to contain their licenses.
    banner: { js: licensesOf("preact", "uplot"), css: licensesOf("uplot") },
    charset: "ascii",
  });
  const textOf = (ending: string): string => outputFiles.find(({ path }) => path.endsWith(ending))?.text.trim() ?? "";
  const [script, style] = [textOf(".js"), textOf(".css")];
  if (/<\/(script|style)/i.test(script + style)) throw new Error("Expected nothing that ends an element of the page.");
  const text =
    "// Made by scripts/generate-page.ts from src/dashboard/page. Do not edit.\n" +
    `export const SCRIPT: string = ${JSON.stringify(script)};\nexport const STYLE: string = ${JSON.stringify(style)};\n`;
  writeFileSync(`${root}src/dashboard/page.generated.ts`, text);
}

function licensesOf(...libraries: string[]): string {
  return libraries
    .map((each) => `/*! ${each}\n${readFileSync(`${root}node_modules/${each}/LICENSE`, "utf8").trim()}\n*/`)
    .join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await generatePage();
