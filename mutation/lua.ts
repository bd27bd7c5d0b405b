/** Mutants of the Lua scripts: one line changed, and what is generated from it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { compile, readSignature } from "../scripts/generate-lua.ts";
import { startServer } from "../scripts/servers.ts";
import type { Mutant } from "./mutant.ts";
import { ROOT } from "./typescript.ts";

const FOLDERS = ["schemes/lua", "schemes/redlock"];
const SHARED = ["head", "prelude", "tail"];

/** What is replaced in a line, outside of strings and comments. */
const REPLACEMENTS: readonly (readonly [what: string, pattern: RegExp, wrong: readonly string[]])[] = [
  ["equality", /==/g, ["~="]],
  ["equality", /~=/g, ["=="]],
  ["comparison", /<=/g, ["<", ">"]],
  ["comparison", />=/g, [">", "<"]],
  ["comparison", /<(?!=)/g, ["<=", ">="]],
  ["comparison", />(?!=)/g, [">=", "<="]],
  ["arithmetic", /(?<=\s)\+(?=\s)/g, ["-"]],
  ["arithmetic", /(?<=\s)-(?=\s)/g, ["+"]],
  ["arithmetic", /(?<=\s)\*(?=\s)/g, ["/"]],
  ["arithmetic", /(?<=\s)\/(?=\s)/g, ["*"]],
  ["logic", /\band\b/g, ["or"]],
  ["logic", /\bor\b/g, ["and"]],
  ["negation", /\bnot\s+/g, [""]],
  ["constant", /\btrue\b/g, ["false"]],
  ["constant", /\bfalse\b/g, ["true"]],
  ["function", /\bmin\b(?=\()/g, ["max"]],
  ["function", /\bmax\b(?=\()/g, ["min"]],
];
const NUMBER = /(?<![\w.'%])\d+(?![\w.'])/g;
const CONDITION = /\b(if|elseif|while)\s+(.+?)\s+(then|do)\b/;
/** A statement that can be left out: no declaration, and no part of a block's frame. */
const STATEMENT =
  /^(?!local\b|return\b|if\b|else|end\b|for\b|while\b|function\b|repeat\b|until\b|[})])[\w.[\]]+(\(.*\)|(, [\w.]+)* = .*[^{(,])$/;

interface Change {
  readonly what: string;
  readonly before: string;
  readonly after: string;
  readonly line: string;
}

/** All changes of a line. */
export function changesOf(line: string): Change[] {
  // Of the same length, so that places stay.
  const code = line.replace(/'[^']*'|--.*$/g, (text) => (text.startsWith("--") ? " " : "'").repeat(text.length));
  const changes: Change[] = [];
  const put = (what: string, at: number, before: string, after: string): void => {
    changes.push({ what, before, after, line: line.slice(0, at) + after + line.slice(at + before.length) });
  };
  for (const [what, pattern, wrong] of REPLACEMENTS) {
    for (const { index, 0: before } of code.matchAll(pattern))
      for (const after of wrong) put(what, index, before, after);
  }
  for (const { index, 0: before } of code.matchAll(NUMBER)) put("number", index, before, String(Number(before) + 1));
  const condition = CONDITION.exec(code);
  if (condition) {
    const [, keyword = "", inner = ""] = condition;
    const at = condition.index + condition[0].indexOf(inner, keyword.length);
    const before = line.slice(at, at + inner.length);
    put("condition", at, before, `not (${before})`);
    if (keyword !== "while") for (const after of ["true", "false"]) put("condition", at, before, after);
  }
  const statement = line.trim();
  if (STATEMENT.test(statement)) put("statement", line.indexOf(statement), statement, "");
  return changes;
}

/** Generates the scripts of a folder anew, with one file's text changed. */
function regenerated(texts: ReadonlyMap<string, string>): Record<string, string> {
  const [head = "", prelude = "", tail = ""] = SHARED.map((name) => texts.get(name));
  const scripts = [...texts].filter(([name]) => !SHARED.includes(name));
  // The signature is that of the body as it was: a change may have taken out the only use of an argument.
  return Object.fromEntries(
    scripts.map(([name, text]) => [name, compile(signatures.get(name)!, text, { head, prelude, tail })]),
  );
}

const signatures = new Map<string, ReturnType<typeof readSignature>>();

function mutantsOf(folder: string): Mutant[] {
  const path = join("src", folder, "scripts");
  const names = readdirSync(join(ROOT, path)).map((file) => file.replace(/\.lua$/, ""));
  const texts = new Map(names.map((name) => [name, readFileSync(join(ROOT, path, `${name}.lua`), "utf8")]));
  for (const [name, text] of texts) if (!SHARED.includes(name)) signatures.set(name, readSignature(name, text));
  const right = regenerated(texts);
  return [...texts].flatMap(([name, text]) => {
    const lines = text.split("\n");
    return lines.flatMap((line, i) => {
      if (/^\s*(--|$)/.test(line)) return [];
      return changesOf(line).map(({ what, before, after, line: changed }, n): Mutant => {
        const all = regenerated(new Map(texts).set(name, lines.with(i, changed).join("\n")));
        const scripts = Object.fromEntries(Object.entries(all).filter(([each, source]) => source !== right[each]));
        const file = `${path}/${name}.lua`;
        const id = `${folder}/${name}:${i + 1}:${n}`;
        return { id, area: "Lua", file, line: i + 1, what, before, after, scripts: { [folder]: scripts } };
      });
    });
  });
}

/** Those that a server takes for a script: others would be noticed at once, and show nothing about the tests. */
export async function mutateLua(): Promise<Mutant[]> {
  const mutants = FOLDERS.flatMap(mutantsOf);
  const server = await startServer();
  const redis = new Redis(server.url);
  try {
    const areValid = await Promise.all(
      mutants.map(async ({ scripts = {} }) => {
        const sources = Object.values(scripts).flatMap((some) => Object.values(some));
        const [source] = sources;
        return (
          source !== undefined &&
          (await redis.script("LOAD", source).then(
            () => true,
            () => false,
          ))
        );
      }),
    );
    return mutants.filter((_, i) => areValid[i]);
  } finally {
    redis.disconnect();
    await server.stop();
  }
}
