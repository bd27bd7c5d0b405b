import type { ObservedLock } from "../../observation/observation.ts";
import { jobIn } from "../../primitives/once.ts";
import type { LockInfo } from "../../snapshot.ts";
import { roundDuration } from "../durations.ts";
import { plain } from "../messages.ts";

/** A holder or waiter in a few words. */
export function who({ label, clientLabel, clientId }: LockInfo): string {
  const name = (jobIn(label)?.by ?? label) || clientLabel;
  if (name) return plain(name);
  return clientId === "" ? "(foreign key)" : "(unknown)";
}

/** A sentence; "" if it is not stuck. */
export function whyStuck({ stuck }: ObservedLock): string {
  if (!stuck) return "";
  const time = roundDuration(stuck.for);
  if (stuck.reason === "no-expiry") return `Never expires, held for ${time}. If its owner is gone, nobody releases it.`;
  if (stuck.reason === "long-hold") return `Held for ${time}, usually ${roundDuration(stuck.usual)}.`;
  if (stuck.reason === "no-progress") return `The queue has not moved for ${time}.`;
  return `Free, and yet others have been waiting for ${time}.`;
}

/** "1 lock", "2 locks" */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
