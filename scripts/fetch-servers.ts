/**
 * Fetches Redis and Valkey servers of several versions from Debian's packages, side by side and without changing the
 * machine: `tsx scripts/fetch-servers.ts [--refresh] [NAME…]`. They go to `~/.cache/holdfast/servers/NAME`, where
 * what is there already stays. Which version a suite has is Debian's affair: suites such as sid move, `--refresh`
 * follows. Needs Linux with apt-get and dpkg, configured for Debian; nothing is installed and root is not needed.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import type { ServerVersion } from "./servers.ts";
import { readVersion } from "./servers.ts";

const run = promisify(execFile);

const commandTimeoutMs = 3 * 60_000;
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

interface Source {
  readonly product: "redis" | "valkey";
  /** Debian's suites: the server is from the last that has one, the libraries are from the first. */
  readonly suites: readonly string[];
}

/** By name: product and suite. The oldest first. */
const SOURCES: Readonly<Record<string, Source>> = {
  "redis-bullseye": { product: "redis", suites: ["bullseye"] },
  "redis-bookworm": { product: "redis", suites: ["bookworm"] },
  "redis-trixie": { product: "redis", suites: ["trixie"] },
  "redis-experimental": { product: "redis", suites: ["sid", "experimental"] },
  "valkey-backports": { product: "valkey", suites: ["bookworm", "bookworm-backports"] },
  "valkey-trixie": { product: "valkey", suites: ["trixie"] },
  "valkey-sid": { product: "valkey", suites: ["sid"] },
};

export const serverNames: readonly string[] = Object.keys(SOURCES);

/** A server that can be started, or why there is none. */
export type Fetched = FetchedServer | { readonly name: string; readonly binary?: undefined; readonly failure: unknown };

interface FetchedServer extends ServerVersion {
  readonly name: string;
  readonly binary: string;
}

/** One after the other. Those that fail are among the results. @throws for a name that is not in `serverNames`. */
export async function fetchServers(names: readonly string[], options: { refresh?: boolean } = {}): Promise<Fetched[]> {
  const wanted = names.map((name) => {
    const source = SOURCES[name];
    if (!source) throw new Error(`Expected names of servers (${serverNames.join(", ")}), got ${name}`);
    return { name, source };
  });
  const fetched: Fetched[] = [];
  for (const { name, source } of wanted) {
    try {
      const binary = join(cacheFolder(), name, "server");
      const known = options.refresh ? undefined : await readVersion(binary).catch(() => undefined);
      if (!known) await fetchServer(name, source);
      fetched.push({ name, binary, ...(known ?? (await readVersion(binary))) });
    } catch (failure) {
      fetched.push({ name, failure });
    }
  }
  return fetched;
}

/** One line for each server. */
export function describeServers(servers: readonly Fetched[]): string {
  const rows = servers.map((server) =>
    server.binary !== undefined
      ? [server.name, `${server.product} ${server.version}`, server.binary]
      : [server.name, "failed", `could not be fetched: ${reasonOf(server.failure)}`],
  );
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows.map((row) => row.map((cell, i) => (i < 2 ? cell.padEnd(width(i)) : cell)).join("  ")).join("\n");
}

function cacheFolder(): string {
  return resolve(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "holdfast", "servers");
}

