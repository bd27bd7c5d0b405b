/** What a release writes. */
import { expect, test } from "vitest";
import { missingFor, objectionTo, withVersion } from "../scripts/release.ts";

test("a version is the next patch, minor or major, and nothing else", () => {
  for (const next of ["0.1.1", "0.2.0", "1.0.0"]) expect(objectionTo(next, "0.1.0")).toBeUndefined();
  for (const next of ["0.1.0", "0.1.2", "0.3.0", "2.0.0", "v0.2.0", ""])
    expect(objectionTo(next, "0.1.0")).toBeDefined();
});

test("what is unreleased comes under the version's heading, and Unreleased is empty", () => {
  const changelog = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0\n\n- First.\n";
  expect(withVersion(changelog, "0.2.0", "2026-12-01")).toBe(
    "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0\n\n- First.\n",
  );
  expect(() => withVersion("## Unreleased\n\n## 0.1.0\n", "0.2.0", "2026-12-01")).toThrow("it is empty");
  expect(() => withVersion("# Changelog\n", "0.2.0", "2026-12-01")).toThrow("heading");
});

test("a package that does not say where its source, its page and its bugs are, or has no provenance, is not released", () => {
  const provenance = { version: "0.1.0", publishConfig: { provenance: true } };
  const manifest = { ...provenance, repository: "github:somebody/holdfast", homepage: "", bugs: {} };
  expect(missingFor(manifest)).toBeUndefined();
  expect(missingFor({ ...manifest, publishConfig: {} })).toContain("provenance");
  expect(missingFor(provenance)).toMatch(/^Expected repository, homepage, bugs in .* npm pkg set repository/);
});
