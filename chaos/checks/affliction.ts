/** What went wrong, when and for whom: what the checks may excuse something with. */
import { now } from "../client/journal.ts";

/** Why a server may have granted a lock that somebody else holds: the published exceptions. */
export type Cause = "memory lost" | "failover";

/** From when on a server may have lost what it granted, and until when it may grant what will be lost. */
export interface Doubt {
  readonly cause: Cause;
  readonly from: number;
  until: number;
}

export interface Affliction {
  readonly fault: string;
  /** Undefined: all clients. */
  readonly client: string | undefined;
  readonly from: number;
  /** Infinity while it lasts. */
  until: number;
  doubt?: Doubt;
}

export class Afflictions {
  readonly all: Affliction[] = [];

  begin(fault: string, client?: string): Affliction {
    const affliction: Affliction = { fault, client, from: now(), until: Infinity };
    this.all.push(affliction);
    return affliction;
  }

  end(affliction: Affliction): void {
    affliction.until = now();
    if (affliction.doubt) affliction.doubt.until = Math.min(affliction.doubt.until, affliction.until);
  }
}
