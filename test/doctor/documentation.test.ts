/** docs/doctor.md, held against the checks that there are. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CHECKS } from "../../src/doctor/checks/index.ts";

test("the page describes every check, and no other", () => {
  const page = readFileSync(new URL("../../docs/doctor.md", import.meta.url), "utf8");
  const [table = ""] =
    /^## What it looks at\n[^]*?\n\n(?!\|)/m.exec(page.replace(/^## What it looks at\n\n/m, "## What it looks at\n")) ??
    [];
  const described = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name = ""]) => name);
  expect(described.toSorted()).toEqual(["reach", ...CHECKS.map(({ name }) => name)].toSorted());
});
