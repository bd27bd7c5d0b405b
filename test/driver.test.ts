/** How long a call may take, what a server's words mean, and how scripts are sent. */
import { describe, expect, test } from "vitest";
import { COMMAND_LIMIT, TimeLimit } from "../src/drivers/time-limit.ts";
import type { Timer } from "../src/clock.ts";
import { type Driver } from "../src/drivers/driver.ts";
import { runScript } from "../src/drivers/run-script.ts";
import { schemeError } from "../src/drivers/server-errors.ts";
import { SchemeError, type SchemeErrorCode } from "../src/errors.ts";
import { ManualClock } from "../src/testing.ts";
import { deferred, rejection } from "./support/locks.ts";

/** A driver that answers each command as the test says. */
function driver(send: Driver["send"] = () => Promise.resolve("OK")): Driver & { complaint: unknown } {
  const unused = (): never => {
    throw new Error("not used by these tests");
  };
  const rest = {
    isCluster: false,
    keyPrefix: "",
    inOrder: unused,
    together: (run: () => void) => run(),
    transaction: unused,
    written: () => Promise.resolve(),
    scripts: new Map<string, Set<string>>(),
    subscribe: unused,
    session: unused,
    ownerOf: () => "",
    servers: unused,
    close: unused,
  };
  return { client: "ioredis", drops: 0, complaint: undefined, send, ...rest };
}

/** Its timers fire late, as those of a process that was blocked. */
class LateClock extends ManualClock {
  late = 0;

  override after(delay: number, run: (firedAt: number) => void): Timer {
    return super.after(delay + this.late, run);
  }
}

describe("the time limit", () => {
  const limited = () => {
    const clock = new ManualClock();
    const to = driver();
    return { clock, to, limit: new TimeLimit(clock, to) };
  };

  test("a call that is answered settles as it does, and leaves no call to fail later", async () => {
    const { clock, limit } = limited();
    expect(await limit.guard(Promise.resolve(7))).toBe(7);
    const error = await rejection(limit.guard(Promise.reject(new Error("OOM command not allowed"))));
    expect(error).toBeInstanceOf(SchemeError);
    expect(error).toMatchObject({ code: "out-of-memory" });
    await clock.advance(COMMAND_LIMIT);
    expect(clock.pending).toBe(0);
  });

  test("a call that is never answered fails at the limit and not before, as transient", async () => {
    const { clock, limit } = limited();
    let failed: unknown;
    limit.guard(deferred().promise).catch((error: unknown) => (failed = error));
    await clock.advance(COMMAND_LIMIT - 1);
    expect(failed).toBeUndefined();
    await clock.advance(1);
    expect(failed).toBeInstanceOf(SchemeError);
    expect(failed).toMatchObject({ code: "unreachable", transient: true });
    expect((failed as SchemeError).message).toContain(`no answer within ${COMMAND_LIMIT} ms`);
  });

  test("a call that is not answered in time because the process was blocked has another second to be answered", async () => {
    const clock = new LateClock();
    const limit = new TimeLimit(clock, driver());
    const answer = deferred<string>();
    const outcomes: unknown[] = [];
    const note = (outcome: unknown): void => void outcomes.push(outcome);
    clock.late = 600;
    limit.guard(answer.promise).then(note, note);
    limit.guard(deferred().promise).then(note, note);
    clock.late = 0;
    await clock.advance(COMMAND_LIMIT + 1_599);
    expect(outcomes).toEqual([]);
    answer.resolve("late");
    await clock.advance(0);
    expect(outcomes).toEqual(["late"]);
    await clock.advance(1);
    expect(outcomes).toMatchObject(["late", { code: "unreachable" }]);
    expect(clock.pending).toBe(0);
  });

  test("a call fails also if the process is blocked again and again", async () => {
    const clock = new LateClock();
    clock.late = 600;
    const refused = rejection(new TimeLimit(clock, driver()).guard(deferred().promise));
    await clock.advance(COMMAND_LIMIT + 1_000 + 2 * clock.late);
    expect(await refused).toMatchObject({ code: "unreachable" });
    expect(clock.pending).toBe(0);
  });

  test("what the connection last complained of is the reason that is given", async () => {
    const { clock, limit, to } = limited();
    const refused = rejection(limit.guard(deferred().promise));
    to.complaint = new Error("connect ECONNREFUSED 127.0.0.1:6379");
    await clock.advance(COMMAND_LIMIT);
    expect(await refused).toMatchObject({ code: "unreachable", causes: [to.complaint], cause: to.complaint });
    expect(((await refused) as Error).message).toContain("ECONNREFUSED");
  });

  test.each(["", "Command timed out", "Reached the max retries per request limit (which is 20)."])(
    "a client that stops waiting by itself (%j) is not the reason, but what its connection complained of",
    async (text) => {
      const { limit, to } = limited();
      to.complaint = new Error("connect ECONNREFUSED 127.0.0.1:6379");
      expect(await rejection(limit.guard(Promise.reject(new Error(text))))).toMatchObject({ cause: to.complaint });
    },
  );

  test("a connection that complains of being closed is not blamed on the client's user", async () => {
    const { limit, to } = limited();
    to.complaint = new Error("Connection is closed.");
    const error = await rejection(limit.guard(Promise.reject(to.complaint)));
    expect(error).toMatchObject({ code: "unreachable", transient: true });
    expect((error as Error).message).toContain("the connection was lost");
  });

  test("each of several calls has its own time, whichever of them are answered", async () => {
    const { clock, limit } = limited();
    const failedAt: Record<string, number> = {};
    const call = (name: string) => {
      const { promise, resolve } = deferred();
      limit.guard(promise).catch(() => (failedAt[name] = clock.now()));
      return resolve;
    };
    call("first");
    await clock.advance(1_000);
    const answer = call("second");
    await clock.advance(1_000);
    call("third");
    call("fourth");
    answer();
    await clock.advance(COMMAND_LIMIT);
    expect(failedAt).toEqual({ first: COMMAND_LIMIT, third: COMMAND_LIMIT + 2_000, fourth: COMMAND_LIMIT + 2_000 });
  });

  test("one timer serves all calls, and none is left when all have failed", async () => {
    const { clock, limit } = limited();
    const calls = Array.from({ length: 20 }, () => rejection(limit.guard(deferred().promise)));
    expect(clock.pending).toBe(1);
    await clock.advance(COMMAND_LIMIT);
    await Promise.all(calls);
    expect(clock.pending).toBe(0);
  });

  test("an answer that comes after the limit is nobody's unhandled rejection", async () => {
    const { clock, limit } = limited();
    const late = deferred();
    const refused = rejection(limit.guard(late.promise));
    await clock.advance(COMMAND_LIMIT);
    await refused;
    late.reject(new Error("too late"));
    await clock.advance(0);
  });
});

