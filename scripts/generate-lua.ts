/**
 * Makes src/lua.generated.ts from src/lua/*.lua. A script's header is its signature:
 *
 *   -- What it does.
 *   -- KEYS each key of one item
 *   -- ARGV arguments of the call | arguments of each item
 *   -- RETURNS what one item is answered
 *
 * The unpacking of KEYS and ARGV is generated from it, on the Lua side and in the TypeScript types alike, so that the
 * two cannot disagree. The body (all of it, or what follows "-- STEP") sees `lock`, a table of the item's keys, and its
 * arguments by name. A section "-- QUICK" before it sees keys and arguments by name; it may set `reply`, and as long as
 * it does so for every item, the rest of the script is not even defined.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { CLAIM_WINDOW, STALE_AFTER } from "../src/schemes/memory.ts";

const folder = new URL("../src/lua/", import.meta.url);
const target = new URL("../src/lua.generated.ts", import.meta.url);

/** Arguments that only the shared part reads. */
const SHARED_BY_ALL = new Set(["publish", "channel"]);

interface Signature {
  readonly about: string;
  readonly keys: string[];
  readonly shared: string[];
  readonly item: string[];
  readonly returns: string;
}

/** @throws Error where the header is incomplete, or names what the body never reads. */
export function readSignature(name: string, source: string): Signature {
  const lines = source.split("\n").flatMap((line) => (line.startsWith("-- ") ? [line.slice(3)] : []));
  const field = (title: string): string => {
    const line = lines.find((each) => each.startsWith(`${title} `));
    if (line === undefined) throw new Error(`${name}.lua: expected a header line "-- ${title} …"`);
    return line.slice(title.length + 1).trim();
  };
  const list = (text: string): string[] => text.split(/\s*,\s*/).filter(Boolean);
  const [shared = "", item] = field("ARGV")
    .split("|")
    .map((part) => part.trim());
  if (item === undefined) throw new Error(`${name}.lua: expected "|" in the ARGV line`);
  const about = lines.slice(0, lines.indexOf(`KEYS ${field("KEYS")}`)).join(" ");
  const signature = {
    about,
    keys: list(field("KEYS")),
    shared: list(shared),
    item: list(item),
    returns: field("RETURNS"),
  };
  checkBody(name, bodyOf(source), signature);
  return signature;
}

function checkBody(name: string, body: string, { shared, item }: Signature): void {
  if (/\b(KEYS|ARGV)\b/.test(body)) throw new Error(`${name}.lua: name KEYS and ARGV in the header, not in the body`);
  for (const argument of [...shared, ...item]) {
    if (!SHARED_BY_ALL.has(argument) && !new RegExp(`\\b${argument}\\b`).test(body)) {
      throw new Error(`${name}.lua: the header names ${argument}, the body never reads it`);
    }
  }
}

function bodyOf(source: string): string {
  return source.split("\n\n").slice(1).join("\n\n");
}

/** A script's parts in their order: head, quick paths, prelude, steps. */
export function compile(signature: Signature, source: string, shared: { head: string; prelude: string }): string {
  const [first = "", second] = bodyOf(source).split(/^-- STEP.*$/m);
  const step = second ?? first;
  const quick = second === undefined ? undefined : first;
  return [
    "local publish, channel",
    ...signature.shared.map((name, i) => `${SHARED_BY_ALL.has(name) ? "" : "local "}${name} = ARGV[${i + 1}]`),
    shared.head,
    "local replies, done = {}, 0",
    quick ? quickLoop(signature, quick) : "",
    `local CLAIM, STALE = ${CLAIM_WINDOW}, ${STALE_AFTER}`,
    shared.prelude,
    stepLoop(signature, step),
    "return replies",
  ]
    .join("\n")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("--"))
    .join("\n");
}

/** Answers items from the first on for as long as the quick path knows the answer; an order of requests is kept. */
function quickLoop(signature: Signature, quick: string): string {
  const names = [...signature.keys, ...signature.item].filter((name) => new RegExp(`\\b${name}\\b`).test(quick));
  return `
local function quick(${names.join(", ")})
local reply
${quick}
return reply
end
while done < #KEYS / ${signature.keys.length} do
${base(signature)}
local ok, reply = pcall(quick, ${names.map((name) => place(signature, name)).join(", ")})
if not ok or reply == nil then break end
done = done + 1
replies[done] = reply
end
if done == #KEYS / ${signature.keys.length} then return replies end`;
}

function stepLoop(signature: Signature, step: string): string {
  const lock = signature.keys.map((name) => `${name} = ${place(signature, name)}`).join(", ");
  return `
local function step(${["lock", ...signature.item].join(", ")})
${step}
end
while done < #KEYS / ${signature.keys.length} do
${base(signature)}
local lock = { ${lock} }
local ok, reply = pcall(${["step", "lock", ...signature.item.map((name) => place(signature, name))].join(", ")})
done = done + 1
replies[done] = ok and reply or { 'ERR', type(reply) == 'table' and reply.err or tostring(reply) }
end`;
}

function base({ keys, shared, item }: Signature): string {
  return `local k, a = done * ${keys.length}, ${shared.length} + done * ${item.length}`;
}

function place({ keys, item }: Signature, name: string): string {
  return keys.includes(name) ? `KEYS[k + ${keys.indexOf(name) + 1}]` : `ARGV[a + ${item.indexOf(name) + 1}]`;
}

function declaration(name: string, source: string, shared: { head: string; prelude: string }): string {
  const signature = readSignature(name, source);
  const lua = compile(signature, source, shared);
  const tuple = (fields: string[]): string => `[${fields.map((field) => `${field}: string`).join(", ")}]`;
  return `/** ${signature.about} Answers each item with ${signature.returns}. */
export const ${name}: Script<${tuple(signature.keys)}, ${tuple(signature.shared)}, ${tuple(signature.item)}> = {
  name: ${JSON.stringify(name)},
  sha: ${JSON.stringify(createHash("sha1").update(lua).digest("hex"))},
  source: ${JSON.stringify(lua)},
};`;
}

async function generate(): Promise<void> {
  const read = (name: string): string => readFileSync(new URL(`${name}.lua`, folder), "utf8");
  const shared = { head: read("head"), prelude: read("prelude") };
  const names = readdirSync(folder)
    .map((file) => file.replace(/\.lua$/, ""))
    .filter((name) => !(name in shared))
    .sort();
  const module = `// Generated from src/lua by scripts/generate-lua.ts. Do not edit.
import type { Script } from "./driver.ts";

${names.map((name) => declaration(name, read(name), shared)).join("\n\n")}
`;
  writeFileSync(target, await format(module, { parser: "typescript", printWidth: 120 }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await generate();