/** Into a folder of its own first, so that what stands under the name is whole. */
async function fetchServer(name: string, source: Source): Promise<void> {
  const cache = cacheFolder();
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, `.${name}-`));
  try {
    const [fresh, final] = [join(work, "server"), join(cache, name)];
    for (const deb of await download(join(work, "apt"), source)) await command("dpkg", ["-x", deb, fresh]);
    await rm(join(fresh, "usr", "share"), { recursive: true, force: true }); // documentation, mostly
    await writeFile(join(fresh, "server"), await launcher(fresh, final, source), { mode: 0o755 });
    await rm(final, { recursive: true, force: true });
    await rename(fresh, final);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The packages that the server needs to run, from an apt of our own: neither its lists nor its state are the machine's. */
async function download(apt: string, { product, suites }: Source): Promise<string[]> {
  const [lists, archives, debs] = [join(apt, "lists"), join(apt, "archives"), join(apt, "debs")];
  for (const folder of [join(lists, "partial"), join(archives, "partial"), debs]) {
    await mkdir(folder, { recursive: true });
  }
  const mirror = await debianMirror();
  const trust = existsSync(keyring) ? `[signed-by=${keyring}] ` : "";
  const config = join(apt, "apt.conf");
  // Backports and experimental are not used unless preferred. The one is a code name, the other the name of an archive.
  const preferred = ["n", "a"].map((kind) => `release ${kind}=${suites.at(-1) ?? ""}`);
  const files = {
    "sources.list": suites.map((suite) => `deb ${trust}${mirror} ${suite} main\n`).join(""),
    preferences: preferred.map((pin) => `Package: ${product}-*\nPin: ${pin}\nPin-Priority: 990\n`).join("\n"),
    status: "",
    "apt.conf": `
      Dir::Etc::sourcelist "${join(apt, "sources.list")}";
      Dir::Etc::sourceparts "/dev/null";
      Dir::Etc::preferences "${join(apt, "preferences")}";
      Dir::Etc::preferencesparts "/dev/null";
      Dir::State "${apt}";
      Dir::State::status "${join(apt, "status")}";
      Dir::Cache "${apt}";
      Acquire::Languages "none";
      APT::Sandbox::User "root";
      APT::Update::Error-Mode "any";
    `,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(apt, name), text);
  const env = { APT_CONFIG: config };
  await command("apt-get", ["update", "-qq"], { env });
  const packages = [`${product}-server`, `${product}-tools`, ...(await libraries(`${product}-tools`, env))];
  await command("apt-get", ["download", "-qq", ...packages], { env, cwd: debs });
  return (await readdir(debs)).map((deb) => join(debs, deb));
}

/** The mirror that the machine's own apt uses: it knows all ways to write it down, and where it is behind a proxy. */
async function debianMirror(): Promise<string> {
  const listed = await command("apt-get", ["update", "--print-uris"]);
  const archives = [...listed.matchAll(/^'(\S+\/debian)\/+dists\/([^/\s]+)\/InRelease'/gm)];
  // Other archives may be called debian too, but have no such suite.
  const [, mirror] = archives.find(([, , suite = ""]) => suite.endsWith("-updates")) ?? archives[0] ?? [];
  if (mirror === undefined) {
    throw new Error("Expected a Debian mirror (a URI that ends in /debian) in the sources in /etc/apt, found none.");
  }
  return mirror;
}

/** All libraries that a package needs, and those that they need. Nothing else of what it depends on is run. */
async function libraries(name: string, env: Record<string, string>): Promise<string[]> {
  const ignored = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  const found = new Set<string>();
  for (let next = [name]; next.length > 0;) {
    const needed = await command("apt-cache", ["depends", ...ignored, ...next], { env });
    const names = [...needed.matchAll(/^[ |]+(?:Pre)?Depends: ((?:lib|lua)\S*)$/gm)].map(([, library = ""]) => library);
    next = [...new Set(names)].filter((library) => !found.has(library));
    for (const library of next) found.add(library);
  }
  return [...found];
}

/** Runs the binary with its own suite's loader and libraries, as the machine's may be older. `exec` keeps the pid. */
async function launcher(fresh: string, final: string, { product }: Source): Promise<string> {
  for (const folder of ["usr/lib", "lib"]) {
    for (const triplet of await readdir(join(fresh, folder)).catch(() => [])) {
      if (!triplet.includes("-linux-")) continue;
      const loader = (await readdir(join(fresh, folder, triplet))).find((file) => /^ld-linux.*\.so\.\d+$/.test(file));
      if (loader === undefined) continue;
      const path = ["usr/lib", "lib"].map((each) => join(final, each, triplet)).join(":");
      const words = [join(final, folder, triplet, loader), "--library-path", path];
      const quoted = [...words, join(final, "usr/bin", `${product}-server`)].map(
        (word) => `'${word.replaceAll("'", String.raw`'\''`)}'`,
      );
      return `#!/bin/sh\nexec ${quoted.join(" ")} "$@"\n`;
    }
  }
  throw new Error("Expected a loader (ld-linux…so) in the packages, found none.");
}

async function command(
  file: string,
  args: string[],
  { env = {}, cwd }: { env?: Record<string, string>; cwd?: string } = {},
): Promise<string> {
  const options = { env: { ...process.env, ...env, LC_ALL: "C" }, maxBuffer: 2 ** 26, timeout: commandTimeoutMs };
  const { stdout } = await run(file, args, cwd === undefined ? options : { ...options, cwd });
  return stdout;
}

/** What the program that failed said last; what was thrown, where none did. */
function reasonOf(failure: unknown): string {
  const { stderr, message } = failure as { stderr?: string; message?: string };
  const errors = (stderr ?? "").split("\n").filter((line) => line.startsWith("E: "));
  return errors.join(" ") || stderr?.trim() || (message ?? String(failure));
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { refresh: { type: "boolean" } } });
  const names = positionals.length > 0 ? positionals : serverNames;
  const servers = await fetchServers(names, { refresh: values.refresh ?? false });
  console.log(describeServers(servers));
  if (servers.some(({ binary }) => binary === undefined)) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
