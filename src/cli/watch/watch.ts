import { once } from "node:events";
import { systemClock } from "../../clock.ts";
import { Observer } from "../../observation/observer.ts";
import { Session } from "../connection.ts";
import { signalExitCode } from "../exit-codes.ts";
import type { WatchOptions } from "../watch.ts";
import { printChanges } from "./changes.ts";
import { Screen } from "./screen.ts";
import { Viewer } from "./viewer.ts";

const STUCK_AFTER = 60_000;
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export async function watch(pattern: string | undefined, { interval, ...options }: WatchOptions): Promise<number> {
  await using session = await Session.open(options, {});
  const selection = pattern === undefined ? "all" : { match: pattern };
  const observable = { query: () => session.locks.query(selection) };
  const observer = new Observer(observable, { poll: interval, stuckAfter: STUCK_AFTER, always: false }, systemClock);
  const signal = Promise.race(ENDING.map(async (each) => (await once(process, each), signalExitCode(each))));
  try {
    if (!isTerminal()) return await Promise.race([printChanges(observer), signal]);
    const screen = new Screen();
    return await Promise.race([screen.run(observer, new Viewer(session, observer, pattern)), signal]).finally(() => {
      screen.leave();
    });
  } finally {
    observer.close();
  }
}

function isTerminal(): boolean {
  return Boolean(process.stdin.isTTY && process.stdout.isTTY) && process.env["TERM"] !== "dumb";
}
