import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** The package as it is published, of what was built last, and applications that install it. */
export class Packed {
  readonly #folder: string;
  readonly #tarball: string;

  private constructor(folder: string, tarball: string) {
    this.#folder = folder;
    this.#tarball = tarball;
  }

  static async make(): Promise<Packed> {
    const folder = await mkdtemp(join(tmpdir(), "holdfast-package-"));
    // Files of tests run side by side, so none of them may build.
    await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], { cwd: root });
    const [tarball = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
    return new Packed(folder, join(folder, tarball));
  }

  /**
   * @param source has a package.json and its lockfile
   * @returns a copy of it, with its packages and this one installed
   */
  async installIn(source: string, name: string): Promise<string> {
    const app = join(this.#folder, name);
    await cp(source, app, { recursive: true });
    await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: app });
    await run("npm", ["install", "--no-save", "--no-audit", "--no-fund", this.#tarball], { cwd: app });
    return app;
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
