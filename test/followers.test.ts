/** Listening where servers change places: what a channel does when its server goes, hangs, or is another by now. */
import { expect, onTestFinished, test } from "vitest";
import type { Subscription } from "../src/drivers/driver.ts";
import { Followers, type ListenerEvents } from "../src/drivers/listening/followers.ts";
import { deferred } from "./support/locks.ts";
import { until } from "./support/until.ts";

/** Servers that tell what is listened to on them. */
class Town {
  owner = "a";
  refreshed = 0;
  /** A server that is here neither accepts nor refuses. */
  readonly hanging = new Set<string>();
  /** Servers that know no channels of slots. */
  readonly old = new Set<string>();
  readonly opened: { server: string; events: ListenerEvents; channels: Set<string>; closed: boolean }[] = [];
  readonly followers = new Followers(
    {
      ownerOf: () => this.owner,
      refresh: async () => void this.refreshed++,
      listenOn: (server, events) => this.#listenOn(server, events),
    },
    { sharded: true },
  );

  get open(): { server: string; channels: string[] }[] {
    return this.opened
      .filter(({ closed }) => !closed)
      .map(({ server, channels }) => ({ server, channels: [...channels].sort() }));
  }

  get last(): { server: string; events: ListenerEvents } {
    return this.opened.at(-1)!;
  }

  listen(name: string): { subscription: Subscription; heard: string[]; ups: number } {
    const seen = { heard: [] as string[], ups: 0 };
    const subscription = this.followers.subscribe(name, {
      message: (text) => seen.heard.push(text),
      up: () => seen.ups++,
    });
    onTestFinished(() => subscription.close());
    return Object.assign(seen, { subscription });
  }

  async #listenOn(server: string, events: ListenerEvents) {
    if (this.hanging.has(server)) await deferred().promise;
    if (server === "down") throw new Error("connect ECONNREFUSED");
    const own = { server, events, channels: new Set<string>(), closed: false };
    this.opened.push(own);
    return {
      id: server.padEnd(8, "0"),
      subscribe: async (channel: string, sharded: boolean) => {
        if (sharded && this.old.has(server)) throw new Error("ERR unknown command 'SSUBSCRIBE'");
        if (server !== this.owner) throw new Error(`MOVED 1 ${this.owner}`);
        own.channels.add(channel);
      },
      unsubscribe: async (channel: string) => own.channels.delete(channel),
      close: () => (own.closed = true),
    };
  }
}

test("channels of one server share a connection, which goes with the last of them", async () => {
  const town = new Town();
  const [one, two] = [town.listen("one"), town.listen("two")];
  await until(() => one.subscription.up && two.subscription.up, "both were up");
  expect(town.open).toEqual([{ server: "a", channels: ["one", "two"] }]);
  town.last.events.message("one", "news");
  expect([one.heard, two.heard]).toEqual([["news"], []]);
  one.subscription.close();
  await until(() => town.open[0]?.channels.length === 1, "one was left");
  two.subscription.close();
  await until(() => town.open.length === 0, "the connection was closed");
});

test("a channel whose connection is lost is listened to again, says so, and names its server", async () => {
  const town = new Town();
  const one = town.listen("one");
  await until(() => one.subscription.up, "it was up");
  expect(one.subscription.server).toBe("a0000000");
  town.last.events.lost();
  await until(() => one.ups === 2, "it was up again");
  expect(town.open).toEqual([{ server: "a", channels: ["one"] }]);
});

test("a channel that the server no longer keeps follows, after the client was made to look, and the others stay", async () => {
  const town = new Town();
  const [one, two] = [town.listen("one"), town.listen("two")];
  await until(() => one.subscription.up && two.subscription.up, "both were up");
  town.owner = "b";
  town.last.events.lost("one");
  await until(() => one.ups === 2, "the one was up again");
  expect(town.open.find(({ server }) => server === "b")?.channels).toContain("one");
  await until(() => two.ups === 2, "the other followed, for the client knew better by then");
  expect(town.open).toEqual([{ server: "b", channels: ["one", "two"] }]);
});

test("a server that hangs does not hold up the way to its successor", async () => {
  const town = new Town();
  town.hanging.add("a");
  const one = town.listen("one");
  town.owner = "b";
  await until(() => one.subscription.up, "it was up on the other");
  expect(town.open).toEqual([{ server: "b", channels: ["one"] }]);
});

test("where no server is known, or it refuses, the client is made to look until one is there", async () => {
  const town = new Town();
  town.owner = "";
  const one = town.listen("one");
  await until(() => town.refreshed >= 2, "the client had looked twice");
  town.owner = "down";
  await until(() => town.refreshed >= 4, "and twice more");
  expect(one.subscription.up).toBe(false);
  town.owner = "a";
  await until(() => one.subscription.up, "it was up");
});

test("a channel that pauses tries at once when the client has found its server", async () => {
  const town = new Town();
  town.owner = "down";
  const one = town.listen("one");
  // By then pauses are a second long.
  await until(() => town.refreshed >= 6, "it had failed six times");
  town.owner = "a";
  town.followers.hurry();
  await until(() => one.subscription.up, "it was up", 500);
});

test("a server without channels of slots is listened to with those that all have", async () => {
  const town = new Town();
  town.old.add("a");
  const one = town.listen("one");
  await until(() => one.subscription.up, "it was up");
  expect(town.refreshed).toBe(0);
});

test("a channel that is closed on its way is not listened to", async () => {
  const town = new Town();
  const one = town.listen("one");
  one.subscription.close();
  await until(() => town.opened.length === 1 && town.open.length === 0, "what was opened was closed");
  expect([one.ups, one.subscription.up]).toEqual([0, false]);
});
