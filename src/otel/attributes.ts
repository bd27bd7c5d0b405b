import type { Attributes } from "@opentelemetry/api";
import type { LockEvent } from "../events.ts";
import type { OtelOptions } from "../options/otel.ts";

/** The name of our tracer and meter. */
export const SCOPE = "holdfast";

/** The attributes of a lock in metrics and spans: few different values. */
export function attributesOf({ name, scheme, prefix }: LockEvent, { group }: OtelOptions): Attributes {
  const bounded = { "holdfast.scheme": scheme, "holdfast.prefix": prefix };
  return group ? { ...bounded, "holdfast.lock.group": group(name) } : bounded;
}
