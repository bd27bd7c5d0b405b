import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Contender } from "../contenders/index.ts";
import { benchFolder, holdfastEntry, packageFolder } from "../lib/folders.ts";
import type { Scenario, Stage } from "../lib/scenario.ts";

const run = promisify(execFile);

export const importing: Scenario = {
  name: "import",
  asks: "The library alone, without its client (floors: the client alone): a cold import in a fresh process",
  rounds: { full: 5, quick: 2 },
  columns: [
    { key: "ms", title: "import ms", better: "less", brief: true },
    { key: "modules", title: "modules", better: "less", brief: true },
    { key: "packages", title: "packages installed", better: "less", brief: true },
    { key: "size", title: "installed kB", better: "less", brief: true },
  ],
  figures: [],
  takes: ({ id }) => id !== "holdfast-node-redis",
  measure,
  roles: {},
};

async function measure({ contender }: Stage) {
  const library = contender.packages[0]!;
  const target = library === "holdfast" ? holdfastEntry : library;
  const installed = await installedWith(library);
  const sizes = await Promise.all([...installed].map(sizeOf));
  return {
    values: {
      ms: await timeOfImport(target),
      modules: await modulesLoaded(target),
      packages: installed.size,
      size: sizes.reduce((total, size) => total + size, 0) / 1_000,
    },
  };
}

async function timeOfImport(target: string): Promise<number> {
  const script = `const start = performance.now(); await import(${JSON.stringify(target)});
    console.log(performance.now() - start); process.exit();`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: benchFolder });
  return Number(stdout);
}

/** V8's coverage report names every file that was run, whether imported or required. */
async function modulesLoaded(target: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-bench-"));
  const script = `await import(${JSON.stringify(target)}); process.exit();`;
  const env = { ...process.env, NODE_V8_COVERAGE: folder };
  await run(process.execPath, ["--input-type=module", "-e", script], { cwd: benchFolder, env });
  const urls = new Set<string>();
  for (const file of await readdir(folder)) {
    const { result } = JSON.parse(await readFile(join(folder, file), "utf8")) as { result: { url: string }[] };
    for (const { url } of result) if (url.startsWith("file:") && !url.includes("[eval")) urls.add(url);
  }
  await rm(folder, { recursive: true });
  return urls.size;
}

/** Folders of a package and of everything it depends on, peers and optional ones left out. */
async function installedWith(name: Contender["packages"][number]): Promise<Set<string>> {
  const folders = new Set<string>();
  async function visit(folder: string): Promise<void> {
    if (folders.has(folder)) return;
    folders.add(folder);
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as {
      dependencies?: Record<string, string>;
    };
    for (const dependency of Object.keys(manifest.dependencies ?? {})) await visit(packageFolder(dependency, folder));
  }
  await visit(packageFolder(name));
  return folders;
}

/** Of a checkout, what would be published; of an installed package, everything but the packages beneath it. */
async function sizeOf(folder: string): Promise<number> {
  const isCheckout = folder === packageFolder("holdfast");
  const published = isCheckout
    ? ["package.json", "README.md", "LICENSE", "CHANGELOG.md", "dist"]
    : await readdir(folder);
  let bytes = 0;
  for (const entry of published) if (entry !== "node_modules") bytes += await bytesOf(join(folder, entry));
  return bytes;
}

async function bytesOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return 0;
  if (!found.isDirectory()) return found.size;
  let bytes = 0;
  for (const entry of await readdir(path)) bytes += await bytesOf(join(path, entry));
  return bytes;
}
