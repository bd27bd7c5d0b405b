import type { Contender, Session } from "../contenders/index.ts";
import type { Server } from "./server.ts";

export type Mode = "full" | "quick";

/** What one measurement of one contender gave. Pools hold single observations; their quantiles are taken over all rounds. */
export interface Sample {
  readonly values: Readonly<Record<string, number>>;
  readonly pools?: Readonly<Record<string, readonly number[]>>;
}

export interface Column {
  readonly key: string;
  readonly title: string;
  readonly better: "less" | "more" | "neither";
  /** Take this quantile of the pool of that name instead of the value named `key`. */
  readonly pool?: { readonly name: string; readonly share: number };
  /** Also shown in the terminal. */
  readonly brief?: boolean;
}

/** A target: a ratio (or, without `against`, a value) and its bound. */
export interface Figure {
  readonly id: string;
  readonly says: string;
  readonly column: string;
  /** Ids of contenders, of which the best counts, or all rivals. */
  readonly against?: readonly string[] | "rivals";
  readonly bound: { readonly atMost: number } | { readonly atLeast: number };
  /** How much worse than the committed ratio the guard lets pass. */
  readonly tolerance: number;
}

/** A process that plays one role with one contender. */
export interface Player {
  call<Result = unknown>(method: string, args?: unknown): Promise<Result>;
  /** By SIGKILL, as in a crash. */
  end(): Promise<void>;
}

/** What a scenario has at hand while it measures one contender once. */
export interface Stage {
  readonly contender: Contender;
  readonly server: Server;
  readonly mode: Mode;
  readonly round: number;
  /** Start one more process, whose session is over these servers (default: over the one). All are ended afterwards. */
  hire(role: string, nodes?: readonly Server[]): Promise<Player>;
  /** Start so many independent servers. All are stopped afterwards. */
  nodes(count: number): Promise<readonly Server[]>;
}

/** What arguments they take is between the two sides of one scenario's file. */
export type Methods = Record<string, (args: never) => unknown>;

export interface Scenario {
  readonly name: string;
  readonly asks: string;
  readonly rounds: Readonly<Record<Mode, number>>;
  /** Left out of a quick run that does not name it. */
  readonly onlyFull?: boolean;
  readonly columns: readonly Column[];
  readonly figures: readonly Figure[];
  takes(contender: Contender): boolean;
  /** Runs in the conductor's process. */
  measure(stage: Stage): Promise<Sample>;
  /** Each runs in processes of its own. */
  readonly roles: Readonly<Record<string, (session: Session) => Methods>>;
}
