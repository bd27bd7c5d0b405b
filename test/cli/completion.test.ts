/** Completion and the man page say what the program says. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { manual } from "../../scripts/generate-man.ts";
import { describe as program } from "../../src/cli/program.ts";
import { Run, built } from "../support/cli.ts";

async function script(shell: string): Promise<string> {
  const { stdout, code } = await new Run(process.execPath, [built, "completion", shell], process.env).ended;
  expect(code).toBe(0);
  return stdout;
}

function has(shell: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${shell}`]);
    return true;
  } catch {
    return false;
  }
}

describe("in bash", () => {
  let completion = "";
  beforeAll(async () => {
    completion = await script("bash");
  });

  /** What bash offers for the last word. */
  function offered(...words: string[]): string[] {
    const ask = `${completion}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const stdout = execFileSync("bash", ["--norc", "-c", ask, "bash", "holdfast", ...words], { encoding: "utf8" });
    return stdout.trim().split("\n");
  }

  test("the commands are offered", () => {
    expect(offered("e")).toEqual(["exec", "elect", "explain"]);
    expect(offered("")).toEqual([...program().commands.map((command) => command.name()), "help"]);
  });

  test("a command's options are offered, and the values that one may have", () => {
    expect(offered("exec", "backup", "--w")).toEqual(["--wait"]);
    expect(offered("once", "report", "--at-")).toEqual(["--at-most", "--at-least"]);
    expect(offered("exec", "backup", "--scheme", "")).toEqual(["lua", "set"]);
    expect(offered("completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(offered("explain", "unre")).toEqual(["unreachable"]);
  });

  test("behind -- the command to run is completed, not holdfast's options", () => {
    expect(offered("exec", "backup", "--", "bas")).toContain("bash");
  });
});

test.each(["zsh", "fish"])("the script for %s names every command, and the shell takes it", async (shell) => {
  const text = await script(shell);
  for (const command of program().commands) expect(text).toContain(command.name());
  if (!has(shell)) return;
  const folder = mkdtempSync(join(tmpdir(), "holdfast-completion-"));
  try {
    writeFileSync(join(folder, shell), text);
    execFileSync(shell, ["-n", join(folder, shell)]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the man page is the one that the program's commands make, and has every option", () => {
  const page = readFileSync(new URL("../../man/holdfast.1", import.meta.url), "utf8");
  expect(page).toBe(manual());
  const options = program().commands.flatMap((command) => command.options.filter(({ hidden }) => !hidden));
  expect(options.length).toBeGreaterThan(30);
  for (const { long } of options) expect(page).toContain(long?.replaceAll("-", "\\-"));
});
