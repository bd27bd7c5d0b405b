import type { Release } from "../schemes/scheme.ts";

/** A lock that outlasts its holder: until then a release leaves it held, under that label. */
export interface Kept {
  readonly until: number;
  readonly label: string;
}

/** The scheme's answer to the end of a lease or request: "unheard" if it did not answer. */
export type Departure = Release | "unheard";

/** Is notified of that answer. */
export interface Departing {
  departed(outcome: Departure): void;
}
