import { escapeOdd, SchemeError, sentenceOf } from "../errors.ts";
import type { SchemeErrorCode } from "../errors.ts";

export function messageOf(error: unknown): string {
  return error instanceof Error ? sentenceOf(error) : String(error);
}

/** In a server's own words: a code in capital letters, then the rest. */
export function isFromServer(error: unknown): boolean {
  return /^[A-Z]+ /.test(messageOf(error));
}

/** The messages of closed clients. */
export function isClosed(error: unknown): boolean {
  return /^(Connection is closed|The client is closed)/.test(messageOf(error));
}

const UNREACHABLE = "Cannot reach the server";
const REFUSED = "The server refused the command";
const UNFIT = "The client cannot be used for locks";

interface Diagnosis {
  readonly test: RegExp;
  readonly code: SchemeErrorCode;
  readonly transient?: boolean;
  /** What the message begins with (default: that the server refused). */
  readonly subject?: string;
  readonly remedy: string;
}

const OWN_CLIENT = "Give the LockManager a client of its own, for example redis.duplicate().";

/** Messages of clients that are used for something else, or lead somewhere else than their users believe. */
const OF_CLIENTS: readonly Diagnosis[] = [
  {
    test: /^The client is in a MULTI|MULTI calls can not be nested/,
    code: "client-busy",
    transient: true,
    subject: UNFIT,
    remedy: `Its user has begun a transaction on the same connection. ${OWN_CLIENT}`,
  },
  {
    test: /subscriber mode|only \(P\|?S?\)SUBSCRIBE|only \(P\)SUBSCRIBE/,
    code: "client-busy",
    subject: UNFIT,
    remedy: `A client that is subscribed to channels takes no other commands. ${OWN_CLIENT}`,
  },
  {
    test: /monitoring mode/,
    code: "client-busy",
    subject: UNFIT,
    remedy: `A client in MONITOR mode takes no other commands. ${OWN_CLIENT}`,
  },
  {
    test: /^SELECT \d+ was sent/,
    code: "wrong-database",
    subject: UNFIT,
    remedy: `Locks in two databases do not exclude each other. ${OWN_CLIENT}`,
  },
  {
    test: /^SELECT \d+ failed|DB index is out of range|invalid DB index/i,
    code: "wrong-database",
    remedy:
      "The locks would end up in another database. Use a database that the server has and that its account may SELECT.",
  },
  {
    test: /^It is one server of a Cluster/,
    code: "server",
    subject: UNFIT,
    remedy:
      "Pass a Cluster client (new Cluster(…), createCluster(…), GlideClusterClient), or use a redis+cluster:// URL.",
  },
  {
    test: /cluster support disabled/,
    code: "server",
    remedy: "The server is not part of a Cluster. Pass a client of a single server, or use a redis:// URL.",
  },
  {
    test: /No such master with that name/,
    code: "server",
    subject: UNREACHABLE,
    remedy: "The Sentinels watch no master by this name. Check the name given to the client or in the URL.",
  },
  {
    test: /unknown command .?sentinel/i,
    code: "server",
    subject: UNREACHABLE,
    remedy: "What was given as a Sentinel is an ordinary server. Give the Sentinels' addresses (usually port 26379).",
  },
  {
    test: /certificate/i,
    code: "unreachable",
    subject: UNREACHABLE,
    remedy: "Give the client the certificate authority (tls: { ca }), or name its file in NODE_EXTRA_CA_CERTS.",
  },
  {
    test: /^node-redis gave up/,
    code: "unreachable",
    subject: UNREACHABLE,
    remedy:
      "Set a reconnectStrategy beside socketTimeout: without one, node-redis never connects again after a timeout.",
  },
  {
    test: /^Connection has failed/,
    code: "unreachable",
    subject: UNREACHABLE,
    remedy:
      "The client passed in is closed, or has tried to connect as often as Bun's maxRetries allows (20 times): " +
      "set that to 4294967295, and close the client last.",
  },
  {
    test: /^(Connection is closed|The client is closed)/,
    code: "unreachable",
    subject: UNREACHABLE,
    remedy: "The client passed in is closed or was never connected: connect it first, and close it last.",
  },
  {
    test: /^no answer within/,
    code: "unreachable",
    transient: true,
    subject: UNREACHABLE,
    remedy:
      "Check that it runs, and that client and server agree on TLS. " +
      "If the client also runs blocking commands such as BLPOP, give the LockManager a client of its own.",
  },
];

const REPLICA = "This server is a replica, which cannot keep locks. Connect to a primary that takes writes.";

