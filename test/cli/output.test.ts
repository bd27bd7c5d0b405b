import { hostname } from "node:os";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { built, useCommandLine } from "../support/cli.ts";
import type { Ended } from "../support/cli.ts";

const cli = useCommandLine();
beforeEach(() => cli.redis.flushall());

/** Colours, the title of the window, 8-bit controls, what turns the line round, what cannot be seen, a line of its own. */
const HOSTILE = "\x1b[31m\x1b]0;t\x07\x9b1m\u202e\u2066\u200b\u2028\ufeff\r\nholdfast: all is well";

/** A character that would do something, or hide. */
const ODD = /(?!\n)[\p{C}\p{Zl}\p{Zp}]/u;

function expectHarmless({ stdout, stderr }: Ended): void {
  expect(stdout + stderr).not.toMatch(ODD);
  expect(stdout + stderr).not.toMatch(/^holdfast: all is well/m);
}

describe("what strangers wrote reaches no terminal as it is:", () => {
  let locks: LockManager;

  beforeEach(async () => {
    locks = new LockManager(cli.redis);
    await locks.acquire(HOSTILE, { label: HOSTILE });
    await locks.acquire("plain", { label: HOSTILE });
    await locks.semaphore(`gpu ${HOSTILE}`, 2).acquire({ label: HOSTILE });
    await cli.redis.set(`lock:foreign ${HOSTILE}`, HOSTILE);
  });
  afterEach(() => locks.close());

  test.each([
    ["ls", ["ls"]],
    ["ls of nothing", ["ls", `${HOSTILE}x`]],
    ["ls --json", ["ls", "--json"]],
    ["show", ["show", HOSTILE]],
    ["show --json", ["show", HOSTILE, "--json"]],
    ["release", ["release", HOSTILE]],
    ["release --force", ["release", HOSTILE, "--force"]],
    ["release --force of another library's key", ["release", `foreign ${HOSTILE}`, "--force"]],
    ["exec that does not wait", ["exec", HOSTILE, "--wait", "0", "--", "true"]],
    ["exec that gives up", ["exec", "plain", "--lock", HOSTILE, "--wait", "400ms", "--", "true"]],
    ["exec with another limit", ["exec", `gpu ${HOSTILE}`, "--permits", "1/3", "--", "true"]],
    ["once", ["once", HOSTILE, "--at-most", "1m", "--", "true"]],
    ["a program that is missing", ["exec", "a", "--", HOSTILE]],
    ["an unknown command", [HOSTILE]],
    ["an unknown option", ["ls", `--${HOSTILE}`]],
    ["a bad value", ["exec", "a", "--ttl", HOSTILE, "--", "true"]],
    ["a bad prefix", ["ls", "--prefix", `{{${HOSTILE}`]],
    ["a bad URL", ["ls", "--redis", HOSTILE]],
    ["the URL of a server that is not there", ["ls", "--redis", `redis://${encodeURIComponent(HOSTILE)}:6379`]],
    ["a forgotten --", ["exec", HOSTILE, "echo", HOSTILE]],
    ["too many names", ["exec", HOSTILE, HOSTILE, "--", "true"]],
  ])("%s", async (_, args) => {
    const ended = await cli.run(args);
    expect(ended.stdout + ended.stderr).not.toBe("");
    expectHarmless(ended);
  });

  test("the loss of a lock, and an election", async () => {
    const name = `other ${HOSTILE}`;
    const run = cli.start(["elect", name, "--", "sh", "-c", "echo leads; exec sleep 60"]);
    await run.hasPrinted("leads");
    await cli.run(["release", name, "--force"]);
    await run.hasSaid("it was taken by force");
    run.signal("SIGTERM");
    expectHarmless(await run.ended);
  });

  test("a server's reply", async () => {
    const user = HOSTILE.replace(/\s/g, "");
    await cli.redis.acl("SETUSER", user, "on", "nopass", "+@connection", "+@read", "~*");
    onTestFinished(async () => void (await cli.redis.acl("DELUSER", user)));
    const url = `redis://${encodeURIComponent(user)}:x@127.0.0.1:${cli.server.port}`;
    const ended = await cli.run(["exec", "a", "--redis", url, "--", "true"]);
    expect(ended).toMatchObject({ code: 69, stderr: expect.stringContaining("NOPERM") });
    expectHarmless(ended);
  });

  test("yet --json keeps all of it", async () => {
    const { stdout } = await cli.run(["show", HOSTILE, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ name: HOSTILE, holders: [{ label: HOSTILE }] });
  });
});

/** The exit code of holdfast, whose stdout goes where the script says; and what it said. */
async function endOf(script: string, ...args: string[]): Promise<{ code: number; said: string }> {
  const command = ["-c", `exec 3>&1; ${script}`, "bash", process.execPath, built, ...args];
  const { stdout, stderr } = await cli.startProgram("bash", command).ended;
  return { code: Number(stdout), said: stderr };
}

