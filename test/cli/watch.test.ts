/** What stands on the screen of a terminal, and what is printed without one. */
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { startServer } from "../../scripts/servers.ts";
import { built, useCommandLine } from "../support/cli.ts";
import { enqueue, hold } from "../support/locks.ts";
import { TerminalRun } from "../support/terminal.ts";
import { until } from "../support/until.ts";

const cli = useCommandLine();
let locks: LockManager;

beforeEach(async () => {
  await cli.redis.flushall();
  locks = new LockManager(cli.redis, { label: "vm:1:app" });
});
afterEach(() => locks.close({ timeout: 0 }));

const ESCAPE = "\x1b";
const SHOW_CURSOR = `${ESCAPE}[?25h`;
const ENTER = "\r";
const [HOME, END, PAGE_UP] = ["H", "F", "5~"].map((key) => `${ESCAPE}[${key}`) as [string, string, string];
const OFTEN = ["--interval", "100ms"];

function watch(columns?: number, rows?: number, env?: NodeJS.ProcessEnv): TerminalRun {
  return new TerminalRun(cli, ["watch", ...OFTEN], columns, rows, env);
}

describe.runIf(process.platform === "linux")("at a terminal", () => {
  test("shows who holds and who waits on one screen of 80 by 24, and follows them", async () => {
    const watched = watch();
    await watched.shows("No locks.");
    const held = await hold(locks, "invoice:42", { label: "the holder" });
    await watched.shows(/> invoice:42 +the holder +\d+m?s +█+ 30s/);
    const waiter = enqueue(locks, "invoice:42", { label: "the waiter" });
    const screen = await watched.shows(/the holder.* 1 +\d+m?s *$/m);
    expect(screen).toContain("1 holder, 1 waiter for 1 lock, nothing is stuck");
    expect(screen.split("\n")).toHaveLength(23);
    await held.end();
    await watched.shows(/> invoice:42 +the waiter/);
    await waiter.end();
    await watched.shows("No locks.");
  });

  test("gives the terminal back when it ends: by q, by Ctrl-C, by a signal", async () => {
    for (const [end, code] of [
      [(watched: TerminalRun) => watched.type("q"), 0],
      [(watched: TerminalRun) => watched.type("\x03"), 130],
      [({ run }: TerminalRun) => run.signal("SIGTERM"), 143],
    ] as const) {
      const watched = watch();
      await watched.shows("No locks.");
      expect(watched.isOnSecondScreen).toBe(true);
      // script(1) passes no signal on, but ends the terminal.
      end(watched);
      const ended = await watched.run.ended;
      if (code === 143) continue;
      expect([ended.code, await watched.screen(), watched.isOnSecondScreen]).toEqual([code, "", false]);
      expect(ended.stdout).toContain(SHOW_CURSOR);
    }
  });

  test("filters, sorts and selects, and keeps what is selected while others come", async () => {
    await Promise.all(["b", "a", "c"].map((name) => locks.acquire(name)));
    await hold(locks, "other");
    void locks.acquire("c").catch(() => {});
    const watched = watch();
    await watched.shows(/> c {2}[^]*^ {2}\w/m);
    watched.type("s");
    await watched.shows(/by name\n.*\n> a [^]*^ {2}b [^]*^ {2}c /m);
    watched.type("j");
    await watched.shows(/^> b /m);
    await locks.acquire("aa");
    await watched.shows(/^ {2}aa [^]*^> b /m);
    for (const [keys, selected] of [
      ["kk", "a"],
      [END, "other"],
      ["\x1b[A", "c"],
      [HOME, "a"],
      [" ", "other"],
      [PAGE_UP, "a"],
      ["jj", "b"],
    ] as const) {
      watched.type(keys);
      await watched.shows(new RegExp(`^> ${selected} `, "m"));
    }
    watched.type("/oth");
    const screen = await watched.shows('1 of 5 locks with "oth"');
    expect(screen).toContain("\n/oth_");
    expect(screen).not.toMatch(/^. b /m);
    watched.type(ESCAPE);
    await watched.shows("5 of 5 locks, by name");
    watched.type("v");
    await watched.shows("1 of 5 locks, contended");
  });

  test("shows one lock, its holder and its queue in order, and goes back", async () => {
    // Each waiter in a place of its own.
    const queue = new LockManager(cli.redis, { turn: 1 });
    onTestFinished(() => queue.close({ timeout: 0 }));
    await hold(locks, "a", { label: "the holder" });
    for (let i = 1; i <= 30; i++) {
      enqueue(queue, "a", { label: `waiter ${i}` });
      await until(async () => (await locks.query({ name: "a" })).pending.length === i, `${i} waited`);
    }
    const watched = watch();
    await watched.shows(/> a /);
    watched.type(ENTER);
    const screen = await watched.shows(/#1 +waiter 1 +waits for \d+m?s +exclusive\n +#2 +waiter 2 /);
    expect(screen).toMatch(/^a {2}exclusive$/m);
    expect(screen).toMatch(/1 holder\n {2}the holder +█+ \d+s {2}\d+m?s held, fence \d{16}/);
    watched.type("j");
    await watched.shows(/in order\n +#2 +waiter 2 /);
    watched.type(ESCAPE);
    await watched.shows("1 of 1 lock, by attention");
  });

  test("frees a lock once its name was typed, and tells its holder", async () => {
    const held = await hold(locks, "a", { label: "the holder" });
    const watched = watch();
    await watched.shows(/> a /);
    watched.type("f");
    await watched.shows("Held by the holder. Type the lock's name to free it: _");
    watched.type(`b${ENTER}`);
    await watched.shows("Nothing was freed: that is not the lock's name.");
    expect(held.lock.held).toBe(true);
    watched.type("f");
    await watched.shows("Type the lock's name");
    watched.type(`a${ESCAPE}`);
    await watched.shows("q quit");
    watched.type("f");
    await watched.shows("Type the lock's name");
    watched.type(`a${ENTER}`);
    await watched.shows('Freed "a" from 1 holder. The holder has been notified.');
    await until(() => !held.lock.held, "the holder was told");
  });

  test.each([
    [50, 16, /^ {2}NAME +HOLDER +LEFT +WAITING$/m],
    [36, 12, /^ {2}NAME +LEFT +WAITING$/m],
    [24, 8, /^ {2}NAME +WAITING$/m],
    [20, 5, /^holdfast watch\nneeds 24 x 8\nq quit$/],
  ])("on %i by %i shows what fits, line by line", async (columns, rows, head) => {
    await Promise.all(Array.from({ length: 30 }, (_, i) => locks.acquire(`a lock with a long name ${i}`)));
    const watched = watch(columns, rows);
    const screen = await watched.shows(head);
    if (rows > 5) await watched.shows(/^> a lock/m);
    expect(screen).toMatch(/^holdfast watch/);
    expect(screen.split("\n").at(-1)).toMatch(/^q quit/);
  });

  test("has colors, unless NO_COLOR is set, and no other than ours", async () => {
    const color = new RegExp(`${ESCAPE}\\[3\\dm`);
    await cli.redis.set("lock:\x1b[36mforeign\u202e", "x");
    const [colored, plain] = [watch(120, 24), watch(120, 24, { NO_COLOR: "1" })];
    for (const each of [colored, plain]) await each.shows("\\u001b[36mforeign\\u202e");
    expect(colored.run.stdout).toMatch(color);
    expect(plain.run.stdout).not.toMatch(color);
    expect(plain.run.stdout).not.toMatch(/[\u202e]/);
  });

  test("says that the server does not answer, and goes on when it does", { timeout: 60_000 }, async () => {
    const other = await startServer();
    const watched = new TerminalRun(cli, ["watch", ...OFTEN, "--redis", other.url]);
    const logged = cli.start(["watch", ...OFTEN, "--redis", other.url]);
    const redis = new Redis(other.url);
    await redis.set("lock:a", "of another library", "PX", 600_000);
    redis.disconnect();
    await Promise.all([watched.shows("nothing is stuck"), logged.hasPrinted("holds  a")]);
    await other.crash();
    await watched.shows(/^holdfast watch.*\n.*(connect|answer)/);
    await logged.hasSaid("holdfast: cannot look at the locks: ");
    await other.start();
    await watched.shows("nothing is stuck");
    await logged.hasSaid("holdfast: the server answers again\n");
    expect(logged.stderr.trimEnd().split("\n")).toHaveLength(2);
    await other.stop();
  });

  test("is suspended by Ctrl-Z, gives the terminal back meanwhile, and draws again", async () => {
    await hold(locks, "a");
    const shell = cli.startShell();
    shell.type(`'${process.execPath}' '${built}' watch\n`);
    await shell.hasPrinted("1 holder");
    shell.type("\x1a");
    await shell.hasPrinted("Stopped");
    const drawn = shell.stdout.length;
    shell.type("fg\n");
    await until(() => shell.stdout.slice(drawn).includes("1 holder"), "it was drawn again");
    shell.type("q");
    // What is typed before it has ended is its own.
    await until(() => shell.stdout.slice(drawn).includes("\x1b[?1049l"), "the terminal was given back");
    shell.type("exit\n");
    expect((await shell.ended).code).toBe(0);
  });
});

describe("without a terminal", () => {
  test("prints a line for each change", async () => {
    const run = cli.start(["watch", ...OFTEN]);
    const held = await hold(locks, "a", { label: "the holder" });
    await run.hasPrinted("holds  a  the holder  exclusive  fence");
    const waiter = enqueue(locks, "a", { label: "the waiter" });
    await run.hasPrinted("waits  a  the waiter  #1");
    await held.end();
    await run.hasPrinted("ended  a  the holder  held about ");
    await run.hasPrinted("holds  a  the waiter  exclusive  fence");
    await waiter.end();
    await run.hasPrinted("ended  a  the waiter");
    await cli.redis.set("lock:a", "of another library");
    await run.hasPrinted("stuck  a  Never expires, held for ");
    run.signal("SIGTERM");
    const { code, stdout, stderr } = await run.ended;
    expect({ code, stderr }).toEqual({ code: 143, stderr: "" });
    for (const line of stdout.trimEnd().split("\n")) expect(line).toMatch(/^20[\d-]{8}T[\d:.]{12}Z {2}\w+ +a {2}/);
  });

  test("looks only at the locks that are asked for", async () => {
    await Promise.all([locks.acquire("invoice:1"), locks.acquire("order:1")]);
    const run = cli.start(["watch", "invoice:*", ...OFTEN]);
    await run.hasPrinted("invoice:1");
    await locks.acquire("invoice:2");
    await run.hasPrinted("invoice:2");
    expect(run.stdout).not.toContain("order");
  });

  test("refuses an interval that is too short", async () => {
    const { code, stderr } = await cli.run(["watch", "--interval", "10ms"]);
    expect(code).toBe(64);
    expect(stderr).toContain("Expected at least 100ms.");
  });
});
