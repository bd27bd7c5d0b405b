import { expect, test } from "vitest";
import { plain } from "../../src/cli/messages.ts";

test.each(["deploy", "invoice:42", "a b", "größe", "日本", "🔒", "it's", "(x)"])("%s is shown as it stands", (name) => {
  expect(plain(name)).toBe(name);
});

test.each([
  ["", '""'],
  [" a", '" a"'],
  ["a  b", '"a  b"'],
  ['"a"', '"\\"a\\""'],
  ["a\nb", '"a\\nb"'],
  ["\u001b[31m", '"\\u001b[31m"'],
  ["\u007f\u009b", '"\\u007f\\u009b"'],
  ["a\u202eb\u200b", '"a\\u202eb\\u200b"'],
  ["a\u00a0b", '"a\\u00a0b"'],
  ["\u{e0001}", '"\\udb40\\udc01"'],
  ["\ud800", '"\\ud800"'],
])("%j is quoted and escaped", (name, expected) => {
  expect(plain(name)).toBe(expected);
});
