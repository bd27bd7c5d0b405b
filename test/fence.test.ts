/** Guards refuse the late write of an old holder: on a real Redis server, and on a real Postgres. */
import { readFileSync } from "node:fs";
import { PGlite } from "@electric-sql/pglite";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Server, startServer } from "../scripts/servers.ts";
import { FENCE_TABLE, notStale, passFence, RedisFence, sql, stamp, StaleFenceError } from "../src/fence.ts";
import type { Fenced, Sql } from "../src/fence.ts";
import { LockError, LockManager, SchemeError } from "../src/index.ts";
import { rejection, unique } from "./support/locks.ts";
import { until } from "./support/until.ts";
import { clientNames, openClient } from "./support/worlds.ts";

const old: Fenced & { name: string } = { name: "invoice", fence: 1_790_000_000_000_001, token: "a:1" };
const next = { name: "invoice", fence: 1_790_000_000_000_002, token: "b:1" };
const twin = { ...next, token: "c:1" };

describe.each(clientNames)("Redis data through %s", (clientName) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server.stop());

  async function open(options = {}, user?: string) {
    const url = user ? server.url.replace("//", `//${user}:secret@`) : server.url;
    const { client, end } = await openClient(clientName, url);
    const fence = new RedisFence(client, options);
    onTestFinished(() => {
      fence.close();
      end();
    });
    const send = async (...command: string[]): Promise<unknown> => {
      const { Redis } = await import("ioredis");
      const redis = new Redis(server.url);
      try {
        return await redis.call(...(command as [string]));
      } finally {
        redis.disconnect();
      }
    };
    return { fence, send };
  }

  test("a write is carried out and answers as the command does", async () => {
    const { fence, send } = await open();
    const key = unique("invoice");
    expect(await fence.write(old, "SET", key, "a b\u0000é{}")).toBe("OK");
    expect(await send("GET", key)).toBe("a b\u0000é{}");
    expect(await fence.write(next, "APPEND", key, 7)).toBe(Buffer.byteLength("a b\u0000é{}7"));
    expect(await fence.write(next, "DEL", key)).toBe(1);
    expect(await fence.write(next, "LPUSH", key, "x", "y")).toBe(2);
  });

  test("the write of an older holder is refused and changes nothing; the latest may go on", async () => {
    const { fence, send } = await open();
    const key = unique("invoice");
    await fence.write(old, "SET", key, "old");
    await fence.write(next, "SET", key, "new");
    const error = await rejection(fence.write(old, "SET", key, "late"));
    expect(error).toBeInstanceOf(StaleFenceError);
    expect(error).toBeInstanceOf(LockError);
    expect(error).toMatchObject({ code: "stale", fence: old.fence, latest: next.fence });
    expect(await send("GET", key)).toBe("new");
    await fence.write(next, "SET", key, "newer");
    expect(await send("GET", key)).toBe("newer");
  });

  test("an equal fence is accepted from the same holder only", async () => {
    const { fence } = await open();
    const key = unique("invoice");
    await fence.write(next, "SET", key, "1");
    await fence.write(next, "SET", key, "2");
    expect(await rejection(fence.write(twin, "SET", key, "3"))).toBeInstanceOf(StaleFenceError);
  });

  test("keys have guards of their own, in their slot, remembered for keepFor after the last write", async () => {
    const { fence, send } = await open({ keepFor: 5_000 });
    const key = unique("invoice");
    const tagged = `${unique("invoice")}{tag}`;
    await fence.write(next, "SET", key, "1");
    await fence.write(old, "SET", tagged, "1");
    expect(await send("GET", `{${key}}:guard`)).toBe(`${next.fence} ${next.token}`);
    expect(Number(await send("PTTL", `{${key}}:guard`))).toBeLessThanOrEqual(5_000);
    expect(Number(await send("PTTL", `${tagged}:guard`))).toBeGreaterThan(3_000);
  });

  test("a command that fails is thrown, and leaves the fence where it was", async () => {
    const { fence, send } = await open();
    const key = unique("invoice");
    // Where nobody has written yet, older holders may go on.
    expect(await rejection(fence.write(next, "NOSUCH", key))).toBeInstanceOf(SchemeError);
    expect(await rejection(fence.write(next, "SET", key))).toBeInstanceOf(SchemeError);
    await fence.write(old, "SET", key, "1");
    const error = await rejection(fence.write(next, "LPUSH", key, "2"));
    expect(error).toBeInstanceOf(SchemeError);
    expect(error).toMatchObject({ code: "wrong-type" });
    expect(await send("GET", `{${key}}:guard`)).toBe(`${old.fence} ${old.token}`);
    await fence.write(old, "APPEND", key, "2");
    // And those who were refused before are refused afterwards.
    await fence.write(next, "APPEND", key, "3");
    expect(await rejection(fence.write(next, "LPUSH", key, "2"))).toBeInstanceOf(SchemeError);
    expect(await rejection(fence.write(old, "SET", key, "late"))).toBeInstanceOf(StaleFenceError);
    expect(await rejection(fence.write(twin, "SET", key, "late"))).toBeInstanceOf(StaleFenceError);
    expect(await send("GET", key)).toBe("123");
  });

  test("a command that fails leaves nothing behind", async () => {
    const { fence, send } = await open();
    const key = unique("invoice");
    expect(await rejection(fence.write(next, "NOSUCH", key))).toBeInstanceOf(SchemeError);
    await until(async () => (await send("EXISTS", key, `{${key}}:guard`)) === 0, "there was no key");
  });

  test("an account that cannot move the fence writes nothing", async () => {
    const { send } = await open();
    await send("ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all", "-set");
    const { fence } = await open({}, "app");
    const key = unique("invoice");
    expect(await rejection(fence.write(next, "LPUSH", key, "1"))).toMatchObject({ code: "not-authorized" });
    expect(await send("EXISTS", key)).toBe(0);
  });

  test("7,900 arguments are written; more are refused before anything is sent", async () => {
    const { fence, send } = await open();
    const key = unique("list");
    const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
    expect(await fence.write(old, "RPUSH", key, ...numbers(7_900))).toBe(7_900);
    const error = await rejection(fence.write(next, "RPUSH", key, ...numbers(7_901)));
    expect(error).toBeInstanceOf(RangeError);
    expect((error as Error).message).toContain("at most 7900 arguments for one guarded write; got 7901");
    expect(await fence.write(old, "RPUSH", key, "still the latest")).toBe(7_901);
    expect(await send("LINDEX", key, "7899")).toBe("7899");
  });
});

