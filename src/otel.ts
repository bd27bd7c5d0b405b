/** `holdfast/otel`: spans and metrics of all LockManagers of this process, by OpenTelemetry's API. */
import { checkInstrument } from "./options/otel.ts";
import type { OtelOptions } from "./options/otel.ts";
import { observeMetrics } from "./otel/metrics.ts";
import { observeSpans } from "./otel/spans.ts";

export type { OtelOptions } from "./options/otel.ts";

/**
 * Report spans and metrics from now on, for all LockManagers of this process. Call it once, after the SDK has been set
 * up. Without an SDK nothing is recorded.
 *
 * @returns stops reporting, and ends the spans that are open
 * @throws TypeError
 */
export function instrument(options?: OtelOptions): () => void {
  const checked = checkInstrument(options);
  const stops = [observeSpans(checked), observeMetrics(checked)];
  return () => {
    for (const stop of stops) stop();
  };
}
