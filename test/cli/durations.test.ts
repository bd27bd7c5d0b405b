import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { formatDuration, parseDuration } from "../../src/cli/durations.ts";

test.each([
  ["0", 0],
  ["500ms", 500],
  ["30s", 30_000],
  ["0.5s", 500],
  ["2m", 120_000],
  ["1h", 3_600_000],
  ["1 day", 86_400_000],
])("%s is %i milliseconds", (text, expected) => {
  expect(parseDuration(text)).toBe(expected);
});

test.each(["", "30", "1.5", "-1s", "+1s", "s", "1 fortnight", "1s2", "9999999999999y", `${"1".repeat(200)}s`])(
  "%j is refused",
  (text) => {
    expect(() => parseDuration(text)).toThrow(InvalidArgumentError);
  },
);

test.each([
  [0, "0ms"],
  [-3, "0ms"],
  [999.6, "1s"],
  [1_499, "1s"],
  [89_000, "89s"],
  [300_000, "5m"],
])("%d milliseconds are shown as %s", (duration, expected) => {
  expect(formatDuration(duration)).toBe(expected);
});