describe("Postgres", () => {
  let db: PGlite;
  const query = (statement: Sql) => db.query<Record<string, unknown>>(statement.text, [...statement.values]);

  beforeAll(async () => {
    db = await PGlite.create();
    await db.exec(`${FENCE_TABLE}; ${FENCE_TABLE};
      CREATE TABLE invoice (id int PRIMARY KEY, total int, fence bigint, fence_token text, "odd ""name" bigint);`);
  });
  afterAll(() => db.close());

  const update = (id: number, total: number, by: Fenced) =>
    query(sql`UPDATE invoice SET total = ${total}, ${stamp(by)} WHERE id = ${id} AND ${notStale(by)}`);

  test("an UPDATE of an older holder changes no row; one of the latest does, and of an equal fence the same holder's", async () => {
    await db.exec("INSERT INTO invoice (id, total) VALUES (1, 0)");
    const changed: (number | undefined)[] = [];
    for (const by of [old, next, old, next, twin]) changed.push((await update(1, by.fence % 10, by)).affectedRows);
    expect(changed).toEqual([1, 1, 0, 1, 0]);
    const { rows } = await db.query("SELECT total, fence::text, fence_token FROM invoice WHERE id = 1");
    expect(rows).toEqual([{ total: 2, fence: String(next.fence), fence_token: "b:1" }]);
  });

  test.each(["README.md", "docs/guarantees.md", "docs/fencing.md"])(
    "the UPDATE in %s writes a row that nobody has written under a lock, and refuses who came too late",
    async (file) => {
      const text = readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
      const statement = /^```sql\n(UPDATE invoice [^]*?)^```$/m.exec(text)?.[1] ?? "";
      await db.exec("DELETE FROM invoice WHERE id = 3; INSERT INTO invoice (id, total) VALUES (3, 0)");
      const changed: (number | undefined)[] = [];
      for (const by of [old, next, old, next, twin]) {
        const { affectedRows } = await db.query(statement, [by.fence % 10, by.fence, by.token, 3]);
        changed.push(affectedRows);
      }
      expect(changed).toEqual([1, 1, 0, 1, 0]);
      const { rows } = await db.query("SELECT total, fence::text, fence_token FROM invoice WHERE id = 3");
      expect(rows).toEqual([{ total: 2, fence: String(next.fence), fence_token: next.token }]);
    },
  );

  test("passFence lets later holders through and gives no row to older ones", async () => {
    const passed: number[] = [];
    for (const by of [old, next, old, next, twin]) passed.push((await query(passFence(by))).rows.length);
    expect(passed).toEqual([1, 1, 0, 1, 0]);
    expect((await query(passFence({ ...old, name: "another lock" }))).rows).toHaveLength(1);
  });

  test("columns may be called otherwise, and are quoted", async () => {
    await db.exec("INSERT INTO invoice (id, total) VALUES (2, 0)");
    const columns = { fence: 'odd "name', token: "fence_token" };
    const set = () => sql`UPDATE invoice SET ${stamp(next, columns)} WHERE id = ${2} AND ${notStale(next, columns)}`;
    expect((await query(set())).affectedRows).toBe(1);
    const late = sql`UPDATE invoice SET ${stamp(old, columns)} WHERE id = ${2} AND ${notStale(old, columns)}`;
    expect((await query(late)).affectedRows).toBe(0);
  });

  test("a holder's values never become SQL", async () => {
    const token = "'; DROP TABLE invoice; --";
    await query(passFence({ name: token, fence: 5, token }));
    const { rows } = await db.query("SELECT token FROM holdfast_fence WHERE lock = $1", [token]);
    expect(rows).toEqual([{ token }]);
  });

  test("templates in templates number their parameters from left to right", () => {
    const inner = sql`b = ${2} OR c = ${3}`;
    expect(sql`a = ${1} AND (${inner}) AND d = ${4}`).toMatchObject({
      text: "a = $1 AND (b = $2 OR c = $3) AND d = $4",
      values: [1, 2, 3, 4],
    });
    expect(sql`SELECT 1`).toMatchObject({ text: "SELECT 1", values: [] });
    expect(sql`${sql`${1}`}${2}`).toMatchObject({ text: "$1$2", values: [1, 2] });
  });
});

