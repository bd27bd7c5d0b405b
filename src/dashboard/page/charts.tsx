import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { LockPast, Point, QueueLength } from "../view.ts";
import { Chart } from "./chart.tsx";
import type { Line } from "./chart.tsx";
import { useHistory } from "./feed.ts";
import type { Range } from "./feed.ts";
import { duration, number } from "./text.ts";

type Member = Exclude<keyof Point, "time">;

function line(label: string, color: Line["color"], points: readonly Point[], member: Member): Line {
  return { label, color, values: points.map((each) => each[member]) };
}

export function OverviewCharts({ newest, isConnected }: { newest: Point | null; isConnected: boolean }): JSX.Element {
  const [range, setRange] = useState<Range>("recent");
  const points = useHistory(range, newest, isConnected);
  const times = points.map(({ time }) => time);
  return (
    <section aria-labelledby="history">
      <div class="heading">
        <h2 id="history">History</h2>
        <fieldset class="chips">
          <legend class="visually-hidden">Of</legend>
          {(["recent", "minutes"] as const).map((value) => (
            <label key={value}>
              <input type="radio" name="range" checked={range === value} onChange={() => setRange(value)} />
              <span>{value === "recent" ? "15 minutes" : "24 hours"}</span>
            </label>
          ))}
        </fieldset>
      </div>
      <div class="charts">
        <Chart
          title="Holders and waiters"
          times={times}
          format={number}
          lines={[line("waiting", "warn", points, "waiters"), line("holding", "accent", points, "holders")]}
        />
        <Chart
          title="Waits so far"
          times={times}
          format={duration}
          lines={[line("longest", "warn", points, "longestWait"), line("median", "accent", points, "medianWait")]}
        />
        <Chart
          title="Holds that ended"
          times={times}
          format={duration}
          isSparse
          lines={[line("longest", "warn", points, "longestHold"), line("median", "accent", points, "medianHold")]}
        />
      </div>
    </section>
  );
}

/** @param now the present length of the queue */
export function LockCharts({ past, now }: { past: LockPast; now: QueueLength }): JSX.Element {
  const { holds } = past;
  const lengths = [...past.lengths.filter(({ time }) => time < now.time), now];
  const ended = holds.toSorted((a, b) => a.time + a.held - b.time - b.held);
  return (
    <section aria-labelledby="history">
      <h3 id="history">History</h3>
      <div class="charts">
        {past.lengths.length > 0 && (
          <Chart
            title="Waiting"
            times={lengths.map(({ time }) => time)}
            format={number}
            isStepped
            lines={[{ label: "waiting", color: "warn", values: lengths.map(({ waiting }) => waiting) }]}
          />
        )}
        {ended.length > 0 && (
          <Chart
            title="Holds that ended"
            times={ended.map(({ time, held }) => time + held)}
            format={duration}
            isSparse
            lines={[
              { label: "held", color: "accent", values: ended.map(({ held }) => held) },
              { label: "waited", color: "warn", values: ended.map(({ waited }) => waited ?? null) },
            ]}
          />
        )}
      </div>
    </section>
  );
}
