/**
 * Makes src/lua.generated.ts from src/lua/*.lua. A script's header is its signature:
 *
 *   -- What it does.
 *   -- KEYS each key of one item
 *   -- ARGV arguments of the call | arguments of each item
 *   -- RETURNS what one item is answered
 *
 * The unpacking of KEYS and ARGV is generated from it, on the Lua side and in the TypeScript types alike, so that the
 * two cannot disagree. The body sees `lock` (a table of the item's keys) and its arguments by name.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { format } from "prettier";

const folder = new URL("../src/lua/", import.meta.url);
const target = new URL("../src/lua.generated.ts", import.meta.url);

interface Signature {
  readonly about: string;
  readonly keys: string[];
  readonly shared: string[];
  readonly item: string[];
  readonly returns: string;
}

function readSignature(name: string, source: string): Signature {
  const lines = source.split("\n").flatMap((line) => (line.startsWith("-- ") ? [line.slice(3)] : []));
  const about = lines.slice(
    0,
    lines.findIndex((line) => line.startsWith("KEYS ")),
  );
  const field = (title: string): string => {
    const line = lines.find((each) => each.startsWith(`${title} `));
    if (line === undefined) throw new Error(`${name}.lua: expected a header line "-- ${title} …"`);
    return line.slice(title.length + 1).trim();
  };
  const list = (text: string): string[] =>
    text
      .split(",")
      .map((each) => each.trim())
      .filter(Boolean);
  const [shared = "", item] = field("ARGV").split("|");
  if (item === undefined) throw new Error(`${name}.lua: expected "|" in the ARGV line`);
  const body = source.split("\n\n").slice(1).join("\n\n");
  if (/\b(KEYS|ARGV)\b/.test(body)) throw new Error(`${name}.lua: name KEYS and ARGV in the header, not in the body`);
  for (const argument of [...list(shared), ...list(item)]) {
    if (!["publish", "channel"].includes(argument) && !new RegExp(`\\b${argument}\\b`).test(body)) {
      throw new Error(`${name}.lua: the header names ${argument}, the body never reads it`);
    }
  }
  return {
    about: about.join(" "),
    keys: list(field("KEYS")),
    shared: list(shared),
    item: list(item),
    returns: field("RETURNS"),
  };
}

function compile(signature: Signature, prelude: string, body: string): string {
  const { keys, shared, item } = signature;
  const lua = [
    "local publish, channel",
    ...shared.map((each, i) => `${["publish", "channel"].includes(each) ? "" : "local "}${each} = ARGV[${i + 1}]`),
    prelude,
    `local function step(${["lock", ...item].join(", ")})`,
    body,
    "end",
    "local replies = {}",
    `for i = 0, #KEYS / ${keys.length} - 1 do`,
    `local k, a = i * ${keys.length}, ${shared.length} + i * ${item.length}`,
    `local lock = { ${keys.map((each, i) => `${each} = KEYS[k + ${i + 1}]`).join(", ")} }`,
    `local ok, reply = pcall(${["step", "lock", ...item.map((_, i) => `ARGV[a + ${i + 1}]`)].join(", ")})`,
    "replies[i + 1] = ok and reply or { 'ERR', type(reply) == 'table' and reply.err or tostring(reply) }",
    "end",
    "return replies",
  ].join("\n");
  return lua
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("--"))
    .join("\n");
}

const prelude = readFileSync(new URL("prelude.lua", folder), "utf8");
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".lua") && file !== "prelude.lua")
  .map((file) => file.slice(0, -4))
  .sort();

const parts = names.map((name) => {
  const source = readFileSync(new URL(`${name}.lua`, folder), "utf8");
  const signature = readSignature(name, source);
  const lua = compile(signature, prelude, source);
  const tuple = (fields: string[]): string => `[${fields.map((field) => `${field}: string`).join(", ")}]`;
  return `/** ${signature.about} Answers each item with ${signature.returns}. */
export const ${name}: Script<${tuple(signature.keys)}, ${tuple(signature.shared)}, ${tuple(signature.item)}> = {
  name: ${JSON.stringify(name)},
  sha: ${JSON.stringify(createHash("sha1").update(lua).digest("hex"))},
  source: ${JSON.stringify(lua)},
};`;
});

const module = `// Generated from src/lua by scripts/generate-lua.ts. Do not edit.
import type { Script } from "./driver.ts";

${parts.join("\n\n")}
`;
writeFileSync(target, await format(module, { parser: "typescript", printWidth: 120 }));
