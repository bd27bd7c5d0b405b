/** docs/command-line.md, held against what the program says of itself. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/cli/exit-codes.ts";
import { Run, built } from "../support/cli.ts";

const page = readFileSync(new URL("../../docs/command-line.md", import.meta.url), "utf8");

async function help(...args: string[]): Promise<string> {
  const { stdout } = await new Run(process.execPath, [built, "help", ...args], process.env).ended;
  return stdout;
}

/** `--wait` and the like, with the default that stands behind each, if there is one. */
function optionsIn(text: string): Map<string, string | undefined> {
  const entries = text.split(/^(?= {2}-)/m).slice(1);
  const found = new Map<string, string | undefined>();
  for (const entry of entries) {
    const [, flag] = /^ {2}(?:-\w, )?(--[\w-]+)/.exec(entry) ?? [];
    const [, usual] = /\(default:\s*"?([\w:]+)"?\)/.exec(entry) ?? [];
    if (flag) found.set(flag, usual);
  }
  return found;
}

/** Those that the page describes once, for every command. */
const COMMON = ["--redis", "--prefix", "--scheme", "--help"];

test.each(["exec", "elect", "once", "ls", "show", "release", "doctor", "ui", "watch"])(
  "the page gives every option of %s, and no other",
  async (verb) => {
    const [synopsis = ""] = page.match(new RegExp(`^holdfast ${verb} (?=[N[]).*`, "m")) ?? [];
    const [own = ""] = synopsis.split(" -- ");
    const documented = [...own.matchAll(/--[\w-]+/g)].map(([flag]) => flag);
    const options = optionsIn(await help(verb));
    expect([...documented, ...COMMON].toSorted()).toEqual([...options.keys()].toSorted());
    for (const [flag, usual] of options) {
      // What stands for a value is the default, if the program has one.
      const [, shown] = new RegExp(`${flag} (\\d+[a-z]*)\\b`).exec(own) ?? [];
      if (usual !== undefined && usual !== "0" && shown !== undefined)
        expect(`${flag} ${shown}`).toBe(`${flag} ${usual}`);
    }
  },
);

test("the page and the help give every exit code of holdfast's own", async () => {
  const [table = ""] = page.match(/^### Exit codes$[^]*?^If the reader/m) ?? [];
  const [list = ""] = (await help()).match(/^Exit codes:$[^]*?^Otherwise/m) ?? [];
  const codes = Object.values(ExitCode).toSorted((a, b) => a - b);
  const numbers = (rows: string[][]): number[] =>
    rows
      .flat()
      .map(Number)
      .filter((code) => code > 0);
  expect(numbers([...table.matchAll(/^\| (\d+)(?:, (\d+))? \|/gm)].map(([, ...each]) => each))).toEqual(codes);
  expect(numbers([...list.matchAll(/^ +(\d+) {2}/gm)].map(([, ...each]) => each))).toEqual(codes);
});
