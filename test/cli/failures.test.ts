import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CliError } from "../../src/cli/cli-error.ts";
import { failureOf } from "../../src/cli/failures.ts";
import { DurabilityError, LockError, LockLostError, LockTimeoutError } from "../../src/errors.ts";
import { QueueFullError, QuorumError, SchemeError } from "../../src/errors.ts";
import type { LockErrorCode, SchemeErrorCode } from "../../src/errors.ts";

/** As they stand in the source, so that none is forgotten. */
const source = readFileSync(new URL("../../src/errors.ts", import.meta.url), "utf8");
const [, types = ""] = /export type LockErrorCode =([^]*?)\/\*\*\s[*\s]*The parent of every error/.exec(source) ?? [];
const codes = [...types.matchAll(/^ {2}\| "([\w-]+)"/gm)].map(([, code]) => code as LockErrorCode);

/** Words of the library, which mean nothing on the command line. */
const FOREIGN =
  /waitTimeout|maxQueue|nodeTimeout|atLeast|atMost|query\(\)|\{ ?scheme|durability|new LockManager|\d ms\b|the client\b/;

const said = "ERR said by the server after 5000 ms";

/** Those that are no SchemeError, or of a class of their own. */
const OTHERS: { readonly [Code in LockErrorCode]?: Error } = {
  timeout: new LockTimeoutError("a", 300, "somebody else holds it (waitTimeout)"),
  "queue-full": new QueueFullError("a", 0),
  lost: new LockLostError("a", 1, "expired"),
  "not-durable": new DurabilityError("a", "grant", { replicas: 2, aof: false, timeout: 100 }),
  unsupported: new LockError("unsupported", 'The scheme "set" has no shared locks. Use the scheme "lua".'),
};
/** They would be a bug of the command: it releases and closes at its end only, and asks for nothing that these are about. */
const OUR_BUGS = new Set<LockErrorCode>(["released", "closed", "not-held", "deadlock", "compute-failed", "too-large"]);
const PLAIN = new Set<LockErrorCode>(["stale", "gone", "mismatch", "no-client", ...OUR_BUGS]);

/** Errors with this code as the library makes them. */
function errorsWith(code: LockErrorCode): Error[] {
  if (OTHERS[code]) return [OTHERS[code]];
  if (PLAIN.has(code)) return [new LockError(code, "Expected maxQueue; got { scheme }.")];
  const failed = code as SchemeErrorCode;
  const error = new SchemeError(failed, `The server refused: ${said}. Use { scheme: "set" }.`, [new Error(said)]);
  const votes = [{ node: "node 1 of 3", vote: "failed", cause: error } as const];
  return [error, new QuorumError(failed, "No majority: nodeTimeout.", votes, false)];
}

test("the source has error codes", () => {
  expect(codes.length).toBeGreaterThan(20);
});

test.each(codes)("the error code %s has an exit code of its own and a sentence in the command line's words", (code) => {
  for (const error of errorsWith(code)) {
    const { exitCode, message } = failureOf(error);
    expect([64, 69, 70, 75, ...(OUR_BUGS.has(code) ? [71] : [])]).toContain(exitCode);
    expect(message).toMatch(/^[\w-][^\n]+$/);
    expect(message).not.toMatch(/unexpected failure/);
    expect(message).not.toMatch(FOREIGN);
  }
});

test("what the server said is passed on, with durations as they are typed", () => {
  const error = new SchemeError("server", "The server refused: …", [new Error(said)]);
  expect(failureOf(error).message).toContain("The server refused the command: ERR said by the server after 5s.");
});

test("what failed because of an error of the library says which, so that it can be explained", () => {
  const cause = new LockTimeoutError("a", 300, "another client holds it");
  expect(failureOf(cause).code).toBe("timeout");
  expect(failureOf(new CliError(75, '"a" was not free', { cause })).code).toBe("timeout");
  expect(failureOf(new CliError(64, "the lock's name is empty")).code).toBeUndefined();
});

test("only other errors are unexpected, and they come with a trace", () => {
  expect(failureOf(new TypeError("x is not a function"))).toEqual({
    exitCode: 71,
    message: "unexpected failure, please report it: TypeError: x is not a function",
    trace: expect.stringMatching(/\n +at /),
  });
});
