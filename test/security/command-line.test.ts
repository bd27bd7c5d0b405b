/** Whatever the command is called with: it does that, or says in one line what is wrong, and ends with a code of its own. */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { failureOf } from "../../src/cli/failures.ts";
import { interpret } from "../../src/cli/program.ts";
import { FUZZ_TIMEOUT, fuzzing, hostileName } from "../support/hostile.ts";
import { calls, openStage } from "../support/stage.ts";

const flags = [
  "--redis",
  "--prefix",
  "--scheme",
  "--client",
  "--ttl",
  "--grace",
  "--replicas",
  "--label",
  "--quiet",
  "--lock",
  "--wait",
  "--conflict-exit-code",
  "--shared",
  "--permits",
  "--at-most",
  "--at-least",
  "--json",
  "--force",
  "--nobody-knows",
  "-x",
  "-",
];
const values = [
  "",
  "0",
  "-1",
  "5",
  "5s",
  "1e9d",
  "99999999999999999999h",
  "1/4",
  "4/1",
  "lua",
  "redlock",
  "redis://",
  "x",
];

const word = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...flags) },
  { weight: 3, arbitrary: fc.constantFrom(...values) },
  // Arguments of programs hold no NUL, and are UTF-8.
  { weight: 2, arbitrary: hostileName.map((name) => name.replaceAll("\0", "").toWellFormed()) },
);
// Without a command behind "--" nothing is run. `ui`, `watch` and `doctor` go on.
const verb = fc.constantFrom("exec", "elect", "once", "ls", "show", "release", "help", "completion", "nothing", "");

test(
  "any arguments are carried out, or refused in one line with code 64 before anything is sent",
  async (t) => {
    const { server, redis } = await openStage(t);
    t.onTestFinished(() => void vi.unstubAllEnvs());
    vi.stubEnv("REDIS_URL", server.url);
    const written = vi.spyOn(process.stdout, "write").mockImplementation((...args: unknown[]) => {
      const done = args.find((each) => typeof each === "function") as (() => void) | undefined;
      done?.();
      return true;
    });
    t.onTestFinished(() => written.mockRestore());
    const sent = (): Promise<number> => calls(redis, "evalsha", "eval", "scan", "set");
    const property = fc.asyncProperty(
      verb,
      fc.array(word, { maxLength: 6 }),
      fc.boolean(),
      async (first, rest, isEnded) => {
        // A server that cannot be reached is asked for seconds.
        const args = [first, ...rest.filter((each) => each !== "--redis"), ...(isEnded ? ["--"] : [])];
        const before = await sent();
        const error = await interpret(args).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) return;
        const { exitCode, message, trace } = failureOf(error);
        expect(trace ?? "", "a trace, as of a bug").toBe("");
        expect(message).not.toBe("");
        expect([64, 69, 75]).toContain(exitCode);
        // `release` first shows who holds, and then asks for --force.
        if (exitCode === 64 && first !== "release") expect(await sent(), "commands sent").toBe(before);
      },
    );
    await fc.assert(property, fuzzing(300));
  },
  FUZZ_TIMEOUT,
);
