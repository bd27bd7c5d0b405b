import { describe, expect, test } from "vitest";
import {
  byUnits,
  enqueue,
  expectTypeError,
  hold,
  type Managers,
  type Order,
  rejection,
  specified,
  stateOf,
  unique,
  waiting,
} from "../locks.ts";

const shared = { mode: "shared" } as const;

export function querySuite(use: () => Managers, order: Order): void {
  describe("query", () => {
    test("where nothing is held and nobody waits, both lists are empty", async () => {
      const { locks } = use();
      expect(await locks.query()).toStrictEqual({ held: [], pending: [] });
    });

    test("what is held and what is pending have a name, a mode and a clientId", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const waiter = enqueue(other, name, shared);
      await waiting(locks, name, 1);
      const { held, pending } = await locks.query();
      expect(held.map(specified)).toEqual([{ name, mode: "exclusive", clientId: expect.stringMatching(/./) }]);
      expect(pending.map(specified)).toEqual([{ name, mode: "shared", clientId: expect.stringMatching(/./) }]);
      await Promise.all([holder.end(), waiter.end()]);
    });

    test("the snapshot is plain data: a structured clone and JSON keep all of it", async () => {
      const { locks } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const snapshot = await locks.query();
      expect(structuredClone(snapshot)).toEqual(snapshot);
      expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
      await holder.end();
    });

    test("a snapshot is the caller's own: what is done to it changes no lock and no other snapshot", async () => {
      const { locks } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const snapshot = await locks.query();
      const before = snapshot.held.map(specified);
      Object.assign(snapshot.held[0] ?? {}, { name: "another", mode: "shared", clientId: "nobody" });
      snapshot.held.length = 0;
      (snapshot.pending as unknown[]).push("nonsense");
      expect((await locks.query()).held.map(specified)).toEqual(before);
      await holder.end();
      expect(snapshot.held).toEqual([]);
    });

    test("every holder of a shared lock is listed", async () => {
      const { locks, other } = use();
      const name = unique();
      const holders = [
        await hold(locks, name, shared),
        await hold(other, name, shared),
        await hold(locks, name, shared),
      ];
      const { held } = await stateOf(other, name);
      const clients = holders.map((each) => each.lock.token.replace(/:.*/, ""));
      expect(held.map((each) => each.mode)).toEqual(["shared", "shared", "shared"]);
      expect(held.map((each) => each.clientId).toSorted(byUnits)).toEqual(clients.toSorted(byUnits));
      expect(new Set(clients).size).toBe(2);
      await Promise.all(holders.map((each) => each.end()));
    });

    test("the clientId is the same for all requests of a manager and another for another manager", async () => {
      const { locks, other } = use();
      const [a, b] = [unique("a"), unique("b")];
      const holders = [await hold(locks, a, shared), await hold(locks, b), await hold(other, a, shared)];
      const waiters = [enqueue(locks, b), enqueue(other, b)];
      await waiting(locks, b, 2);
      const { held, pending } = await locks.query();
      const mine = held.find((each) => each.name === b)?.clientId ?? "";
      const theirs = pending.map((each) => each.clientId).find((each) => each !== mine) ?? "";
      expect(mine).not.toBe(theirs);
      expect(
        held
          .filter((each) => each.name === a)
          .map((each) => each.clientId)
          .toSorted(byUnits),
      ).toEqual([mine, theirs].toSorted(byUnits));
      expect(pending.map((each) => each.clientId).toSorted(byUnits)).toEqual([mine, theirs].toSorted(byUnits));
      await Promise.all([...holders, ...waiters].map((each) => each.end()));
    });

    test("the clientId is the part of the token before the colon", async () => {
      const { locks } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const clientId = (await stateOf(locks, name)).held[0]?.clientId;
      expect(holder.lock.token).toMatch(/^[^:]+:[^:]+$/);
      expect(holder.lock.token.split(":")[0]).toBe(clientId);
      await holder.end();
    });

    test("pending requests are listed in the order in which they were made", async () => {
      const { locks } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const modes = ["shared", "exclusive", "exclusive", "shared", "shared", "exclusive"] as const;
      const waiters = modes.map((mode) => enqueue(locks, name, { mode }));
      await waiting(locks, name, modes.length);
      expect((await stateOf(locks, name)).pending.map((each) => each.mode)).toEqual(modes);
      await Promise.all([holder, ...waiters].map((each) => each.end()));
    });

    if (order === "strict")
      test("pending requests of two managers are listed in one order, the same for both", async () => {
        const { locks, other } = use();
        const name = unique();
        const holder = await hold(locks, name);
        const waiters = [];
        for (const manager of [other, locks, other, locks]) {
          waiters.push(enqueue(manager, name));
          await waiting(locks, name, waiters.length);
        }
        const seen = (await stateOf(locks, name)).pending;
        const mine = (await stateOf(locks, name)).held[0]?.clientId;
        expect(seen.map((each) => each.clientId === mine)).toEqual([false, true, false, true]);
        expect((await stateOf(other, name)).pending.map(specified)).toEqual(seen.map(specified));
        await Promise.all([holder, ...waiters].map((each) => each.end()));
      });

    test("all locks are listed, not only the asking manager's", async () => {
      const { locks, other } = use();
      const names = [unique("a"), unique("b"), unique("c")];
      const holders = await Promise.all(names.map((name, i) => hold(i % 2 ? locks : other, name)));
      for (const manager of [locks, other]) {
        const { held } = await manager.query();
        expect(held.map((each) => each.name).toSorted(byUnits)).toEqual(names.toSorted(byUnits));
      }
      await Promise.all(holders.map((each) => each.end()));
    });

    test("many locks are all listed, each once", async () => {
      const { locks, other } = use();
      const names = Array.from({ length: 300 }, (_, i) => unique(String(i)));
      const holders = await Promise.all(names.map((name) => hold(locks, name)));
      expect((await other.query()).held.map((each) => each.name).toSorted(byUnits)).toEqual(names.toSorted(byUnits));
      await Promise.all(holders.map((each) => each.end()));
    });

    test("inside the callback the lock is held, and not pending", async () => {
      const { locks } = use();
      const name = unique();
      await locks.request(name, async () => {
        expect(await stateOf(locks, name)).toMatchObject({ held: [{ mode: "exclusive" }], pending: [] });
      });
    });

    test("a request that is granted moves from pending to held", async () => {
      const { locks, other } = use();
      const name = unique();
      const holder = await hold(locks, name);
      const waiter = enqueue(other, name);
      await waiting(locks, name, 1);
      const waited = (await stateOf(locks, name)).pending.map(specified);
      await holder.end();
      await waiter.granted;
      const { held, pending } = await stateOf(locks, name);
      expect(held.map(specified)).toEqual(waited);
      expect(pending).toEqual([]);
      await waiter.end();
    });

    test("a selection by name tells of that lock alone", async () => {
      const { locks, other } = use();
      const [a, b] = [unique("a"), unique("a")];
      const holders = [await hold(locks, a), await hold(locks, b)];
      const waiter = enqueue(other, a);
      await waiting(locks, a, 1);
      const { held, pending } = await other.query({ name: a });
      expect([...held, ...pending].map((each) => each.name)).toEqual([a, a]);
      expect(await other.query({ name: unique("a") })).toEqual({ held: [], pending: [] });
      await Promise.all([...holders, waiter].map((each) => each.end()));
    });

    test("a selection by name takes the name as it stands, whatever a glob would make of it", async () => {
      const { locks } = use();
      const holders = [await hold(locks, "a*[b]?"), await hold(locks, "a b")];
      expect((await locks.query({ name: "a*[b]?" })).held.map((each) => each.name)).toEqual(["a*[b]?"]);
      expect((await locks.query({ name: "a*" })).held).toEqual([]);
      await Promise.all(holders.map((each) => each.end()));
    });

    test.each([
      ["*", ["job:1", "job:2", "job:22", "jobs", "a.b", "a*b"]],
      ["job:*", ["job:1", "job:2", "job:22"]],
      ["job:?", ["job:1", "job:2"]],
      ["job:[13-9]", ["job:1"]],
      ["job:[^1]", ["job:2"]],
      ["?.b", ["a.b"]],
      ["a\\*b", ["a*b"]],
      ["job", []],
      ["", []],
    ])("a selection by the glob %j tells of the locks that match the whole of it", async (match, expected) => {
      const { locks, other } = use();
      const names = ["job:1", "job:2", "job:22", "jobs", "a.b", "a*b"];
      const holders = await Promise.all(names.map((name) => hold(locks, name)));
      expect((await other.query({ match })).held.map((each) => each.name).toSorted(byUnits)).toEqual(
        expected.toSorted(byUnits),
      );
      await Promise.all(holders.map((each) => each.end()));
    });

    test.each([
      ["a string", "nonsense"],
      ["a number", 1],
      ["null", null],
      ["an object without name or match", {}],
      ["a name that is no string", { name: 1 }],
      ["a glob that is no string", { match: 1 }],
    ])("a selection that is %s is refused with TypeError, which says what was expected", async (_, selection) => {
      const { locks } = use();
      const error = await rejection(Reflect.apply(locks.query, locks, [selection]) as Promise<unknown>);
      expectTypeError(error);
      expect((error as TypeError).message).toMatch(/^Expected /);
    });

    test("query called on something that is no manager rejects with TypeError", async () => {
      const { locks } = use();
      const promise: unknown = Reflect.apply(locks.query, {}, []);
      expect(promise).toBeInstanceOf(Promise);
      expectTypeError(await rejection(promise as Promise<unknown>));
    });
  });
}
