/** For programs and logs: what has changed from look to look, a line each. */
import type { Observation, ObservedHolder, ObservedLock } from "../../observation/observation.ts";
import type { Observer } from "../../observation/observer.ts";
import type { LockInfo } from "../../snapshot.ts";
import { roundDuration } from "../durations.ts";
import { failureOf } from "../failures.ts";
import { complain, plain, print } from "../messages.ts";
import { who, whyStuck } from "./phrases.ts";

/** Rejects, and never resolves, when the output cannot be written any more. */
export async function printChanges(observer: Observer): Promise<never> {
  let before: Observation | undefined;
  let failed = false;
  // A server that is away must not end the process.
  const alive = setInterval(() => {}, 1 << 30);
  try {
    for (;;) {
      await new Promise<void>((resolve) => {
        const stop = observer.watch(() => {
          stop();
          resolve();
        });
      });
      const { latest, failure } = observer;
      if (Boolean(failure) !== failed) {
        failed = !failed;
        await complain(
          failure ? `cannot look at the locks: ${failureOf(failure.error).message}` : "the server answers again",
        );
      }
      if (!latest || latest === before) continue;
      const lines = changes(before, latest);
      before = latest;
      if (lines.length > 0) await print(lines.join("\n"));
    }
  } finally {
    clearInterval(alive);
  }
}

/** Of one look and the one before; at first, all that is there. */
export function changes(before: Observation | undefined, now: Observation): string[] {
  const names = new Set([...(before?.locks.keys() ?? []), ...now.locks.keys()]);
  const time = new Date(now.time).toISOString();
  return [...names].toSorted().flatMap((name) => {
    const said = changesOf(before?.locks.get(name), now.locks.get(name), now.at);
    return said.map(([verb, about]) => `${time}  ${verb.padEnd(5)}  ${plain(name)}  ${about}`);
  });
}

type Change = readonly [verb: string, about: string];

function changesOf(before: ObservedLock | undefined, now: ObservedLock | undefined, at: number): Change[] {
  const [held, holds] = [byKey(before), byKey(now)];
  const holding = new Set(now?.holders.map(({ info }) => info.token));
  const [waited, waits] = [byToken(before), byToken(now)];
  const said: Change[] = [];
  for (const [key, { info, since }] of held) {
    if (!holds.has(key)) said.push(["ended", `${who(info)}  held about ${roundDuration(at - since)}`]);
  }
  for (const [key, { info }] of holds) {
    if (!held.has(key)) said.push(["holds", [who(info), ...terms(info)].join("  ")]);
  }
  for (const [token, info] of waited) {
    if (!waits.has(token) && !holding.has(token)) said.push(["left", who(info)]);
  }
  for (const [i, info] of (now?.waiters ?? []).entries()) {
    if (!waited.has(info.token)) said.push(["waits", `${who(info)}  #${i + 1}`]);
  }
  if (now?.stuck && !before?.stuck) said.push(["stuck", whyStuck(now)]);
  return said;
}

function terms({ mode, permits, limit, fence }: LockInfo): string[] {
  const kind = permits === undefined ? mode : `${permits} of ${limit}`;
  return fence === undefined ? [kind] : [kind, `fence ${fence}`];
}

function byKey(lock: ObservedLock | undefined): Map<string, ObservedHolder> {
  return new Map(lock?.holders.map((holder) => [holder.key, holder]));
}

function byToken(lock: ObservedLock | undefined): Map<string | undefined, LockInfo> {
  return new Map(lock?.waiters.map((info) => [info.token, info]));
}
