import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { LockEvents } from "../events.ts";

type Listeners = { readonly [Name in keyof LockEvents]?: (event: LockEvents[Name]) => void };

/** @returns ends that */
export function listen(listeners: Listeners): () => void {
  const all = Object.entries(listeners) as [string, (event: unknown) => void][];
  for (const [name, listener] of all) subscribe(name, listener);
  return () => {
    for (const [name, listener] of all) unsubscribe(name, listener);
  };
}
