/** `holdfast/otel`: spans and metrics of all LockManagers of this process, through OpenTelemetry's API. */
import { checkInstrument } from "./options/otel.ts";
import type { OtelOptions } from "./options/otel.ts";
import { observeMetrics } from "./otel/metrics.ts";
import { observeSpans } from "./otel/spans.ts";

export type { OtelOptions } from "./options/otel.ts";

/**
 * Reports spans and metrics from now on, for all LockManagers of this process. Call it once, after the SDK has been set
 * up. Without an SDK nothing is recorded.
 *
 * @returns a function that stops reporting and ends open spans
 * @throws TypeError
 */
export function instrument(options?: OtelOptions): () => void {
  const checked = checkInstrument(options);
  const stops = [observeSpans(checked), observeMetrics(checked)];
  return () => {
    for (const stop of stops) stop();
  };
}
