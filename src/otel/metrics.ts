import { metrics } from "@opentelemetry/api";
import type { Attributes } from "@opentelemetry/api";
import type { GrantEvent, HoldEnd, LockEvent, WaitEnd } from "../events.ts";
import type { OtelOptions } from "../options/otel.ts";
import { attributesOf, SCOPE } from "./attributes.ts";
import { listen } from "./listeners.ts";
import { Tally } from "./tally.ts";

/** In seconds: a free lock takes less than a millisecond, and some hold for an hour. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600];

/** A lock that is held now: what was added for it, to be taken off again. */
interface Held {
  readonly attributes: Attributes;
  readonly permits: number | undefined;
  isLeading: boolean;
}

/** @returns ends that, and takes off what is held and waited for now */
export function observeMetrics(options: OtelOptions): () => void {
  const { wait, hold, waiting, held, permits, leading, losses, troubles } = instruments(options);
  const holds = new Map<string, Held>();
  const waits = new Tally(waiting);
  const about = (event: LockEvent): Attributes => attributesOf(event, options);

  const waitEnded = (outcome: string) => (event: LockEvent & WaitEnd) => {
    const attributes = about(event);
    if (event.wasQueued) waits.remove(attributes);
    wait.record(event.waited / 1_000, { ...attributes, "holdfast.outcome": outcome });
  };
  const granted = waitEnded("granted");
  const left = ({ attributes, permits: count, isLeading }: Held): void => {
    held.add(-1, attributes);
    if (count !== undefined) permits.add(-count, attributes);
    if (isLeading) leading.add(-1, attributes);
  };
  const holdEnded = (outcome: string) => (event: GrantEvent & HoldEnd) => {
    if (event.held !== undefined) hold.record(event.held / 1_000, { ...about(event), "holdfast.outcome": outcome });
    const one = holds.get(event.token);
    // Granted before we listened.
    if (!one) return;
    holds.delete(event.token);
    left(one);
  };
  const lost = holdEnded("lost");

  const stop = listen({
    "holdfast:queued": (event) => waits.add(about(event)),
    "holdfast:granted": (event) => {
      granted(event);
      const attributes = about(event);
      holds.set(event.token, { attributes, permits: event.permits, isLeading: false });
      held.add(1, attributes);
      if (event.permits !== undefined) permits.add(event.permits, attributes);
    },
    "holdfast:timeout": waitEnded("timeout"),
    "holdfast:aborted": waitEnded("aborted"),
    "holdfast:failed": waitEnded("failed"),
    "holdfast:released": holdEnded("released"),
    "holdfast:detached": holdEnded("detached"),
    "holdfast:lost": (event) => {
      lost(event);
      losses.add(1, { ...about(event), "holdfast.reason": event.reason });
    },
    "holdfast:trouble": (event) => {
      troubles.add(1, { ...about(event), "holdfast.operation": event.operation, "error.type": event.code ?? "_OTHER" });
    },
    "holdfast:elected": ({ token }) => {
      const one = holds.get(token);
      if (!one || one.isLeading) return;
      one.isLeading = true;
      leading.add(1, one.attributes);
    },
  });
  return () => {
    stop();
    waits.clear();
    for (const one of holds.values()) left(one);
    holds.clear();
  };
}

function instruments({ meterProvider }: OtelOptions) {
  const meter = meterProvider ? meterProvider.getMeter(SCOPE) : metrics.getMeter(SCOPE);
  const seconds = { unit: "s", advice: { explicitBucketBoundaries: BUCKETS } };
  return {
    wait: meter.createHistogram("holdfast.wait.duration", {
      ...seconds,
      description: "How long requests waited, by outcome.",
    }),
    hold: meter.createHistogram("holdfast.hold.duration", {
      ...seconds,
      description: "How long locks were held, by outcome.",
    }),
    waiting: meter.createUpDownCounter("holdfast.waiting", {
      unit: "{request}",
      description: "Requests of this process that wait.",
    }),
    held: meter.createUpDownCounter("holdfast.held", { unit: "{lock}", description: "Locks that this process holds." }),
    permits: meter.createUpDownCounter("holdfast.permits", {
      unit: "{permit}",
      description: "Permits of semaphores that this process holds.",
    }),
    leading: meter.createUpDownCounter("holdfast.leading", {
      unit: "{election}",
      description: "Elections that this process leads.",
    }),
    losses: meter.createCounter("holdfast.losses", { unit: "{lock}", description: "Locks that were lost, by reason." }),
    troubles: meter.createCounter("holdfast.troubles", {
      unit: "{failure}",
      description: "Calls to the server that failed, by code.",
    }),
  };
}
