/**
 * Tries out the rights that locks need. Everything uses one string key that expires within seconds, so that what
 * an account may do leaves nothing behind, and commands for other types are refused for the type (which says that
 * they were allowed).
 */
import type { Clock } from "../../clock.ts";
import type { Driver, Send } from "../../drivers/driver.ts";
import { saidBy } from "../../drivers/server-errors.ts";
import { SchemeError } from "../../errors.ts";
import { Homes, lockKeys } from "../../schemes/keys.ts";
import type { Terms } from "../finding.ts";

/** A missing right: the rule that would grant it, and what the server said. */
export interface Refusal {
  /** As in ACL SETUSER; undefined if no rule helps, because the server does not know the command. */
  readonly rule: string | undefined;
  /** The command that was refused. */
  readonly command: string;
  readonly said: string;
}

interface Probe {
  readonly rule: string;
  readonly command: readonly string[];
  /** Only these schemes (default: all). */
  readonly schemes?: readonly Terms["scheme"][];
  /** In a Cluster only; false: elsewhere only. */
  readonly cluster?: boolean;
}

/** How long the test key lasts, in milliseconds. */
const LIFE = "5000";
/** In milliseconds. */
const LONGEST_SILENCE = 1_000;
const LUA = ["lua"] as const;
const SET = ["set"] as const;
const SCRIPTS = ["lua", "redlock"] as const;
const NO_SCRIPT = "0".repeat(40);

/** In a Cluster or not, `key` and its sibling `queue`; `channel` is of the same slot. */
function probes(key: string, queue: string, channel: string): readonly Probe[] {
  return [
    { rule: "+get", command: ["GET", key] },
    { rule: "+get", command: ["GET", queue] },
    { rule: "+time", command: ["TIME"] },
    { rule: "+pttl", command: ["PTTL", key] },
    { rule: "+pexpire", command: ["PEXPIRE", key, LIFE] },
    { rule: "+exists", command: ["EXISTS", key] },
    { rule: "+type", command: ["TYPE", key] },
    { rule: "+mget", command: ["MGET", key] },
    { rule: "+eval", command: ["EVAL", SCRIPT, "1", key], schemes: SCRIPTS },
    { rule: "+evalsha", command: ["EVALSHA", NO_SCRIPT, "1", key], schemes: SCRIPTS },
    { rule: "+pexpireat", command: ["PEXPIREAT", queue, "99999999999999"], schemes: SCRIPTS },
    { rule: "+zadd", command: ["ZADD", key, "XX", "1", "x"], schemes: SCRIPTS },
    { rule: "+zrem", command: ["ZREM", key, "x"], schemes: SCRIPTS },
    { rule: "+zscore", command: ["ZSCORE", key, "x"], schemes: SCRIPTS },
    { rule: "+zrank", command: ["ZRANK", key, "x"], schemes: SCRIPTS },
    { rule: "+zrange", command: ["ZRANGE", key, "0", "0"], schemes: SCRIPTS },
    { rule: "+zrangebyscore", command: ["ZRANGEBYSCORE", key, "0", "0"], schemes: SCRIPTS },
    { rule: "+hset", command: ["HSET", key, "x", "x"], schemes: SCRIPTS },
    { rule: "+hget", command: ["HGET", key, "x"], schemes: SCRIPTS },
    { rule: "+hmget", command: ["HMGET", key, "x"], schemes: ["redlock"] },
    { rule: "+hdel", command: ["HDEL", key, "x"], schemes: SCRIPTS },
    { rule: "+incrby", command: ["INCRBY", key, "0"], schemes: SET },
    { rule: "+bitfield", command: ["BITFIELD", key, "GET", "u8", "0"], schemes: SET },
    { rule: "+publish", command: ["PUBLISH", channel, "doctor"], schemes: SCRIPTS, cluster: false },
    { rule: "+pubsub|numsub", command: ["PUBSUB", "NUMSUB", channel], schemes: SCRIPTS, cluster: false },
    { rule: "+spublish", command: ["SPUBLISH", channel, "doctor"], schemes: LUA, cluster: true },
    { rule: "+pubsub|shardnumsub", command: ["PUBSUB", "SHARDNUMSUB", channel], schemes: LUA, cluster: true },
  ];
}

