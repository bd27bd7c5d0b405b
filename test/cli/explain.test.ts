/** `holdfast explain`, and the errors that name it. */
import { expect, test } from "vitest";
import { CODES } from "../../src/cli/failures.ts";
import { LockError, LockLostError, QuorumError, SchemeError, sentenceOf } from "../../src/errors.ts";
import { Run, built } from "../support/cli.ts";

async function explain(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Run(process.execPath, [built, "explain", ...args], { ...process.env, REDIS_URL: "" }).ended;
}

test("each code is explained, in 80 columns, without a server", async () => {
  for (const code of ["lost", "unreachable", "not-durable", "mismatch"]) {
    const { stdout, stderr, code: status } = await explain(code);
    expect({ status, stderr }, code).toEqual({ status: 0, stderr: "" });
    const [title, blank, ...lines] = stdout.trimEnd().split("\n");
    expect([title, blank]).toEqual([code, ""]);
    expect(lines.at(-1)).toBe(`holdfast/docs/troubleshooting.md#${code}`);
    expect(lines.join("").length).toBeGreaterThan(100);
    // An address has no place to break.
    for (const line of lines) expect(line.length <= 80 || !line.trim().includes(" "), line).toBe(true);
    expect(stdout).not.toMatch(/\]\(|\*\*|^\|/m);
    if (code === "lost") expect(stdout).toMatch(/^ {2}`stolen`\n {4}someone took the lock by force, or/m);
  }
});

test("without a code it lists all of them, each with a sentence", async () => {
  const { code, stdout } = await explain();
  expect(code).toBe(0);
  for (const each of CODES) expect(stdout).toMatch(new RegExp(`^${each} {2,}\\S.{10}`, "m"));
});

test("another code is refused, and the codes are named", async () => {
  const { code, stderr } = await explain("losst");
  expect(code).toBe(64);
  expect(stderr).toContain("lost");
});

test("the message of every error ends with the address of its heading, once", () => {
  const inner = new SchemeError("unreachable", "Cannot reach the server: away. Check that it runs.", []);
  const votes = [{ node: "node 1 of 3", vote: "failed", cause: inner } as const];
  const errors = [
    ...CODES.map((code) => new LockError(code, "Something is wrong. Do this.")),
    new LockLostError("a", 1, "stolen"),
    new QuorumError("no-quorum", `No majority (${sentenceOf(inner)}). Bring them back.`, votes, true),
  ];
  for (const error of errors) {
    expect(error.help).toBe(`holdfast/docs/troubleshooting.md#${error.code}`);
    expect(error.message.endsWith(`. (${error.help})`), error.message).toBe(true);
    expect(error.message.split("troubleshooting.md")).toHaveLength(2);
    expect(`${sentenceOf(error)} (${error.help})`).toBe(error.message);
  }
});
