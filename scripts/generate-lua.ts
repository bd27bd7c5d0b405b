/**
 * Makes a `scripts.generated.ts` beside each folder `scripts` of Lua. A script's header is its signature:
 *
 *   -- What it does.
 *   -- KEYS keys of the call | keys of each item
 *   -- ARGV arguments of the call | arguments of each item
 *   -- RETURNS what one item is answered
 *
 * The unpacking of KEYS and ARGV is generated from it, on the Lua side and in the TypeScript types alike, so that the
 * two cannot disagree. The body sees `lock`, a table of the item's keys, its arguments by name, and all of prelude.lua.
 * A script that ends its header with "-- QUICK" does without those: it works on the whole batch by itself, where
 * `name[i]` is what item i of `count` has of that name, and sets `replies[i]`. If it sets `rest`, what follows a line
 * "-- REST" is done for the items that have no reply yet, with all that other scripts have; else that costs nothing.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { CLAIM_WINDOW, STALE_AFTER } from "../src/schemes/scheme.ts";

/** Where scripts are: beside what sends them. */
export const FOLDERS = ["schemes/lua", "schemes/redlock", "fence"] as const;
const root = new URL("../src/", import.meta.url);
/** What scripts of a folder share that are not QUICK, if it is there. */
const SHARED = ["head", "prelude", "tail"];

/** Keys and arguments that only the shared part reads. */
const SHARED_BY_ALL = ["counter", "publish", "channel", "node", "mark"];

/** What stands left of "|" comes once in a call, what stands right of it with each item. */
interface Names {
  readonly call: string[];
  readonly item: string[];
}

interface Signature {
  readonly about: string;
  readonly keys: Names;
  readonly args: Names;
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
  const names = (title: string): Names => {
    const [call = "", item] = field(title).split("|");
    if (item === undefined) throw new Error(`${name}.lua: expected "|" in the ${title} line`);
    const list = (text: string): string[] =>
      text
        .split(",")
        .map((each) => each.trim())
        .filter(Boolean);
    return { call: list(call), item: list(item) };
  };
  const about = lines.slice(0, lines.indexOf(`KEYS ${field("KEYS")}`)).join(" ");
  const signature = { about, keys: names("KEYS"), args: names("ARGV"), returns: field("RETURNS") };
  checkBody(name, bodyOf(source), signature);
  return signature;
}

function checkBody(name: string, body: string, { args }: Signature): void {
  if (/\b(KEYS|ARGV)\[/.test(body)) throw new Error(`${name}.lua: name KEYS and ARGV in the header, not in the body`);
  for (const argument of [...args.call, ...args.item]) {
    if (!SHARED_BY_ALL.includes(argument) && !new RegExp(`\\b${argument}\\b`).test(body)) {
      throw new Error(`${name}.lua: the header names ${argument}, the body never reads it`);
    }
  }
}

function bodyOf(source: string): string {
  return source.split("\n\n").slice(1).join("\n\n");
}

/** What scripts of a folder have before their steps, and behind them. */
interface Shared {
  readonly head: string;
  readonly prelude: string;
  readonly tail: string;
}

/** A whole script. What it does not need is left out, for a server defines it anew in each call. */
export function compile(signature: Signature, source: string, shared: Shared): string {
  const { keys, args } = signature;
  const body = bodyOf(source);
  const isQuick = /^-- QUICK$/m.test(source);
  const [quick = "", rest] = isQuick ? body.split(/^-- REST$/m) : ["", body];
  const full = [
    shared.head,
    `local CLAIM, STALE = ${CLAIM_WINDOW}, ${STALE_AFTER}`,
    shared.prelude,
    stepLoop(signature, rest ?? "", isQuick),
    shared.tail,
  ];
  const slow = isQuick ? ["if rest then", ...full, "end"] : full;
  const isBrief = rest === undefined;
  const common = SHARED_BY_ALL.filter((name) => new RegExp(`\\b${name}\\b`).test(Object.values(shared).join("\n")));
  const locals = isBrief
    ? ["local call, pcall_redis, replies = redis.call, redis.pcall, {}"]
    : ["local call, pcall_redis, replies, done = redis.call, redis.pcall, {}, 0", `local ${common.join(", ")}`];
  const declare = (name: string): string => (isBrief || !common.includes(name) ? "local " : "") + name;
  return [
    ...locals,
    ...keys.call.map((name, i) => `${declare(name)} = KEYS[${i + 1}]`),
    ...args.call.map((name, i) => `${declare(name)} = ARGV[${i + 1}]`),
    `local count = (#KEYS - ${keys.call.length}) / ${keys.item.length}`,
    ...(isQuick ? ["local format = string.format", isBrief ? "" : "local rest", inPlace(signature, quick)] : []),
    ...(isBrief ? [] : slow),
    "return replies",
  ]
    .join("\n")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("--"))
    .join("\n");
}

