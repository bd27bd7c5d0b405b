/** An account that lacks one right of those that are documented is told which. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { findRefusals } from "../../src/doctor/facts/rights.ts";
import { driverFor } from "../../src/drivers/index.ts";
import { LockManager, SchemeError } from "../../src/index.ts";
import { unique } from "../support/locks.ts";
import { openStage, unhandledRejections } from "../support/stage.ts";

const protocol = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");
const sentences = {
  lua: /^An account needs the key patterns .*$/m,
  set: /^An account of the scheme `set` needs the key patterns .*$/m,
};

/** Rules of ACL SETUSER, as the documentation has them. What only some servers or options need is left out. */
function documentedRules(scheme: keyof typeof sentences): string[] {
  const sentence = sentences[scheme].exec(protocol)?.[0] ?? "";
  const rules = sentence.split("`").filter((each) => /^[~&+]/.test(each));
  return rules.flatMap((each) => each.split(" ")).filter((rule) => !/^\+(del(ex|ifeq)|wait|info|client.*)$/.test(rule));
}

/** What its client needs to connect. */
const CONNECT = ["+hello", "+ping", "+info", "+client"];
/** What the doctor and the locks do without a part of these. */
const CODES = ["not-authorized", "no-scripting", "timeout", "lost"];

/** All that a program does; what it rejects with. */
async function everything(locks: LockManager, other: LockManager): Promise<unknown[]> {
  const errors: unknown[] = [];
  const attempt = async (run: () => Promise<unknown>): Promise<void> => {
    await run().catch((error: unknown) => errors.push(error));
  };
  const name = unique();
  await attempt(async () => {
    await using lock = await locks.acquire(name, { ttl: 4_000, waitTimeout: 3_000 });
    const waiter = other.acquire(name, { ttl: 4_000, waitTimeout: 6_000 }).then((next) => next.release());
    waiter.catch(() => {});
    await lock.extend(500);
    await lock.release();
    await waiter;
  });
  await attempt(() => locks.request(name, { ttl: 4_000, steal: true }, () => 1));
  await attempt(() => locks.query());
  await attempt(() => locks.forceRelease(name));
  return errors;
}

test.for(["lua", "set"] as const)(
  "%s: without any one of the documented rights, what fails says where to ask, and the doctor names that right",
  async (scheme, t) => {
    const rejections = unhandledRejections(t);
    const { redis, server, client } = await openStage(t);
    const rules = documentedRules(scheme);
    expect(rules.length).toBeGreaterThan(10);
    const check = async (lacking: string, i: number): Promise<void> => {
      const user = `app${i}`;
      const granted = rules.filter((rule) => rule !== lacking);
      await redis.call("ACL", "SETUSER", user, "reset", "on", ">secret", ...CONNECT, ...granted);
      const account = { username: user, password: "secret" };
      const clients = [client(server.url, account), client(server.url, account)] as const;
      const [locks, other] = clients.map((each) => new LockManager(each, { scheme })) as [LockManager, LockManager];
      for (const error of await everything(locks, other)) {
        expect(error, lacking).toMatchObject({ code: expect.toSatisfy((code) => CODES.includes(code as string)) });
        if (error instanceof SchemeError) expect(error.message, lacking).toMatch(/holdfast doctor|scripts/);
      }
      const driver = driverFor(clients[0]);
      const send = (command: readonly string[]): Promise<unknown> => driver.send(command);
      const refused = await findRefusals(driver, send, "doctor", { scheme, prefix: "lock:" } as never, systemClock);
      driver.close();
      await Promise.all([locks.close(), other.close()]);
      const named = refused.map(({ rule }) => rule).join(" ");
      // Two rules of keys are given as one; `query` alone needs SCAN.
      if (lacking !== "+scan") expect(named, `without ${lacking}`).toContain(lacking);
    };
    await Promise.all(rules.map(check));
    expect(rejections.map(String)).toEqual([]);
  },
);
