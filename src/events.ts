/**
 * What holdfast tells on `node:diagnostics_channel`, and costs nothing while nobody listens:
 * `holdfast:granted`, `holdfast:released`, `holdfast:lost`, `holdfast:trouble`.
 */
import { channel } from "node:diagnostics_channel";
import type { LossReason } from "./errors.ts";
import type { Grant } from "./schemes/scheme.ts";

/** A call to the server that failed; holdfast goes on by itself. */
export interface Trouble {
  readonly lock: string;
  readonly token: string;
  readonly doing: "acquire" | "renew" | "release";
  readonly error: unknown;
}

function publisher(name: string): (message: object) => void {
  const target = channel(name);
  return (message) => {
    if (target.hasSubscribers) target.publish(message);
  };
}

interface Diagnostics {
  granted(message: Grant): void;
  released(message: Grant): void;
  lost(message: Grant & { readonly reason: LossReason }): void;
  trouble(message: Trouble): void;
}

export const diagnostics: Diagnostics = {
  granted: publisher("holdfast:granted"),
  released: publisher("holdfast:released"),
  lost: publisher("holdfast:lost"),
  trouble: publisher("holdfast:trouble"),
};