describe("output that cannot be written", () => {
  /** More than a pipe holds. */
  const fill = async (): Promise<void> => {
    const script = 'for i = 1, 2000 do redis.call("SET", "lock:job:" .. i, "theirs", "PX", 60000) end';
    await cli.redis.eval(script, 0);
  };

  test.each([[["ls"]], [["ls", "--json"]], [["--help"]], [["exec", "--help"]], [["--version"]]])(
    "%j ends without a word, as SIGPIPE would end it, when its reader has gone",
    async (args) => {
      if (args[0] === "ls") await fill();
      const script =
        'mkfifo "$TMPDIR/gone" && { exec 4<>"$TMPDIR/gone" 5>"$TMPDIR/gone" 4<&-; "$@" >&5; echo $? >&3; }';
      const { code, said } = await endOf(`TMPDIR=$(mktemp -d); ${script}; rm -r "$TMPDIR"`, ...args);
      expect({ code, said }).toEqual({ code: 141, said: "" });
    },
  );

  test.each([[["ls"]], [["show", "a", "--json"]], [["--help"]]])(
    "%j on a full disk says so, and exits 74",
    async (args) => {
      const { code, said } = await endOf('"$@" >/dev/full; echo $? >&3', ...args);
      expect(code).toBe(74);
      expect(said).toMatch(/^holdfast: cannot write the output: .*no space left on device.*\n$/);
    },
  );

  test("ls waits for a slow reader, and writes all", async () => {
    await fill();
    const { stdout } = await cli.startProgram("sh", [
      "-c",
      '"$@" | (sleep 0.5; wc -l)',
      "sh",
      process.execPath,
      built,
      "ls",
    ]).ended;
    expect(Number(stdout)).toBe(2001);
  });

  test("messages that cannot be written change nothing", async () => {
    const { code, said } = await endOf('"$@" 2>/dev/full; echo $? >&3', "exec", "a", "--", "no-such-command");
    expect({ code, said }).toEqual({ code: 127, said: "" });
  });
});

describe("--quiet", () => {
  test("prints nothing where all goes as it may: a wait, a lock that is not free, an interrupted wait", async () => {
    await cli.hold("busy");
    const busy = await cli.run(["exec", "busy", "--wait", "500ms", "--quiet", "--", "true"]);
    expect(busy).toMatchObject({ code: 75, stdout: "", stderr: "" });
    const waiter = cli.start(["exec", "busy", "--quiet", "--", "true"]);
    await cli.hasWaiters("busy", 1);
    waiter.signal("SIGTERM");
    expect(await waiter.ended).toMatchObject({ code: 143, stdout: "", stderr: "" });
    const once = await cli.run(["once", "busy", "--at-most", "1m", "--quiet", "--", "true"]);
    expect(once).toMatchObject({ code: 0, stdout: "", stderr: "" });
  });

  test("still prints errors: a lock that is lost, a program that is missing, a server that is not there", async () => {
    const holder = cli.start(["exec", "a", "--quiet", "--", "sh", "-c", "echo held; exec sleep 60"]);
    await holder.hasPrinted("held");
    await cli.run(["release", "a", "--force"]);
    expect((await holder.ended).stderr).toMatch(/^holdfast: lost "a" /);
    const missing = await cli.run(["exec", "a", "--quiet", "--", "no-such-command"]);
    expect(missing.stderr).toBe('holdfast: command not found: "no-such-command"\n');
    const away = await cli.run(["exec", "a", "--quiet", "--redis", "redis://127.0.0.1:1", "--", "true"]);
    expect(away.stderr).toContain("ECONNREFUSED");
  });
});

describe("tables", () => {
  test("fit into 80 columns, whatever the names and labels; --json has them whole", async () => {
    const locks = new LockManager(cli.redis);
    const [long, wide] = ["invoice:".repeat(30), "日本".repeat(60)];
    await locks.acquire(long, { label: "label ".repeat(40).trim() });
    await locks.acquire(wide, { label: "短い" });
    const { stdout } = await cli.run(["ls"]);
    // Those of two columns each count twice.
    const width = (line: string): number => line.length + (line.match(/[日本短い]/g)?.length ?? 0);
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map(width).every((each) => each <= 80)).toBe(true);
    expect(lines[1]).toMatch(/^invoice:[^ ]*… {2}exclusive {2}label [^…]*… {2}\d+s left {2,}\d{16}$/);
    expect(lines[2]).toMatch(/^日本[^ ]*… {2,}exclusive {2}短い {2,}\d+s left {2,}\d{16}$/);
    const names = (JSON.parse((await cli.run(["ls", "--json"])).stdout) as { name: string }[]).map(({ name }) => name);
    expect(names).toEqual([long, wide]);
    await locks.close();
  });

  test("keep names and labels whole where there is room", async () => {
    const holder = await cli.hold("deploy:production:eu-west");
    const { stdout } = await cli.run(["show", "deploy:production:eu-west"]);
    expect(stdout).toContain(`deploy:production:eu-west  exclusive  ${hostname()}:${holder.pid}:sh  `);
  });
});

test("ls lists 40,000 locks, as a table and as JSON", async () => {
  const script =
    'for i = 1, 40000 do redis.call("SET", "lock:job:" .. i, "AAAAAAAAAAAAAAAAAAAAAA:" .. i .. "#7", "PX", 600000) end';
  await cli.redis.eval(script, 0);
  const [table, json] = await Promise.all([cli.run(["ls"]), cli.run(["ls", "--json"])]);
  expect(table.stdout.trimEnd().split("\n")).toHaveLength(40_001);
  expect(JSON.parse(json.stdout)).toHaveLength(40_000);
});
