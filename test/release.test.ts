/** What a release writes. */
import { expect, test } from "vitest";
import { objectionTo, objectionToManifest, withVersion } from "../scripts/release.ts";

test("a version is the next patch, minor or major, and nothing else", () => {
  for (const next of ["0.1.1", "0.2.0", "1.0.0"]) expect(objectionTo(next, "0.1.0")).toBeUndefined();
  for (const next of ["0.1.0", "0.1.2", "0.3.0", "2.0.0", "v0.2.0", ""])
    expect(objectionTo(next, "0.1.0")).toBeDefined();
});

test("a package that does not say where its source, its page and its bugs are is not released", () => {
  expect(objectionToManifest({ name: "holdfast", bugs: {} })).toMatch(/repository, homepage are missing.*npm pkg set /);
  expect(objectionToManifest({ repository: {}, homepage: "", bugs: {} })).toBeUndefined();
});

test("what is unreleased comes under the version's heading, and Unreleased is empty", () => {
  const changelog = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0\n\n- First.\n";
  expect(withVersion(changelog, "0.2.0", "2026-12-01")).toBe(
    "# Changelog\n\n## Unreleased\n\n## 0.2.0 (2026-12-01)\n\n- New.\n\n## 0.1.0\n\n- First.\n",
  );
  expect(() => withVersion("## Unreleased\n\n## 0.1.0\n", "0.2.0", "2026-12-01")).toThrow("it is empty");
  expect(() => withVersion("# Changelog\n", "0.2.0", "2026-12-01")).toThrow("heading");
});

test("a package that does not say where its source, its page and its bugs are is not released", () => {
  expect(objectionToManifest({ name: "holdfast", bugs: {} })).toMatch(/repository, homepage are missing.*npm pkg set /);
  expect(objectionToManifest({ repository: {}, homepage: "", bugs: {} })).toBeUndefined();
});