/** Messages of servers. */
const OF_SERVERS: readonly Diagnosis[] = [
  {
    test: /^NOPERM.*'wait|unknown command .?wait|^ERR WAITAOF cannot be used when numlocal/i,
    code: "no-wait",
    remedy:
      "durability needs the command WAIT, and with aof also WAITAOF (Redis 7.2 or Valkey), appendonly yes and an account " +
      "with +wait +waitaof. Otherwise leave durability out.",
  },
  {
    test: /^(ERR WAIT(AOF)? cannot be used with replica|UNBLOCKED)/,
    code: "read-only",
    transient: true,
    remedy: REPLICA,
  },
  {
    test: /^NOPERM.*'(eval|script)|unknown command .?(eval|script)|\b(scripting|Lua)\b/i,
    code: "no-scripting",
    remedy:
      'The lua scheme needs EVAL and EVALSHA. Allow them, or use { scheme: "set" }, which needs no scripts. ' +
      "If this is a Sentinel (usually port 26379), use a redis+sentinel:// URL or the client's option for Sentinels.",
  },
  {
    test: /\bNOPERM\b|^(NOAUTH|WRONGPASS|Unauthorized|ERR AUTH|ERR invalid password|(ERR )?The user executing the script|ERR ACL failure|ERR Protocol error: unauth)/,
    code: "not-authorized",
    remedy:
      "Give the client a user and password that may use the keys and channels of the prefix. " +
      "The command holdfast doctor names each right that is missing.",
  },
  { test: /^(READONLY|MASTERDOWN)/, code: "read-only", transient: true, remedy: REPLICA },
  {
    test: /^NOREPLICAS/,
    code: "read-only",
    transient: true,
    remedy: "The server takes writes only while enough replicas are connected (min-replicas-to-write).",
  },
  {
    test: /^ERR max number of clients reached/,
    code: "unreachable",
    transient: true,
    remedy: "It has as many clients as maxclients allows. Raise that, or close connections that nobody needs.",
  },
  {
    test: /^MISCONF/,
    code: "read-only",
    transient: true,
    remedy: "The server takes no writes until it can save to its disk again. Its log says why it cannot.",
  },
  {
    test: /^LOADING/,
    code: "loading",
    transient: true,
    remedy: "The server is still reading its data. Try again later.",
  },
  {
    test: /^OOM/,
    code: "out-of-memory",
    transient: true,
    remedy: "Raise the server's maxmemory, or free some memory.",
  },
  {
    test: /^(WRONGTYPE|ERR Key should be of string type)/, // the second is how DELEX says it
    code: "wrong-type",
    remedy: "The key holds something that is no lock. Choose another name or prefix.",
  },
  { test: /^BUSY\b/, code: "server", transient: true, remedy: "A script or function keeps it busy. Try again later." },
  {
    test: /^(TRYAGAIN|CLUSTERDOWN|MOVED|ASK)\b/,
    code: "server",
    transient: true,
    remedy: "The Cluster moves slots, or fails over. Try again later.",
  },
  {
    test: /^ERR unknown command/i,
    code: "server",
    remedy:
      "The server lacks a command that holdfast needs. Connect to a Redis or Valkey server itself, not to a proxy. " +
      "If this is a Sentinel (usually port 26379), use a redis+sentinel:// URL or the client's option for Sentinels.",
  },
  { test: /^[A-Z]+ |^ERR/, code: "server", remedy: "Check the server's configuration; its log may say more." },
];

/** Messages of the network, and everything else. */
const OF_NETWORKS: readonly Diagnosis[] = [
  {
    test: /ECONNREFUSED|ENOENT/,
    code: "unreachable",
    transient: true,
    subject: UNREACHABLE,
    remedy: "Nothing listens there. Check that it runs, and its address.",
  },
  {
    test: /ENOTFOUND|EAI_AGAIN/,
    code: "unreachable",
    transient: true,
    subject: UNREACHABLE,
    remedy: "The name of the host cannot be resolved. Check the address.",
  },
  {
    test: /^/,
    code: "unreachable",
    transient: true,
    subject: UNREACHABLE,
    remedy: "Check that it runs, that the address is right, and that client and server agree on TLS.",
  },
];

/** The first match counts, and the last entry matches everything. */
const DIAGNOSES: readonly Diagnosis[] = [...OF_CLIENTS, ...OF_SERVERS, ...OF_NETWORKS];

/** What is wrong, what was said, and what to do about it. */
export function diagnose(error: unknown): Required<Omit<Diagnosis, "test">> & { readonly said: string } {
  const said = saidBy(error);
  const found = DIAGNOSES.find(({ test }) => test.test(said)) as Diagnosis;
  return { subject: REFUSED, transient: false, ...found, said };
}

/** The client's or the server's error as ours, with what to do about it. */
export function schemeError(error: unknown): SchemeError {
  if (error instanceof SchemeError) return error;
  const { code, subject, said, remedy, transient } = diagnose(error);
  return new SchemeError(code, `${subject}: ${said}. ${remedy}`, [error], transient);
}

/** Where in a script a command failed: Redis before 7 puts it before the error, later versions behind it. */
const IN_SCRIPT = /^[^]*@user_script: ?\d+: -?| script: [0-9a-f]{40}, on @user_script:\d+\.?$/g;
/** What was sent, which may be a whole script. */
const ARGUMENTS = /, with args beginning with:[^]*$/;

const LONGEST_WORDS = 500;

/** What the client or the server said, in its own words, on one line of bounded length. */
export function saidBy(error: unknown): string {
  const message =
    messageOf(error) || (error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : "");
  const said = message.replace(IN_SCRIPT, "").replace(ARGUMENTS, "").trim().replace(/\.$/, "");
  // For a Cluster, ioredis says only that nobody answered; this has what the servers answered.
  const { lastNodeError } = (error ?? {}) as { readonly lastNodeError?: unknown };
  const whole = lastNodeError ? `${said} (${messageOf(lastNodeError)})` : said;
  return escapeOdd(whole.length > LONGEST_WORDS ? `${whole.slice(0, LONGEST_WORDS)}…` : whole);
}
