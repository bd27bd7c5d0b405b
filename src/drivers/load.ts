/** Client libraries are optional, and are loaded when they are needed. */
import { builtin } from "../runtime.ts";
import { here } from "./here.ts";

/** Under another name, because bundlers read calls of createRequire, and complain of what they cannot know. */
const { createRequire: requireFrom } = builtin("node:module") ?? {};
const paths = builtin("node:path");

/** Whether this runtime can load libraries at all. */
export const mayLoad: boolean = requireFrom !== undefined;

/**
 * Load a library that is installed beside holdfast, or beside the program that uses it.
 *
 * @returns undefined if it is not installed
 * @throws whatever the library throws while it loads
 */
export function loadLibrary(name: string): unknown {
  if (!requireFrom) return undefined;
  for (const place of places()) {
    const require = requireFrom(place);
    let file: string;
    try {
      file = require.resolve(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") continue;
      throw error;
    }
    return require(file);
  }
  return undefined;
}

/**
 * Files to look from. The folder that a program was started in counts only if it has no file of its own (a REPL, -e):
 * otherwise anybody could have put something there.
 */
function places(): string[] {
  if (!paths) return [];
  const [, script = ""] = process.argv;
  const program = paths.isAbsolute(script) ? script : paths.join(process.cwd(), "holdfast");
  return here === undefined ? [program] : [here, program];
}
