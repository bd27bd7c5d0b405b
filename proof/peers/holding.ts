/** What goes wrong while somebody holds. */
import { fired, inMs, type Scenario, type Seen, sleep, type Stage, timed } from "./scenario.ts";
import { startProxy } from "../../test/support/proxy.ts";

const TTL = 2_000;
/** For the timers of a busy machine. */
const GRACE = 300;

/** Holds "x", breaks something after 500 ms, and measures when the holder is told. */
async function toldAfter(
  stage: Stage,
  url: string,
  breaks: () => Promise<unknown>,
  most: number,
): Promise<number | undefined> {
  const session = await stage.open(url);
  let told: number | undefined;
  const start = performance.now();
  const holds = session.hold!("x", TTL, async (signal) => {
    await sleep(500);
    await breaks();
    const time = await fired(signal, most);
    told = time === undefined ? undefined : Math.round(performance.now() - start);
  });
  await Promise.race([holds.catch(() => {}), sleep(most + 5_000)]);
  return told;
}

function toldInTime(told: number | undefined, most: number): Seen {
  return { survives: told !== undefined && told <= TTL + 500 + GRACE, saw: `told ${inMs(told, most)}` };
}

export const holding: readonly Scenario[] = [
  {
    id: "renewal-fails",
    title: "Renewals fail for 1.8 s of a lease of 3 s (the server is a replica meanwhile)",
    reported: "redisson 775, 3194; node-redisson (a renewal that fails ends the watchdog)",
    expected: "the lock is held without a gap, the holder hears of no loss",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const session = await stage.open(server.url);
      const key = stage.contender.key("x");
      let gaps = 0;
      let isTold = false;
      const outcome = await session.hold!("x", 3_000, async (told) => {
        const start = performance.now();
        const at = async (time: number): Promise<void> => {
          while (performance.now() - start < time) {
            if ((await admin.exists(key)) === 0) gaps++;
            await sleep(20);
          }
        };
        await at(900);
        await admin.call("REPLICAOF", "127.0.0.1", "1");
        await at(2_700);
        await admin.call("REPLICAOF", "NO", "ONE");
        await at(6_000);
        isTold = told.aborted;
      }).then(
        () => "succeeded",
        (error: unknown) => `rejected (${String(error).slice(0, 80)})`,
      );
      const survives = gaps === 0 && !isTold && outcome === "succeeded" && stage.rejections.length === 0;
      const crash = stage.rejections.length > 0 ? `; ${stage.rejections.length} unhandled errors` : "";
      return {
        survives,
        saw: `${gaps === 0 ? "no gap" : "the key was gone"}; ${isTold ? "told of a loss" : "no loss"}; ${outcome}${crash}`,
      };
    },
  },
  {
    id: "watchdog-outlives",
    title: "The work ends while a renewal is on its way (round trips of 100 ms)",
    reported: "redisson 5698, 7272; redlock 5 (a timer behind the end); redis-semaphore 205, 206",
    expected: "nothing is sent for these locks any more, no key is left, no signal fires",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const proxy = await startProxy(server.port);
      proxy.delay(50);
      const session = await stage.open(proxy.url);
      const signals: AbortSignal[] = [];
      // Whenever the library renews, for some of these the work ends a moment later.
      const works = Array.from({ length: 24 }, (_, i) =>
        session.hold!(`outlived ${i}`, 1_000, async (told) => {
          signals.push(told);
          await sleep(280 + i * 30);
          return told.aborted;
        }),
      );
      const outcomes = await Promise.allSettled(works);
      await sleep(300);
      const lines: string[] = [];
      const monitor = await stage.admin(server).monitor();
      monitor.on("monitor", (_, args: string[]) => lines.push(args.join(" ")));
      await sleep(2_500);
      monitor.disconnect();
      const sent = lines.filter((line) => line.includes("outlived")).length;
      const keys = (await admin.keys("*outlived*")).filter((key) => !key.endsWith(":fence")).length;
      const rejected = outcomes.filter(({ status }) => status === "rejected").length;
      const late = outcomes.filter(
        (each, i) => each.status === "fulfilled" && !each.value && signals[i]?.aborted,
      ).length;
      await proxy.close();
      const errors = stage.rejections.length;
      return {
        survives: sent + keys + rejected + late + errors === 0,
        saw: `of 24: ${rejected} rejected, ${late} signals fired after the end, ${sent} commands later, ${keys} keys left, ${errors} unhandled errors`,
      };
    },
  },
  {
    id: "server-gone",
    title: "The server dies while a lock is held, and does not come back",
    reported: "redlock 283; redis-semaphore 199 (an error while refreshing ends the process)",
    expected:
      "the holder is told within 2.8 s: by the end of its lease of 2 s, which may have been renewed just before, and no rejection is unhandled",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const told = await toldAfter(stage, server.url, () => server.crash(), 8_000);
      const seen = toldInTime(told, 8_000);
      const errors = stage.rejections.length;
      return { survives: seen.survives && errors === 0, saw: `${seen.saw}; ${errors} unhandled errors` };
    },
  },
  {
    id: "server-hangs",
    title: "The server stops answering while a lock is held",
    reported: "redlock 5, redlock-universal: loss is noticed only when an extension settles",
    expected:
      "the holder is told within 2.8 s: by the end of its lease of 2 s, which may have been renewed just before",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const told = await toldAfter(stage, server.url, async () => server.freeze(), 8_000);
      server.thaw();
      return toldInTime(told, 8_000);
    },
  },
  {
    id: "key-deleted",
    title: "The lock's key is deleted, and another client takes it",
    reported: "redis-semaphore 175; redisson 3194",
    expected:
      "the holder is told within 2.8 s: by the end of its lease of 2 s, which may have been renewed just before, and the other's lock stays",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const key = stage.contender.key("x");
      const told = await toldAfter(
        stage,
        server.url,
        async () => {
          await admin.del(key);
          await admin.set(key, "somebody else", "PX", 60_000);
        },
        8_000,
      );
      const seen = toldInTime(told, 8_000);
      const stays = (await admin.get(key)) === "somebody else";
      return { survives: seen.survives && stays, saw: `${seen.saw}${stays ? "" : "; the other's lock was taken"}` };
    },
  },
  {
    id: "late-release",
    title: "A holder releases after its lease has ended and another client has the lock",
    reported: "the mistake of DEL without a comparison; redlock 313 (a late release hangs)",
    expected: "the other's lock stays, and the release settles within 3 s",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const [a, b] = [await stage.open(server.url), await stage.open(server.url)];
      const late = await a.acquire("x", { ttl: 300 });
      await sleep(400);
      await b.acquire("x", { ttl: 60_000 });
      const before = await admin.get(stage.contender.key("x"));
      const time = await timed(late.release(), 10_000);
      const stays = before !== null && (await admin.get(stage.contender.key("x"))) === before;
      return {
        survives: stays && time !== undefined && time < 3_000,
        saw: `${stays ? "the other's lock stays" : "the other's lock is gone"}; the release settled ${inMs(time, 10_000)}`,
      };
    },
  },
  {
    id: "blocked-loop",
    title: "The holder's event loop is blocked for 2.5 s, its lease lasts 1 s, another process takes the lock",
    reported: "bullmq 3056, 3183",
    expected: "the library says at once, behind the block, that the lock is no longer held",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const session = await stage.open(server.url);
      let saysHeld: boolean | undefined;
      const told = new Promise<number | undefined>((resolve) => {
        session.hold!("x", 1_000, async (signal, isHeld) => {
          await stage.waiter(server.url, "x", 60_000);
          await sleep(200);
          const until = performance.now() + 2_500;
          while (performance.now() < until);
          saysHeld = isHeld();
          resolve(await fired(signal, 5_000));
        }).catch(() => {});
      });
      const time = await told;
      const isTaken = (await admin.exists(stage.contender.key("x"))) === 1;
      if (!isTaken) return { survives: false, saw: "the other process did not get the lock" };
      return {
        survives: saysHeld === false,
        saw: `${saysHeld ? "says that it holds" : "says that it does not"}; signal ${inMs(time, 5_000)}`,
      };
    },
  },
  {
    id: "clock-jumps",
    title: "The wall clock of a holder jumps by an hour",
    reported: "redlock 5, sesamecare: a healthy lock is aborted",
    expected: "the lock stays held, the holder hears of no loss",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const admin = stage.admin(server);
      const session = await stage.open(server.url);
      const now = Date.now.bind(Date);
      let isTold = false;
      let isThere = true;
      const outcome = await session.hold!("x", TTL, async (told) => {
        await sleep(300);
        Date.now = () => now() + 3_600_000;
        await sleep(3_500);
        isTold = told.aborted;
        isThere = (await admin.exists(stage.contender.key("x"))) === 1;
      })
        .then(
          () => "succeeded",
          (error: unknown) => `rejected (${String(error).slice(0, 80)})`,
        )
        .finally(() => (Date.now = now));
      return {
        survives: isThere && !isTold && outcome === "succeeded",
        saw: `${isThere ? "held" : "the key was gone"}; ${isTold ? "told of a loss" : "no loss"}; ${outcome}`,
      };
    },
  },
  {
    id: "error-masked",
    title: "The work throws while the server is down",
    reported: "redlock 5: a failing release replaces the error of the work",
    expected: "the error of the work comes through",
    needs: "hold",
    async run(stage) {
      const server = await stage.server();
      const session = await stage.open(server.url);
      const work = session.hold!("x", TTL, async () => {
        await server.crash();
        throw new Error("of the work");
      });
      const time = await timed(work, 15_000);
      const message = await Promise.race([
        work.catch((error: Error) => error.message),
        sleep(0).then(() => "none yet"),
      ]);
      return {
        survives: message === "of the work",
        saw: `rejected ${inMs(time, 15_000)} with "${String(message).slice(0, 80)}"`,
      };
    },
  },
  {
    id: "permits-clocks",
    title: "The clock of one of two clients of a semaphore is 15 s ahead",
    reported: "redis-semaphore, effect-distributed-lock: client clocks evict permits",
    expected: "the limit is kept",
    needs: "permit",
    async run(stage) {
      const { url } = await stage.server();
      const [a, b] = [await stage.open(url), await stage.open(url)];
      await a.permit!("x", 1, 10_000);
      const now = Date.now.bind(Date);
      Date.now = () => now() + 15_000;
      const second = await b.permit!("x", 1, 10_000);
      Date.now = now;
      return { survives: second === undefined, saw: second ? "two hold one permit" : "the second is refused" };
    },
  },
  {
    id: "permits-ttl",
    title: "Two clients of a semaphore have different ttls, 10 s and 200 ms",
    reported: "redis-semaphore: a shorter lockTimeout evicts holders with a longer one",
    expected: "the limit is kept",
    needs: "permit",
    async run(stage) {
      const { url } = await stage.server();
      const [a, b] = [await stage.open(url), await stage.open(url)];
      await a.permit!("x", 1, 10_000);
      await sleep(400);
      const second = await b.permit!("x", 1, 200);
      return { survives: second === undefined, saw: second ? "two hold one permit" : "the second is refused" };
    },
  },
];
