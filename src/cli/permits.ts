import { InvalidArgumentError } from "commander";

/** So many permits, of so many that there are. */
export interface Permits {
  readonly permits: number;
  readonly limit: number;
}

/** @throws InvalidArgumentError */
export function parsePermits(text: string): Permits {
  const [, permits, limit] = /^(\d{1,7})\/(\d{1,7})$/.exec(text)?.map(Number) ?? [];
  if (!permits || !limit || permits > limit) {
    throw new InvalidArgumentError("Expected permits and limit, such as 1/4: one of four.");
  }
  return { permits, limit };
}
