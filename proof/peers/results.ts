/** What is written of a whole run. */
import type { Seen } from "./scenario.ts";

export interface Result {
  readonly id: string;
  readonly title: string;
  readonly reported: string;
  readonly expected: string;
  /** By library; null where the scenario is not for it. */
  readonly seen: Readonly<Record<string, Seen | null>>;
}

export interface Results {
  readonly server: string;
  readonly node: string;
  readonly contenders: readonly { id: string; title: string; version: string; settings: string }[];
  readonly results: readonly Result[];
}
