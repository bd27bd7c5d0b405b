/**
 * What holdfast tells on `node:diagnostics_channel`, and costs nothing while nobody listens:
 * `holdfast:granted`, `holdfast:released`, `holdfast:lost`, `holdfast:trouble`.
 */
import { channel } from "node:diagnostics_channel";
import type { LossReason } from "./errors.ts";
import type { Grant } from "./scheme.ts";

/** A call to the server that failed; holdfast goes on by itself. */
export interface Trouble {
  readonly lock: string;
  readonly token: string;
  readonly doing: "acquire" | "renew" | "release";
  readonly error: unknown;
}

function publisher<Message extends object>(name: string): (message: Message) => void {
  const target = channel(name);
  return (message) => {
    if (target.hasSubscribers) target.publish(message);
  };
}

export const diagnostics = {
  granted: publisher<Grant>("holdfast:granted"),
  released: publisher<Grant>("holdfast:released"),
  lost: publisher<Grant & { readonly reason: LossReason }>("holdfast:lost"),
  trouble: publisher<Trouble>("holdfast:trouble"),
};
