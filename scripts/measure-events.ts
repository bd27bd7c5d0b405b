/**
 * What the events cost: pairs of acquire and release in memory, by turns with the library as it is, with listeners, and
 * with a copy in which every event is an empty function.
 */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { subscribe, tracingChannel, unsubscribe } from "node:diagnostics_channel";
import { fileURLToPath } from "node:url";

const ROUNDS = 60;
const PAIRS = 5_000;
const root = fileURLToPath(new URL("..", import.meta.url));
const [plain, bare] = [`${root}.cache/with-events`, `${root}.cache/without-events`];

interface Locks {
  acquire(name: string): Promise<{ release(): Promise<boolean> }>;
  close(): Promise<void>;
}
type Package = { readonly LockManager: new () => Locks };

/** The library, module by module, and a copy of it without events. */
function compile(): void {
  for (const folder of [plain, bare]) rmSync(folder, { recursive: true, force: true });
  execFileSync(
    "npx",
    [
      "tsc",
      "-p",
      "tsconfig.build.json",
      "--outDir",
      plain,
      "--declaration",
      "false",
      "--isolatedDeclarations",
      "false",
    ],
    {
      cwd: root,
      stdio: "inherit",
    },
  );
  cpSync(`${root}package.json`, `${plain}/package.json`);
  cpSync(plain, bare, { recursive: true });
  const path = `${bare}/events.js`;
  const source = readFileSync(path, "utf8");
  const names = [...source.matchAll(/^ {4}(\w+)\(.*\) \{$/gm)].map(([, name]) => name);
  const patched = source
    .replace("export const events = {", "const heard = {")
    .replace("export function isHeard() {", "export function isHeard() {\n    return false;");
  const empty = names.map((name) => `${name}() {}`).join(", ");
  writeFileSync(path, `${patched}\nexport const events = { isQueueHeard: false, ${empty} };\n`);
  const traces = `${bare}/request-trace.js`;
  const isTraced = "export function isTraced() {";
  writeFileSync(traces, readFileSync(traces, "utf8").replace(isTraced, `${isTraced}\n    return false;`));
}

async function time(locks: Locks): Promise<number> {
  const begin = performance.now();
  for (let i = 0; i < PAIRS; i++) await (await locks.acquire("lock")).release();
  return ((performance.now() - begin) * 1_000) / PAIRS;
}

const nothing = (): void => {};
const heard = ["queued", "granted", "renewed", "released", "lost"].map((kind) => `holdfast:${kind}`);
const listeners = { start: nothing, end: nothing, asyncStart: nothing, asyncEnd: nothing, error: nothing };

async function timeHeard(locks: Locks): Promise<number> {
  for (const name of heard) subscribe(name, nothing);
  const microseconds = await time(locks);
  for (const name of heard) unsubscribe(name, nothing);
  return microseconds;
}

async function timeTraced(locks: Locks): Promise<number> {
  tracingChannel("holdfast:request").subscribe(listeners);
  const microseconds = await time(locks);
  tracingChannel("holdfast:request").unsubscribe(listeners);
  return microseconds;
}

compile();
const whole = (await import(`${plain}/index.js`)) as Package;
const without = (await import(`${bare}/index.js`)) as Package;
const [locks, others] = [new whole.LockManager(), new without.LockManager()];
const kinds: [string, () => Promise<number>][] = [
  ["without events", () => time(others)],
  ["nobody listens", () => time(locks)],
  ["five events are heard", () => timeHeard(locks)],
  ["requests are traced", () => timeTraced(locks)],
];
const times = new Map(kinds.map(([kind]) => [kind, [] as number[]]));
for (let round = -5; round < ROUNDS; round++) {
  // Each begins as often as the others.
  const shift = (round + kinds.length * 2) % kinds.length;
  for (const [kind, run] of [...kinds.slice(shift), ...kinds.slice(0, shift)]) {
    const microseconds = await run();
    if (round >= 0) times.get(kind)?.push(microseconds);
  }
}
for (const [kind, all] of times) {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (part: number): string => (sorted[Math.floor(part * (sorted.length - 1))] as number).toFixed(3);
  console.log(`${kind.padEnd(22)} median ${at(0.5)} µs a pair (quartiles ${at(0.25)} to ${at(0.75)})`);
}
await Promise.all([locks.close(), others.close()]);
for (const folder of [plain, bare]) rmSync(folder, { recursive: true, force: true });
