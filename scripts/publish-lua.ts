/**
 * Writes the scripts that clients in other languages send into `lua/`, which is part of the package: the same text that
 * `scripts.generated.ts` embeds, below the header that says what it takes and answers.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as guards from "../src/fence/scripts.generated.ts";
import * as locks from "../src/schemes/lua/scripts.generated.ts";

const root = new URL("../", import.meta.url);
const FOLDERS: Record<string, Record<string, { readonly source: string }>> = {
  "src/schemes/lua/scripts/": locks,
  "src/fence/scripts/": guards,
};

/** What a source says of itself, up to its first empty line. */
function headerOf(source: string): string {
  return source
    .split("\n\n", 1)
    .join("")
    .split("\n")
    .filter((line) => line !== "-- QUICK")
    .join("\n");
}

/** The files by their names. */
export function published(): Map<string, string> {
  const files = new Map<string, string>();
  for (const [folder, scripts] of Object.entries(FOLDERS)) {
    for (const file of readdirSync(new URL(folder, root))) {
      const script = scripts[file.replace(".lua", "")];
      if (!script) continue;
      const header = headerOf(readFileSync(new URL(folder + file, root), "utf8"));
      files.set(
        file,
        `${header}\n-- Generated from ${folder}${file}. Specified in docs/protocol.md.\n\n${script.source}\n`,
      );
    }
  }
  return files;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(new URL("lua", root), { recursive: true, force: true });
  mkdirSync(new URL("lua", root));
  for (const [name, text] of published()) writeFileSync(new URL(`lua/${name}`, root), text);
}
