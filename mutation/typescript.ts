/** Mutants of the TypeScript code, made by Stryker: all of them are in the code at once, and one is active at a time. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Mutant } from "./mutant.ts";

export const ROOT: string = fileURLToPath(new URL("..", import.meta.url));
export const CACHE: string = join(ROOT, ".cache/mutation");
const INSTRUMENTED = join(CACHE, "instrumented");

const FOLDERS = ["src/waiting", "src/leases", "src/schemes"];

/** In node_modules of this folder, which is installed when it is used: not a name that types are looked up for. */
const STRYKER: string = "@stryker-mutator/instrumenter";

/** What is used of it. */
interface Stryker {
  Instrumenter: new (logger: object) => {
    instrument(files: readonly SourceFile[], options: object): Promise<Instrumented>;
  };
}

interface SourceFile {
  readonly name: string;
  readonly mutate: boolean;
  readonly content: string;
}

interface Instrumented {
  readonly files: readonly SourceFile[];
  readonly mutants: readonly {
    readonly id: string;
    readonly fileName: string;
    readonly location: Location;
    readonly mutatorName: string;
    readonly replacement: string;
    /** "Ignored". */
    readonly status?: string;
  }[];
}

/** Where the instrumented text of a module is, if it has one. */
export function instrumentedPath(id: string): string | undefined {
  const path = join(INSTRUMENTED, relative(ROOT, id.split("?")[0] ?? id));
  return path.startsWith(INSTRUMENTED) && existsSync(path) ? path : undefined;
}

/** Writes the instrumented modules. */
export async function mutateTypeScript(): Promise<Mutant[]> {
  const { Instrumenter } = (await import(STRYKER)) as Stryker;
  const names = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".generated.ts"))
      .map((name) => join(folder, name))
      .sort(),
  );
  const files = names.map((name) => ({ name, mutate: true, content: readFileSync(join(ROOT, name), "utf8") }));
  const options = { plugins: null, ignorers: [errorTexts], excludedMutations: [], noHeader: false };
  const silent = { isDebugEnabled: () => false, debug() {}, info() {} };
  const result = await new Instrumenter(silent).instrument(files, options);
  rmSync(INSTRUMENTED, { recursive: true, force: true });
  for (const { name, content } of result.files) {
    const path = join(INSTRUMENTED, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  const text = new Map(files.map(({ name, content }) => [name, content.split("\n")]));
  return result.mutants
    .filter(({ status }) => status === undefined)
    .map(({ id, fileName, location, mutatorName, replacement }) => ({
      id,
      area: areaOf(fileName),
      file: fileName,
      line: location.start.line + 1,
      what: mutatorName,
      before: excerpt(text.get(fileName) ?? [], location),
      after: shortened(replacement),
    }));
}

interface Location {
  readonly start: { readonly line: number; readonly column: number };
  readonly end: { readonly line: number; readonly column: number };
}

const areaOf = (file: string): string => FOLDERS.find((folder) => file.startsWith(folder)) ?? file;

function excerpt(lines: readonly string[], { start, end }: Location): string {
  const some = lines.slice(start.line, end.line + 1);
  some[some.length - 1] = some.at(-1)!.slice(0, end.column);
  some[0] = some[0]!.slice(start.column);
  return shortened(some.join(" "));
}

function shortened(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > 120 ? `${line.slice(0, 117)}…` : line;
}

/** The wording of errors is not what these tests are about: what is given to the constructor of one is left as it is. */
const errorTexts = {
  shouldIgnore({ node }: { readonly node: { readonly type: string; readonly callee?: { readonly name?: string } } }) {
    return node.type === "NewExpression" && node.callee?.name?.endsWith("Error") ? "the text of an error" : undefined;
  },
};
