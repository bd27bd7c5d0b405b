import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Attributes, Span } from "@opentelemetry/api";
import type { GrantEvent, HoldEnd, RequestEvent, WaitEnd } from "../events.ts";
import type { OtelOptions } from "../options/otel.ts";
import { attributesOf, SCOPE } from "./attributes.ts";
import { listen } from "./listeners.ts";

/**
 * Two spans for each lock, both children of the span that is active where it was requested: one for the wait, made when
 * that is over, and one for the hold.
 *
 * @returns ends that, and the spans that are open
 */
export function observeSpans(options: OtelOptions): () => void {
  const { tracerProvider } = options;
  const tracer = tracerProvider ? tracerProvider.getTracer(SCOPE) : trace.getTracer(SCOPE);
  const holds = new Map<string, Span>();
  const about = (event: RequestEvent): Attributes => ({
    ...attributesOf(event, options),
    "holdfast.lock.name": event.name,
    "holdfast.lock.mode": event.mode,
    "holdfast.label": event.label,
    ...(event.permits === undefined ? {} : { "holdfast.permits": event.permits }),
  });

  const waitEnded = (outcome: string) => (event: RequestEvent & WaitEnd & { readonly error?: unknown }) => {
    const now = Date.now();
    const span = tracer.startSpan("holdfast acquire", {
      kind: SpanKind.CLIENT,
      startTime: now - event.waited,
      attributes: { ...about(event), "holdfast.outcome": outcome },
    });
    if (outcome === "failed") {
      span.recordException(event.error instanceof Error ? event.error : String(event.error), now);
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end(now);
  };
  const granted = waitEnded("granted");
  const holdEnded = ({ token }: GrantEvent & HoldEnd): void => {
    holds.get(token)?.end();
    holds.delete(token);
  };

  const stop = listen({
    "holdfast:granted": (event) => {
      granted(event);
      const attributes = { ...about(event), "holdfast.fence": event.fence };
      holds.set(event.token, tracer.startSpan("holdfast hold", { kind: SpanKind.INTERNAL, attributes }));
    },
    "holdfast:timeout": waitEnded("timeout"),
    "holdfast:aborted": waitEnded("aborted"),
    "holdfast:failed": waitEnded("failed"),
    "holdfast:released": holdEnded,
    "holdfast:detached": holdEnded,
    "holdfast:lost": (event) => {
      const { reason, blocked } = event;
      const span = holds.get(event.token);
      span?.addEvent("holdfast.lost", {
        "holdfast.reason": reason,
        ...(blocked === undefined ? {} : { "holdfast.blocked": blocked / 1_000 }),
      });
      span?.setStatus({ code: SpanStatusCode.ERROR, message: `The lock was lost: ${reason}.` });
      holdEnded(event);
    },
  });
  return () => {
    stop();
    for (const span of holds.values()) span.end();
    holds.clear();
  };
}