/** `name[i]` in the body is what item i has of that name. */
function inPlace({ keys, args }: Signature, body: string): string {
  const names = [...keys.item, ...args.item].join("|");
  return body.replace(new RegExp(`\\b(${names})\\[i\\]`, "g"), (_, name: string) => {
    const [list, { call, item }] = keys.item.includes(name) ? (["KEYS", keys] as const) : (["ARGV", args] as const);
    const offset = call.length + item.indexOf(name) + 1 - item.length;
    const steps = item.length === 1 ? "i" : `${item.length} * i`;
    return `${list}[${steps}${offset === 0 ? "" : ` ${offset < 0 ? "-" : "+"} ${Math.abs(offset)}`}]`;
  });
}

/** @param isRest some items have their replies already */
function stepLoop(signature: Signature, step: string, isRest: boolean): string {
  const { keys, args } = signature;
  const lock = keys.item.map((name) => `${name} = ${place(signature, name)}`).join(", ");
  const attempt = `pcall(${["step", "lock", ...args.item.map((name) => place(signature, name))].join(", ")})`;
  return `
local function step(${["lock", ...args.item].join(", ")})
${step}
end
while done < count do
${base(signature)}
local lock = { ${lock} }
local ok, reply = ${isRest ? "true, replies[done + 1]" : attempt}
${isRest ? `if not reply then ok, reply = ${attempt} end` : ""}
done = done + 1
replies[done] = ok and reply or { 'ERR', type(reply) == 'table' and reply.err or tostring(reply) }
end`;
}

function base({ keys, args }: Signature): string {
  const offset = ({ call, item }: Names): string => `${call.length} + done * ${item.length}`;
  return `local k, a = ${offset(keys)}, ${offset(args)}`;
}

function place({ keys, args }: Signature, name: string): string {
  const key = keys.item.indexOf(name);
  return key >= 0 ? `KEYS[k + ${key + 1}]` : `ARGV[a + ${args.item.indexOf(name) + 1}]`;
}

function declaration(name: string, source: string, shared: Shared): string {
  const signature = readSignature(name, source);
  const lua = compile(signature, source, shared);
  const tuple = (fields: string[]): string => `[${fields.map((field) => `${field}: string`).join(", ")}]`;
  const shape = ({ call, item }: Names): string => `{ call: ${tuple(call)}; item: ${tuple(item)} }`;
  return `/** ${signature.about} Answers each item with ${signature.returns}. */
export const ${name}: Script<${shape(signature.keys)}, ${shape(signature.args)}> = {
  name: ${JSON.stringify(name)},
  sha: ${JSON.stringify(createHash("sha1").update(lua).digest("hex"))},
  source: ${JSON.stringify(lua)},
};`;
}

async function generate(folder: (typeof FOLDERS)[number]): Promise<void> {
  const read = (name: string): string => readFileSync(new URL(`${folder}/scripts/${name}.lua`, root), "utf8");
  const all = readdirSync(new URL(`${folder}/scripts/`, root)).map((file) => file.replace(/\.lua$/, ""));
  const [head = "", prelude = "", tail = ""] = SHARED.map((name) => (all.includes(name) ? read(name) : ""));
  const shared = { head, prelude, tail };
  const names = all.filter((name) => !SHARED.includes(name)).sort();
  const driver = `${"../".repeat(folder.split("/").length)}drivers/driver.ts`;
  const module = `// Generated from ./scripts by scripts/generate-lua.ts. Do not edit.
import type { Script } from "${driver}";

${names.map((name) => declaration(name, read(name), shared)).join("\n\n")}
`;
  const target = new URL(`${folder}/scripts.generated.ts`, root);
  writeFileSync(target, await format(module, { parser: "typescript", printWidth: 120 }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) for (const folder of FOLDERS) await generate(folder);
