/**
 * Prepares a release: `npm run release -- 0.2.0`. It checks everything, writes the version and the changelog's heading,
 * and makes the commit and the tag. It publishes nothing: .github/workflows/publish.yml does, when the tag is pushed,
 * with the provenance that `publishConfig` asks for. With `--dry-run` it checks what takes a minute, and changes nothing.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = new URL("../", import.meta.url);
const HEADING = "## Unreleased\n";

function run(command: string, ...args: string[]): void {
  console.log(`> ${command} ${args.join(" ")}`);
  execFileSync(command, args, { cwd: root, stdio: "inherit" });
}

function ask(command: string, ...args: string[]): string {
  return execFileSync(command, args, { cwd: root, encoding: "utf8" }).trim();
}

/** @returns why `next` cannot follow `last`, or undefined */
export function objectionTo(next: string, last: string): string | undefined {
  const [parts, before] = [next, last].map((version) => /^(\d+)\.(\d+)\.(\d+)$/.exec(version)?.slice(1).map(Number));
  if (!parts || !before) return `Expected a version such as 1.2.3; got ${JSON.stringify(next)}.`;
  const followers = [
    [Number(before[0]) + 1, 0, 0],
    [before[0], Number(before[1]) + 1, 0],
    [before[0], before[1], Number(before[2]) + 1],
  ].map((follower) => follower.join("."));
  return followers.includes(next) ? undefined : `Expected ${followers.join(", ")} after ${last}; got ${next}.`;
}

/** The changelog with what is unreleased under the version's heading. @throws Error if there is nothing */
export function withVersion(changelog: string, version: string, date: string): string {
  const [before, after] = changelog.split(HEADING);
  if (after === undefined) throw new Error(`Expected CHANGELOG.md to have the heading "${HEADING.trim()}".`);
  if (!/^\s*- /.test(after)) throw new Error("Expected something under Unreleased in CHANGELOG.md; it is empty.");
  return `${before}${HEADING}\n## ${version} (${date})\n${after}`;
}

interface Manifest {
  readonly version: string;
  readonly repository?: unknown;
  readonly homepage?: unknown;
  readonly bugs?: unknown;
  readonly publishConfig?: { readonly provenance?: boolean };
}

/** @returns why this package cannot be published with provenance, or undefined */
export function missingFor(manifest: Manifest): string | undefined {
  const provenance = manifest.publishConfig?.provenance === true;
  if (!provenance) return "Expected publishConfig.provenance to be true in package.json.";
  // Nobody but the maker of the release knows the address.
  const missing = (["repository", "homepage", "bugs"] as const).filter((field) => manifest[field] === undefined);
  if (missing.length === 0) return undefined;
  return (
    `Expected ${missing.join(", ")} in package.json: npm compares repository with where the package was built, and ` +
    "resolves the README's links by it. Commit what this writes: " +
    'npm pkg set repository.type=git repository.url="git+https://HOST/OWNER/NAME.git" ' +
    'homepage="https://HOST/OWNER/NAME#readme" bugs.url="https://HOST/OWNER/NAME/issues"'
  );
}

function main(version: string, isDryRun: boolean): void {
  const manifest = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as Manifest;
  const changelog = withVersion(readFileSync(new URL("CHANGELOG.md", root), "utf8"), version, day());
  const isClean = ask("git", "status", "--porcelain") === "";
  const objections = [
    objectionTo(version, manifest.version),
    missingFor(manifest),
    isClean ? undefined : "Commit or stash your changes first.",
    ask("git", "tag", "--list", `v${version}`) === "" ? undefined : `The tag v${version} exists already.`,
  ].filter((each) => each !== undefined);

  if (isDryRun) {
    run("npm", "run", "check");
    run("npm", "pack", "--dry-run");
    console.log(objections.length === 0 ? `\n${version} can be released.` : `\nStill to do:\n${objections.join("\n")}`);
    return;
  }
  if (objections.length > 0) throw new Error(objections.join("\n"));
  run("bash", ".ci/run");
  try {
    run("npm", "version", version, "--no-git-tag-version");
    writeFileSync(new URL("CHANGELOG.md", root), changelog);
    run("npm", "run", "generate"); // the man page names the version
    run("npm", "pack", "--dry-run");
    run("git", "commit", "--all", "--message", version);
  } catch (error) {
    run("git", "checkout", "--", "."); // it was clean
    throw error;
  }
  run("git", "tag", "--annotate", `v${version}`, "--message", version);
  console.log(`\nLook at it (git show), then: git push --follow-tags. Continuous integration publishes the tag.`);
}

function day(): string {
  return new Date().toISOString().slice(0, 10);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { values, positionals } = parseArgs({ options: { "dry-run": { type: "boolean" } }, allowPositionals: true });
    main(positionals[0] ?? "", values["dry-run"] ?? false);
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