/** What our scripts do: they read the time, then write. */
const SCRIPT = "local time = redis.call('TIME') redis.call('PEXPIRE', KEYS[1], 5000) return time[1]";

/** @param send to the server that keeps the lock `name` */
export async function findRefusals(
  driver: Driver,
  send: Send,
  name: string,
  terms: Terms,
  clock: Clock,
): Promise<Refusal[]> {
  const { scheme, prefix } = terms;
  const [key, , queue] = lockKeys(prefix, name);
  const channel = `${new Homes(prefix, driver.isCluster).of(name).channel}doctor`;
  const refusals: Refusal[] = [];
  const attempt = async (rule: string, command: readonly string[], by = send): Promise<boolean> => {
    const error = await by(command, key).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    const refusal = error === undefined ? undefined : refusalIn(error, { rule, command, prefix });
    if (refusal) refusals.push(refusal);
    return !refusal;
  };
  // Without the key, the others would make one of their own type.
  if (!(await attempt("+set", ["SET", key, "0", "PX", LIFE]))) return refusals;
  for (const probe of probes(key, queue, channel)) {
    const { schemes, cluster, rule, command } = probe;
    if (schemes && !schemes.includes(scheme)) continue;
    if (cluster !== undefined && cluster !== driver.isCluster) continue;
    await attempt(rule, command);
  }
  await attempt("+del", ["DEL", key]);
  const session = await driver.session(key).catch(() => undefined);
  if (!session) return unique(refusals);
  try {
    // On a connection of its own, because after SUBSCRIBE it takes no other command.
    const own: Send = (command) => answerOrSilence(session.send(command), clock);
    const subscribe = [driver.isCluster ? "SSUBSCRIBE" : "SUBSCRIBE", channel];
    for (const command of scheme === "set" ? transaction(key) : [subscribe]) {
      await attempt(`+${command[0]?.toLowerCase()}`, command, own);
    }
  } finally {
    session.close();
  }
  return unique(refusals);
}

/** Some clients do not pass on the answer to SUBSCRIBE, but they report a refusal. */
function answerOrSilence(answer: Promise<unknown>, clock: Clock): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(LONGEST_SILENCE, () => resolve(undefined));
    answer.then(resolve, reject).finally(() => timer.cancel());
  });
}

function transaction(key: string): string[][] {
  return [["WATCH", key], ["UNWATCH"], ["MULTI"], ["DISCARD"], ["MULTI"], ["EXEC"]];
}

interface Asked {
  readonly rule: string;
  readonly command: readonly string[];
  readonly prefix: string;
}

/** Undefined for an error that says that the command itself was allowed. */
function refusalIn(error: unknown, { rule, command, prefix }: Asked): Refusal | undefined {
  const said = saidBy(error instanceof SchemeError ? (error.causes[0] ?? error) : error);
  const name = command.slice(0, rule.includes("|") ? 2 : 1).join(" ");
  const refused = { command: name, said };
  if (/^ERR unknown (command|subcommand)|unsupported|not supported/i.test(said)) return { ...refused, rule: undefined };
  if (!/^NOPERM|no permissions|ACL failure/i.test(said)) return undefined;
  if (/channel/i.test(said)) return { ...refused, rule: `&${glob(prefix)}*` };
  if (/\bkeys?\b/i.test(said)) return { ...refused, rule: `~${glob(prefix)}* ~{${glob(prefix)}*` };
  return { ...refused, rule };
}

function glob(prefix: string): string {
  return prefix.replace(/[\\*?[\]]/g, "\\$&");
}

/** One for each rule, or each unknown command. */
function unique(refusals: readonly Refusal[]): Refusal[] {
  return [...new Map(refusals.map((each) => [each.rule ?? each.command, each])).values()];
}