/** Printed by Redis 7.0 (and where marked by others), or by the client libraries. */
const said: [SchemeErrorCode, "transient" | "final", string][] = [
  ["no-scripting", "final", "NOPERM this user has no permissions to run the 'eval' command"],
  ["no-scripting", "final", "NOPERM this user has no permissions to run the 'evalsha' command"],
  ["no-scripting", "final", "NOPERM User default has no permissions to run the 'evalsha' command"], // Redis 7.2
  ["no-scripting", "final", "ERR unknown command 'evalsha', with args beginning with: 'abc' '0' "],
  ["no-scripting", "final", "ERR unknown command `EVALSHA`, with args beginning with: `abc`, `0`, "], // Redis 6
  ["not-authorized", "final", "NOAUTH Authentication required."],
  ["not-authorized", "final", "WRONGPASS invalid username-password pair or user is disabled."],
  ["not-authorized", "final", "NOPERM this user has no permissions to access one of the keys used as arguments"],
  ["not-authorized", "final", "NOPERM No permissions to access a key"], // Redis 7.2
  ["not-authorized", "final", "NOPERM this user has no permissions to access one of the channels used as arguments"],
  ["not-authorized", "final", "ERR invalid password"], // Redis 5
  [
    "not-authorized",
    "final",
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
  ],
  [
    "not-authorized",
    "final",
    "ERR The user executing the script can't run this command or subcommand script: 131b5f2e, on @user_script:1.",
  ],
  [
    "not-authorized",
    "final",
    "ERR ACL failure in script: User bob has no permissions to run the 'set' command script: 131b5f2e, on @user_script:1.", // Redis 7.2
  ],
  ["read-only", "transient", "READONLY You can't write against a read only replica."],
  [
    "read-only",
    "transient",
    "READONLY You can't write against a read only replica. script: 7ec1c1d1, on @user_script:1.",
  ],
  ["read-only", "transient", "NOREPLICAS Not enough good replicas to write."],
  ["read-only", "transient", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."],
  [
    "read-only",
    "transient",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
  ],
  ["loading", "transient", "LOADING Redis is loading the dataset in memory"],
  ["out-of-memory", "transient", "OOM command not allowed when used memory > 'maxmemory'."],
  [
    "out-of-memory",
    "transient",
    "OOM command not allowed when used memory > 'maxmemory'. script: 131b5f2e, on @user_script:1.",
  ],
  ["wrong-type", "final", "WRONGTYPE Operation against a key holding the wrong kind of value"],
  ["wrong-type", "final", "WRONGTYPE the key of the lock holds a list"], // our own scripts
  ["no-wait", "final", "ERR unknown command 'WAITAOF', with args beginning with: '1' '0' '100' "],
  ["no-wait", "final", "ERR unknown command `wait`, with args beginning with: `1`, `100`, "], // Redis 6
  ["no-wait", "final", "NOPERM this user has no permissions to run the 'wait' command"],
  ["no-wait", "final", "NOPERM User app has no permissions to run the 'waitaof' command"], // Redis 7.2
  ["no-wait", "final", "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."], // Redis 7.2
  [
    "read-only",
    "transient",
    "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
  ],
  ["server", "transient", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."],
  ["server", "transient", "CLUSTERDOWN Hash slot not served"],
  ["server", "transient", "MOVED 3999 127.0.0.1:6381"],
  ["server", "transient", "ASK 3999 127.0.0.1:6381"],
  ["server", "transient", "TRYAGAIN Multiple keys request during rehashing of slot"],
  ["server", "final", "ERR value is not an integer or out of range"],
  ["server", "final", "ERR unknown command 'DELIFEQ', with args beginning with: 'lock:evaluation' 'x' "],
  ["server", "final", "EXECABORT Transaction discarded because of previous errors."],
  ["server", "final", "CROSSSLOT Keys in request don't hash to the same slot"],
  ["unreachable", "transient", "connect ECONNREFUSED 127.0.0.1:6379"],
  ["unreachable", "transient", "getaddrinfo ENOTFOUND redis.example"],
  ["unreachable", "transient", "read ECONNRESET"],
  ["unreachable", "transient", "Socket closed unexpectedly"], // node-redis
  ["unreachable", "transient", "Stream isn't writeable and enableOfflineQueue options is false"], // ioredis
  [
    "unreachable",
    "transient",
    'Reached the max retries per request limit (which is 20). Refer to "maxRetriesPerRequest" option for details.', // ioredis
  ],
  ["unreachable", "final", "Connection is closed."], // ioredis
  ["unreachable", "final", "The client is closed"], // node-redis
  ["unreachable", "final", "Connection has failed"], // Bun
  ["unreachable", "final", "self-signed certificate in certificate chain"],
  ["unreachable", "final", "node-redis gave up its connection: Socket timeout timeout."], // our driver
  ["unreachable", "transient", "no answer within 5000 ms"], // our time limit
  ["client-busy", "final", "Connection in subscriber mode, only subscriber commands may be used"], // ioredis
  [
    "client-busy",
    "final",
    "ERR Can't execute 'evalsha': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
  ],
  [
    "client-busy",
    "final",
    "ERR Can't execute 'eval': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT are allowed in this context", // Redis 6
  ],
  ["client-busy", "final", "Connection is in monitoring mode, can't process commands."], // ioredis
  ["client-busy", "transient", "ERR MULTI calls can not be nested"],
  ["client-busy", "transient", "The client is in a MULTI, so its commands wait for EXEC"], // our driver
  ["wrong-database", "final", "ERR DB index is out of range"],
  ["wrong-database", "final", "ERR invalid DB index"], // Redis before 6
  ["wrong-database", "final", "SELECT 5 was sent on this client, which was in database 0"], // our driver
  ["server", "final", "It is one server of a Cluster, and knows other keys (MOVED 1 host:1)"], // our driver
  ["server", "final", "Failed to refresh slots cache (ERR This instance has cluster support disabled)"], // ioredis
  ["server", "final", "All sentinels are unreachable. Last error: ERR No such master with that name"], // ioredis
  ["unreachable", "transient", "write EPROTO 4097:error:0A00010B:SSL routines:ssl3_get_record:wrong version number"],
  ["read-only", "transient", "UNBLOCKED force unblock from blocking operation, instance state changed"],
];

describe("what a server or client says", () => {
  test.each(said)("is %s, %s: %s", (code, kind, text) => {
    const cause = new Error(text);
    const error = schemeError(cause);
    expect({ code: error.code, transient: error.transient }).toEqual({ code, transient: kind === "transient" });
    const words = text.replace(/, with args beginning with:.*|\.$/g, "");
    expect(error.message, "says what was said").toContain(words);
    expect(error.message, "and what to do").toMatch(
      /\. [A-Za-z][^]{15,}\. \(holdfast\/docs\/troubleshooting\.md#[a-z-]+\)$/,
    );
    expect(error.message).not.toContain("args beginning");
    expect([error.cause, error.causes]).toEqual([cause, [cause]]);
  });

  test("an error without a message is told by its code", () => {
    const error = schemeError(Object.assign(new AggregateError([], ""), { code: "ECONNREFUSED" }));
    expect(error).toMatchObject({ code: "unreachable", transient: true });
    expect(error.message).toContain("ECONNREFUSED");
  });

  test("what is no error is shown as it is", () => {
    expect(schemeError("MOVED 1 host:1")).toMatchObject({ code: "server", causes: ["MOVED 1 host:1"] });
  });

  test("a Cluster of which no server answers is told by what they answered", () => {
    const cause = Object.assign(new Error("Failed to refresh slots cache."), {
      lastNodeError: new Error("ERR This instance has cluster support disabled"),
    });
    expect(schemeError(cause).message).toContain("not part of a Cluster");
  });

  test("our own error stays the same one", () => {
    const error = schemeError(new Error("LOADING"));
    expect(schemeError(error)).toBe(error);
  });
});

describe("a script", () => {
  const script = { name: "s", sha: "0a1b", source: "return 1" };
  const items = { keys: ["a", "b", "c", "d"], args: ["1", "2"] };
  const call = { keys: ["once"] as [string], args: ["shared"] as [string] };
  const tail = ["5", "once", "a", "b", "c", "d", "shared", "1", "2"];

  const recorder = (refused = "") => {
    const sent: (readonly string[])[] = [];
    const to = driver((command) => {
      sent.push(command);
      if (command[0] === refused) throw new Error("NOSCRIPT No matching script. Please use EVAL.");
      return Promise.resolve(["x", "y"]);
    });
    return { sent, to };
  };

  test("is sent whole once, then by its SHA: all keys, what the items share, their arguments", async () => {
    const { sent, to } = recorder();
    const calls = [runScript(to, script, call, items), runScript(to, script, call, items)];
    expect(await Promise.all(calls)).toEqual([
      ["x", "y"],
      ["x", "y"],
    ]);
    expect(sent).toEqual([
      ["EVAL", "return 1", ...tail],
      ["EVALSHA", "0a1b", ...tail],
    ]);
  });

  test("is sent whole to each server of a Cluster, and again after a connection was lost", async () => {
    const { sent, to } = recorder();
    let owner = "a";
    to.ownerOf = () => owner;
    const names = async (): Promise<unknown> => {
      await runScript(to, script, call, items);
      return sent.at(-1)?.[0];
    };
    expect([await names(), await names()]).toEqual(["EVAL", "EVALSHA"]);
    owner = "b";
    expect([await names(), await names()]).toEqual(["EVAL", "EVALSHA"]);
    to.scripts.clear();
    expect([await names(), await names()]).toEqual(["EVAL", "EVALSHA"]);
  });

  test("that the server has forgotten is sent whole again, with the same items", async () => {
    const { sent, to } = recorder("EVALSHA");
    await runScript(to, script, call, items);
    expect(await runScript(to, script, call, items)).toEqual(["x", "y"]);
    expect(sent.slice(1)).toEqual([
      ["EVALSHA", "0a1b", ...tail],
      ["EVAL", "return 1", ...tail],
    ]);
  });

  test("that fails for any other reason is not sent again", async () => {
    const cause = new Error("READONLY You can't write against a read only replica.");
    let sent = 0;
    const to = driver(() => {
      sent++;
      return Promise.reject(cause);
    });
    expect(await rejection(runScript(to, script, call, items))).toBe(cause);
    expect(sent).toBe(1);
  });
});
