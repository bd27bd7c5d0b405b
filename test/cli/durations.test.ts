import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { exactDuration, parseDuration, roundDuration } from "../../src/cli/durations.ts";

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
  [5_400_000, "90m"],
  [176_400_000, "2d"],
])("%d milliseconds are about %s", (duration, expected) => {
  expect(roundDuration(duration)).toBe(expected);
});

test.each([
  [0, "0ms"],
  [1_500, "1500ms"],
  [30_000, "30s"],
  [60_000, "1m"],
  [90_000, "90s"],
  [7_200_000, "2h"],
  [86_400_000, "1d"],
])("%d milliseconds are exactly %s", (duration, expected) => {
  expect(exactDuration(duration)).toBe(expected);
  expect(parseDuration(expected)).toBe(duration);
});
