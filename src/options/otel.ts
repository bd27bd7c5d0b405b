import type { MeterProvider, TracerProvider } from "@opentelemetry/api";
import { dictionary, onlyAmong, show } from "./checks.ts";

/** Settings of `instrument`. */
export interface OtelOptions {
  /**
   * Names a lock's group, such as "invoice:*" for "invoice:42": the attribute `holdfast.lock.group` of metrics and
   * spans. Return few different groups, because each is a time series (default: no such attribute). Metrics never have
   * the lock's name, because names are unbounded.
   */
  group?: ((name: string) => string) | undefined;
  /** Where spans go (default: the global one). */
  tracerProvider?: TracerProvider | undefined;
  /** Where metrics go (default: the global one). */
  meterProvider?: MeterProvider | undefined;
}

const OTEL_OPTIONS = new Set(["group", "tracerProvider", "meterProvider"]);

/** @throws TypeError */
export function checkInstrument(options: unknown): OtelOptions {
  const given = dictionary(options, "options");
  onlyAmong(given, OTEL_OPTIONS);
  const { group, tracerProvider, meterProvider } = given as OtelOptions;
  if (group !== undefined && typeof group !== "function") {
    throw new TypeError(`Expected group to be a function from a lock's name to its group; got ${show(group)}.`);
  }
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== "function") {
    throw new TypeError(`Expected tracerProvider to be a TracerProvider; got ${show(tracerProvider)}.`);
  }
  if (meterProvider !== undefined && typeof meterProvider?.getMeter !== "function") {
    throw new TypeError(`Expected meterProvider to be a MeterProvider; got ${show(meterProvider)}.`);
  }
  return { group, tracerProvider, meterProvider };
}
