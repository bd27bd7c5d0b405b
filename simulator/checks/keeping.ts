/** What servers keep of the locks, as far as the checks want to know: one server's ledger, or the votes of several. */
import type { Executed, SimulatedServer } from "../server/server.ts";
import type { Cause, Hold } from "./attempt.ts";

export interface Keeping {
  /** Commands that servers have carried out. */
  readonly commands: number;
  /** A write of a client has been carried out. */
  executed(what: Executed): void;
  /** A server's message has come to a process. */
  heard(text: string, node: number): void;
  /** A program begins to hold. */
  begun(hold: Hold): void;
  /** For how many milliseconds it believes longer than it is kept; negative if it is kept for longer. */
  overdue(hold: Hold): number;
  /** Why servers may have lost it under its holder, who may not know. */
  causeFor(hold: Hold): Cause | undefined;
  /** Why they lost it, whether its holder knows or not. */
  lossOf(hold: Hold): Cause | undefined;
  /** When somebody last lost the lock though he had every right to it, in the world's time; -Infinity if never. */
  takenAt(lock: string): number;
  /** Whether a manager was let in since then and did not come, or a server has forgotten who waits. */
  mayHaveLostItsTurn(id: string, lock: string, since: number): boolean;
  /** Since when nobody holds the lock, in the world's time; Infinity if somebody does. */
  freeSince(lock: string): number;
  /** How often leases of the lock were lengthened since then, as far as that is remembered. */
  renewalsSince(lock: string, time: number): number;
  /** Now and then: look around. */
  watch(): void;
  /** A server's clock has jumped forward. */
  jumped(server: SimulatedServer, by: number): void;
  /** A server runs again, and has lost what it knew, or some of it. */
  forgot(server: SimulatedServer): void;
  /** Something was done to the locks of a server, or to one of them, from outside. */
  changed(server: SimulatedServer, cause: Cause | undefined, lock?: string): void;
}
