/** What a run is made on: servers, and a way to them for each client, through proxies. */
import type { Server } from "../../scripts/servers.ts";
import type { Way } from "../client/spec.ts";
import type { Routes } from "./routes.ts";

export interface Topology {
  /** All that keep locks, in the order in which plans number them. */
  readonly servers: readonly Server[];
  readonly routes: Routes;
  /** Whether a server that is killed comes back with what it had. */
  readonly hasDisk: boolean;
  /** How many servers may have forgotten something at a time, without that anybody may notice. */
  readonly maySpare: number;
  way(client: string): Way;
  /** The servers that keep locks now, and no copies. */
  primaries(): Promise<readonly Server[]>;
  /** Resolves once a server that was started again takes part as before. */
  restored(server: Server): Promise<void>;
  readonly failovers?: Failovers;
  moveSlot?(lock: string): Promise<void>;
  stop(): Promise<void>;
}

/** Each resolves once all servers agree again on who is what. */
export interface Failovers {
  /** Whether a replica that is promoted while all is well gets everything first that its primary has granted. */
  readonly isCoordinated: boolean;
  /** Promote a replica while all is well. */
  failOver(lock: string): Promise<void>;
  /** The primary is killed, and started again that long after a replica has taken its place. */
  killPrimary(lock: string, time: number): Promise<void>;
  /** The primary is frozen, and goes on that long after a replica has taken its place. */
  zombiePrimary(lock: string, time: number): Promise<void>;
  /** The other servers lose the primary, which clients still reach, until that long after a replica has taken its place. */
  cutOffPrimary?(lock: string, time: number): Promise<void>;
}