test("a lock is what guards compare, and later grants pass earlier ones", async () => {
  const locks = new LockManager();
  const first = await locks.acquire("invoice");
  await first.release();
  await using second = await locks.acquire("invoice");
  expect(passFence(second).values).toEqual(["invoice", second.fence, second.token]);
  expect(second.fence).toBeGreaterThan(first.fence);
});

describe("refused before anything is sent", () => {
  const none = {} as Fenced;
  const guard = () => new RedisFence({ options: {}, duplicate: () => {}, on: () => {} } as never);
  test.each([
    [
      "no fence",
      () => notStale(none),
      "Expected the holder's fence to be a whole number, as a lock has it; got undefined.",
    ],
    ["a fence that is text", () => stamp({ ...old, fence: "1" as never }), 'got "1".'],
    [
      "no token",
      () => passFence({ ...old, token: "" }),
      'Expected the holder\'s token to be a string, as a lock has it; got "".',
    ],
    ["an unknown client", guard, "Expected a Redis client"],
  ])("%s", (_, call, message) => {
    expect(call).toThrow(TypeError);
    expect(call).toThrow(message);
  });

  test("what is not a command, not a key, or an argument that is neither text nor number", async () => {
    const { Redis } = await import("ioredis");
    const redis = new Redis({ lazyConnect: true });
    onTestFinished(() => redis.disconnect());
    const fence = new RedisFence(redis);
    for (const [command, key, arg] of [
      [1, "a", "b"],
      ["SET", "", "b"],
      ["SET", "a", null],
    ] as never[][]) {
      expect(await rejection(fence.write(old, command as never, key as never, arg as never))).toBeInstanceOf(TypeError);
    }
    expect(() => new RedisFence(redis, { keepFor: 10 })).toThrow(RangeError);
    expect(redis.status).toBe("wait");
  });
});
