/** What goes wrong on servers. */
import { fired, granted, inMs, type Scenario, sleep, timed } from "./scenario.ts";

const LONG = 20_000;

export const servers: readonly Scenario[] = [
  {
    id: "restart-empty",
    title: "The server restarts without its memory while one holds and one waits",
    reported: "redsync 147; redisson 3636",
    expected: "the holder is told within its lease (2 s), and the waiter is served within 3 s",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const [a, b] = [await stage.open(server.url), await stage.open(server.url)];
      const seen = new Promise<[told: number | undefined, served: number | undefined]>((resolve) => {
        a.hold!("x", 2_000, async (signal) => {
          const waiter = b.acquire("x", { ttl: LONG, patience: LONG });
          await sleep(400);
          await server.restart();
          resolve(await Promise.all([fired(signal, 8_000), granted(waiter, 8_000)]));
        }).catch(() => {});
      });
      const [told, served] = await seen;
      const errors = stage.rejections.length;
      const survives = told !== undefined && told <= 2_300 && served !== undefined && served <= 3_000 && errors === 0;
      return {
        survives,
        saw: `holder told ${inMs(told, 8_000)}; waiter served ${inMs(served, 8_000)}; ${errors} unhandled errors`,
      };
    },
  },
  {
    id: "failover-fence",
    title: "A failover to a replica that has not seen the grant: two hold",
    reported: "redisson 3636; Kleppmann 2016",
    expected: "nobody prevents that on one server; a fencing token tells the later holder from the earlier one",
    async run(stage) {
      const server = await stage.server();
      const [a, b] = [await stage.open(server.url), await stage.open(server.url)];
      const first = await a.acquire("x", { ttl: LONG });
      await server.restart();
      const second = await b.acquire("x", { ttl: LONG, patience: LONG });
      const { fence: one } = first;
      const { fence: two } = second;
      if (one === undefined || two === undefined)
        return { survives: false, saw: "two hold; there is no fencing token" };
      return { survives: two > one, saw: `two hold; the later has the ${two > one ? "larger" : "smaller"} fence` };
    },
  },
  {
    id: "script-flush",
    title: "SCRIPT FLUSH while locks are held and waited for",
    reported: "redlock 76 (NOSCRIPT)",
    expected: "releasing and waiting work as before",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const [a, b] = [await stage.open(server.url), await stage.open(server.url)];
      const held = await a.acquire("x", { ttl: LONG });
      const waiter = b.acquire("x", { ttl: LONG, patience: LONG });
      await sleep(300);
      await admin.script("FLUSH");
      const error = await held.release().then(
        () => undefined,
        (reason: unknown) => String(reason).slice(0, 80),
      );
      await admin.script("FLUSH");
      const time = await granted(waiter, 5_000);
      return {
        survives: error === undefined && time !== undefined && time < 2_000,
        saw: `release ${error ?? "succeeded"}; waiter ${inMs(time, 5_000)}`,
      };
    },
  },
  {
    id: "slow-answer",
    title: "The server answers a request for a lock of 1 s only after 2.5 s",
    reported: "redlock 369: validity is not checked",
    expected: "what is returned is held, on the server and by the library's own account",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const session = await stage.open(server.url);
      await (await session.acquire("warm", { ttl: 1_000 })).release();
      server.freeze();
      const attempt = session.acquire("x", { ttl: 1_000, patience: 5_000 });
      await sleep(2_500);
      server.thaw();
      const held = await attempt.catch((error: unknown) => String(error).slice(0, 80));
      if (typeof held === "string") return { survives: true, saw: `rejected (${held})` };
      const isHeld = held.isHeld();
      const left = await admin.pttl(stage.contender.key("x"));
      return {
        survives: isHeld && left > 0,
        saw: isHeld ? `held for another ${left} ms` : "granted, though it says itself that it has expired",
      };
    },
  },
  {
    id: "connections-cut",
    title: "All connections are cut every 100 ms for 2 s while ten clients contend",
    reported: "update.electronjs.org 135 (release rejects under load)",
    expected: "at most one is inside at a time, and all are served within 10 s",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const sessions = await Promise.all(Array.from({ length: 10 }, () => stage.open(server.url)));
      let inside = 0;
      let most = 0;
      let failed = 0;
      const cutting = setInterval(() => void admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), 100);
      setTimeout(() => clearInterval(cutting), 2_000);
      const all = Promise.all(
        sessions.map(async (session) => {
          for (let i = 0; i < 3; i++) {
            const lock = await session.acquire("x", { ttl: 5_000, patience: LONG });
            most = Math.max(most, ++inside);
            await sleep(20);
            inside--;
            await lock.release().catch(() => failed++);
          }
        }),
      ).catch((error: unknown) => String(error).slice(0, 80));
      const time = await timed(all, 25_000);
      const error = time === undefined ? undefined : await all;
      const refused = typeof error === "string" ? `; ${error}` : "";
      return {
        survives: most === 1 && time !== undefined && time <= 10_000 && refused === "",
        saw: `at most ${most} inside; done ${inMs(time, 25_000)}; ${failed} releases rejected${refused}`,
      };
    },
  },
];
