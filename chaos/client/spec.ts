/** What a client process is told when it starts: plain data, as JSON. */
import type { ClientPlan } from "../plan/plan.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How to reach the servers, each through a proxy of this client's own. */
export type Way =
  | { readonly kind: "one"; readonly port: number }
  | { readonly kind: "nodes"; readonly ports: readonly number[] }
  | {
      readonly kind: "sentinel" | "cluster";
      readonly seeds: readonly Address[];
      /** `host:port` of a server, and where its proxy listens. */
      readonly map: Readonly<Record<string, Address>>;
    };

/** Mistakes of a program, which the checks must find. */
export const PROGRAM_MISTAKES = ["releases without a token", "ignores losses", "never releases"] as const;
export type ProgramMistake = (typeof PROGRAM_MISTAKES)[number];

export interface ClientSpec {
  readonly plan: ClientPlan;
  readonly way: Way;
  /** The file of its history. */
  readonly journal: string;
  /** The socket of the guarded register. */
  readonly register: string;
  readonly replicas: number;
  /** Instead of working, it takes every lock once, and ends. */
  readonly isSweep: boolean;
  readonly mistake: ProgramMistake | undefined;
}
