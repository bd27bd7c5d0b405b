import { SchemeError } from "../errors.ts";
import type { SchemeErrorCode } from "../errors.ts";

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Diagnosis {
  readonly test: RegExp;
  readonly code: SchemeErrorCode;
  readonly transient?: boolean;
  readonly remedy: string;
}

/** What servers and clients say, what it means, and what to do about it. The first that fits counts. */
const DIAGNOSES: readonly Diagnosis[] = [
  {
    test: /^NOPERM.*'wait|unknown command .?wait|^ERR WAITAOF cannot be used when numlocal/i,
    code: "no-wait",
    remedy:
      "Durability needs WAIT, with aof WAITAOF (Redis 7.2, Valkey), appendonly yes and an account with +wait +waitaof. " +
      "Else leave durability out.",
  },
  {
    test: /^ERR WAIT(AOF)? cannot be used with replica/,
    code: "read-only",
    transient: true,
    remedy: "Connect to a primary that may write; a replica cannot keep locks.",
  },
  {
    test: /^NOPERM.*'(eval|script)|unknown command .?(eval|script)|\b(scripting|Lua)\b/i,
    code: "no-scripting",
    remedy: 'The lua scheme needs EVAL and EVALSHA. Allow them, or use { scheme: "set" }, which needs no scripts.',
  },
  {
    test: /^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH|ERR invalid password|(ERR )?The user executing the script|ERR ACL failure|ERR Protocol error: unauth)/,
    code: "not-authorized",
    remedy: "Give the client a user and password that may use the keys and channels of the prefix.",
  },
  {
    test: /^(READONLY|NOREPLICAS|MASTERDOWN)/,
    code: "read-only",
    transient: true,
    remedy: "Connect to a primary that may write; a replica cannot keep locks.",
  },
  { test: /^MISCONF/, code: "read-only", remedy: "The server refuses writes until its disk works again." },
  { test: /^LOADING/, code: "loading", transient: true, remedy: "The server reads its data; try again when it is up." },
  { test: /^OOM/, code: "out-of-memory", remedy: "Raise the server's maxmemory or free some." },
  {
    test: /^(WRONGTYPE|ERR Key should be of string type)/, // the second is how DELEX says it
    code: "wrong-type",
    remedy: "Something else lives under this name: choose another name or prefix.",
  },
  { test: /^(BUSY|TRYAGAIN|CLUSTERDOWN|MOVED|ASK)\b/, code: "server", transient: true, remedy: "Try again." },
  { test: /^[A-Z]+ |^ERR/, code: "server", remedy: "See cause." },
  {
    test: /^(Connection is closed|The client is closed)/,
    code: "unreachable",
    remedy: "The client passed in is closed, or was never connected: connect it first, close it last.",
  },
];

/** Redis before 7 tells the line of the script before the error that a command met there, later versions behind it. */
const IN_SCRIPT = /^[^]*@user_script: ?\d+: -?| script: [0-9a-f]{40}, on @user_script:\d+\.?$/g;

/** What the client or the server said, in its own words. */
export function saidBy(error: unknown): string {
  const message =
    messageOf(error) || (error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : "");
  const said = message.replace(IN_SCRIPT, "");
  return (said === message ? said : said.trim()).replace(/\.$/, "");
}

/** The client's or the server's error as ours, with what to do about it. */
export function schemeError(error: unknown): SchemeError {
  if (error instanceof SchemeError) return error;
  const said = saidBy(error);
  const found = DIAGNOSES.find(({ test }) => test.test(said));
  const subject = found?.code === "unreachable" || !found ? "The server cannot be reached" : "The server refused";
  const remedy = found?.remedy ?? "Check that it runs and that the client's address is right.";
  return new SchemeError(
    found?.code ?? "unreachable",
    `${subject}: ${said}. ${remedy}`,
    [error],
    found ? !!found.transient : true,
  );
}
