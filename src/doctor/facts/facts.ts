/** What is known of one server. A fact is undefined if the server does not report it, or not to this account. */
import type { Delay } from "./delay.ts";
import type { Eternal } from "./eternal.ts";
import type { Refusal } from "./rights.ts";

export interface Facts {
  /** Its name in findings. */
  readonly title: string;
  /** The port that the client connects to, if that is known. */
  readonly port: number | undefined;
  /** INFO: names and values. */
  readonly info: ReadonlyMap<string, string> | undefined;
  /** CONFIG GET: names and values. */
  readonly config: ReadonlyMap<string, string> | undefined;
  /** Who we are to the server. */
  readonly user: string;
  /** Of a command, in milliseconds. */
  readonly delay: Delay;
  /** How far its clock is ahead of ours, and how far off that may be, in milliseconds. */
  readonly clock: { readonly offset: number; readonly error: number } | undefined;
  /**
   * Of a message to a channel of the prefix, in milliseconds; Infinity if none arrives. Undefined if none is needed, or
   * a right is missing.
   */
  readonly push: number | undefined;
  /** Commands that locks need and the server refuses. */
  readonly refused: readonly Refusal[];
  /** Keys that look like locks and never expire. */
  readonly eternal: Eternal | undefined;
  /** Of the Cluster that it is part of, as it sees it: "ok" if all slots have a server. */
  readonly clusterState: string | undefined;
  /** Two connections, or two commands on one, met different servers or connections. */
  readonly mixed: "servers" | "connections" | undefined;
}
