import { hostname } from "node:os";
import { beforeEach, describe, expect, test } from "vitest";
import { LockManager } from "../../src/index.ts";
import { built, useCommandLine } from "../support/cli.ts";
import type { Run } from "../support/cli.ts";

const cli = useCommandLine();
beforeEach(() => cli.redis.flushall());

/** In line for the lock, one after the other. */
async function enqueue(name: string, ...modes: string[][]): Promise<Run[]> {
  const runs: Run[] = [];
  for (const mode of modes) {
    runs.push(cli.start(["exec", name, ...mode, "--", "true"]));
    await cli.hasWaiters(name, runs.length);
  }
  return runs;
}

async function lines(...args: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await cli.run(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.trimEnd().split("\n");
}

describe("ls", () => {
  test("shows a row for each holder and waiter, in order, in 80 columns", async () => {
    const holder = await cli.hold("deploy");
    await cli.hold("config", "--shared", "--label", "web1:1:node");
    const [first, second] = await enqueue("deploy", ["--shared"], []);
    const found = await lines("ls");
    expect(
      found.map((line) =>
        line
          .replace(/\b\d+s left/, "N left")
          .replace(/\d{16}/, "F")
          .split(/ {2,}/),
      ),
    ).toEqual([
      ["NAME", "MODE", "WHO", "STATE", "FENCE"],
      ["config", "shared", "web1:1:node", "N left", "F"],
      ["deploy", "exclusive", `${hostname()}:${holder.pid}:sh`, "N left", "F"],
      ["deploy", "shared", `${hostname()}:${first?.pid}:true`, "waits, #1"],
      ["deploy", "exclusive", `${hostname()}:${second?.pid}:true`, "waits, #2"],
    ]);
    const host = hostname().length;
    expect(Math.max(...found.map((line) => line.length))).toBeLessThanOrEqual(70 + host);
  });

  test("shows only locks that match the pattern", async () => {
    await cli.hold("deploy:web");
    await cli.hold("report");
    expect((await lines("ls", "deploy:*")).map((line) => line.split(" ")[0])).toEqual(["NAME", "deploy:web"]);
  });

  test("says that nothing is held", async () => {
    expect(await lines("ls")).toEqual(["No locks are held."]);
    expect(await lines("ls", "a*")).toEqual(['No locks match "a*".']);
    expect(await lines("ls", "--json")).toEqual(["[]"]);
  });

  test("quotes names that a terminal would obey", async () => {
    await cli.hold("red \x1b[31m\u202e");
    expect((await lines("ls"))[1]).toMatch(/^"red \\u001b\[31m\\u202e" {2}/);
  });

  test("shows keys of other libraries", async () => {
    await cli.redis.set("lock:other", "theirs");
    expect((await lines("ls"))[1]).toBe("other  exclusive  (foreign key)  no expiry");
  });

  test("ends quietly when its reader has gone", async () => {
    await cli.hold("deploy");
    const script = '("$0" "$@"; echo $? >&2) | true';
    const { stderr } = await cli.startProgram("sh", ["-c", script, process.execPath, built, "ls"]).ended;
    expect(["0\n", "141\n"]).toContain(stderr); // the write may win the race with the reader's end
  });
});

describe("show", () => {
  test("--json has holders and waiters, and null for what is unknown", async () => {
    const holder = await cli.hold("deploy");
    const [waiter] = await enqueue("deploy", ["--shared"]);
    expect(await cli.show("deploy")).toEqual({
      name: "deploy",
      mode: "exclusive",
      limit: null,
      holders: [
        {
          label: `${hostname()}:${holder.pid}:sh`,
          token: expect.stringMatching(/^[\w-]{22}:\w+$/),
          fence: expect.any(Number),
          remaining: expect.any(Number),
          permits: null,
        },
      ],
      waiters: [
        {
          label: `${hostname()}:${waiter?.pid}:true`,
          token: expect.stringMatching(/^[\w-]{22}:\w+$/),
          mode: "shared",
          permits: null,
        },
      ],
    });
    await cli.redis.set("lock:other", "theirs");
    const unknown = { label: null, token: null, fence: null, remaining: null, permits: null };
    const free = { name: "other", mode: "exclusive", limit: null, waiters: [] };
    expect(await cli.show("other")).toEqual({ ...free, holders: [unknown] });
  });

  test("tells the permits of a semaphore: how many there are, are held, are waited for", async () => {
    const locks = new LockManager(cli.redis);
    const gpu = locks.semaphore("gpu", 4);
    const held = await gpu.acquire({ permits: 3, label: "trains" });
    const waiter = gpu.acquire({ permits: 2, label: "waits" });
    await cli.hasWaiters("gpu", 1);
    const found = await lines("show", "gpu");
    expect(found[0]).toBe('"gpu" is a semaphore, 3 of 4 permits held by trains; 1 waiting.');
    expect(found[3]).toMatch(/^gpu +3 of 4 +trains +\d+s left +\d{16}$/);
    expect(found[4]).toMatch(/^gpu +2 of 4 +waits +waits, #1$/);
    expect(await cli.show("gpu")).toMatchObject({
      mode: "shared",
      limit: 4,
      holders: [{ label: "trains", permits: 3 }],
      waiters: [{ label: "waits", permits: 2 }],
    });
    await held.release();
    await (await waiter).release();
    await locks.close();
  });

  test("tells people in a sentence and a table", async () => {
    const holder = await cli.hold("deploy");
    const found = await lines("show", "deploy");
    expect(found[0]).toBe(`"deploy" is held by ${hostname()}:${holder.pid}:sh; nobody is waiting.`);
    expect(found[2]).toMatch(/^NAME {4}MODE {7}WHO +STATE +FENCE$/);
  });

  test("exits 0 for a free lock, and says that it is free", async () => {
    expect(await lines("show", "deploy")).toEqual(['"deploy" is free; nobody is waiting.']);
  });

  test.each(["ioredis", "redis"])("works over TCP and a unix socket with %s", async (client) => {
    const holder = await cli.hold("deploy", "--client", client);
    for (const url of [cli.server.url, `unix://${cli.server.socketPath}`, cli.server.socketPath]) {
      const { holders } = await cli.show("deploy", "--client", client, "--redis", url);
      expect(holders[0]?.label).toBe(`${hostname()}:${holder.pid}:sh`);
    }
  });
});

describe("release", () => {
  test("without --force shows who holds, frees nothing, and exits 64", async () => {
    const holder = await cli.hold("deploy");
    const { code, stdout, stderr } = await cli.run(["release", "deploy"]);
    expect({ code, shown: stdout.includes(`${hostname()}:${holder.pid}:sh`) }).toEqual({ code: 64, shown: true });
    expect(stderr).toMatch(/^holdfast: release takes the lock .* add --force\.\n$/);
    expect((await cli.stateOf("deploy")).held).toHaveLength(1);
  });

  test("--force shows who holds, frees the lock, and lets the next one in", async () => {
    const holder = await cli.hold("deploy");
    const [waiter] = await enqueue("deploy", []);
    const found = await lines("release", "deploy", "--force");
    expect(found[1]).toContain(`${hostname()}:${holder.pid}:sh`);
    expect(found.at(-1)).toBe(
      'Freed "deploy" from 1 holder. The holder has been notified. The next in the queue gets the lock.',
    );
    expect((await waiter?.ended)?.code).toBe(0);
    expect((await holder.ended).code).toBe(70);
  });

  test("--force frees a shared lock from all that hold it", async () => {
    const holders = [await cli.hold("deploy", "--shared"), await cli.hold("deploy", "--shared")];
    expect((await lines("release", "deploy", "--force")).at(-1)).toBe(
      'Freed "deploy" from 2 holders. The holders have been notified.',
    );
    for (const holder of holders) expect((await holder.ended).code).toBe(70);
  });

  test.each(["lua", "set"])(
    "--force --scheme %s frees locks of every scheme, and keys of other libraries, and says what holders learn",
    async (scheme) => {
      const later = "finds out when it next renews its lease, within a third of its ttl, and works on until then.";
      const learnt = {
        "by-lua": scheme === "lua" ? "The holder has been notified." : `The holder ${later}`,
        "by-set": `The holder ${later}`,
        "by-others": "Another library holds it; that holder is not notified, and may still be working.",
      };
      await cli.hold("by-lua");
      await cli.hold("by-set", "--scheme", "set");
      await cli.redis.set("lock:by-others", "theirs");
      for (const [name, holder] of Object.entries(learnt)) {
        const found = await lines("release", name, "--force", "--scheme", scheme);
        expect(found.at(-1)).toBe(`Freed "${name}" from 1 holder. ${holder}`);
        expect((await cli.stateOf(name)).held).toEqual([]);
      }
    },
  );

  test("--force of a free lock says so and exits 0", async () => {
    expect(await lines("release", "deploy", "--force")).toEqual(['"deploy" is free; nobody is waiting.']);
  });
});
