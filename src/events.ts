/**
 * What holdfast reports on `node:diagnostics_channel`; it costs nothing while nobody listens: `holdfast:granted`,
 * `holdfast:released`, `holdfast:detached`, `holdfast:lost`, `holdfast:trouble`. Each grant ends with exactly one of
 * released, detached and lost.
 */
import { AsyncResource } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import type { LossReason } from "./errors.ts";
import type { Grant } from "./schemes/scheme.ts";

/** A call to the server that failed; holdfast continues by itself. */
export interface Trouble {
  readonly lock: string;
  readonly token: string;
  readonly doing: "acquire" | "renew" | "release";
  readonly error: unknown;
}

/** The async context of a request, in which its listeners are called. Undefined if it has none. */
export type Context = AsyncResource | undefined;

/** The context that the caller runs in now. */
export function currentContext(): AsyncResource {
  return new AsyncResource("holdfast");
}

export function inContext(context: Context, run: () => void): void {
  if (context) context.runInAsyncScope(run);
  else run();
}

const names = ["granted", "released", "detached", "lost", "trouble"] as const;
const channels = Object.fromEntries(names.map((name) => [name, channel(`holdfast:${name}`)])) as Record<
  (typeof names)[number],
  ReturnType<typeof channel>
>;

function publisher(name: (typeof names)[number]): (message: object, context: Context) => void {
  const target = channels[name];
  return (message, context) => {
    if (target.hasSubscribers) inContext(context, () => target.publish(message));
  };
}

interface Events {
  granted(message: Grant, context: Context): void;
  released(message: Grant, context: Context): void;
  detached(message: Grant, context: Context): void;
  lost(message: Grant & { readonly reason: LossReason }, context: Context): void;
  trouble(message: Trouble, context: Context): void;
}

export const events: Events = {
  granted: publisher("granted"),
  released: publisher("released"),
  detached: publisher("detached"),
  lost: publisher("lost"),
  trouble: publisher("trouble"),
};

/** Whether anybody listens, so that requests must remember their contexts. */
export function isHeard(): boolean {
  return names.some((name) => channels[name].hasSubscribers);
}
