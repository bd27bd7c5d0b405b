import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

export interface Line {
  readonly label: string;
  /** A custom property of the style: --accent, --warn. */
  readonly color: "accent" | "warn";
  readonly values: readonly (number | null)[];
}

export interface ChartProps {
  readonly title: string;
  /** Milliseconds since 1970, ascending. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  /** Each value holds until the next. */
  readonly isStepped?: boolean;
  /** Values are single events, and are shown as dots. */
  readonly isSparse?: boolean;
}

const HEIGHT = 150;
/** A chart shows at least this many seconds. */
const SHORTEST = 60;
const MINUTE = 60;

export function Chart(props: ChartProps): JSX.Element {
  const { title, times, lines, format } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const scheme = useColorScheme();
  const data = [times.map((time) => time / 1_000), ...lines.map(({ values }) => values)] as uPlot.AlignedData;
  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const made = new uPlot(optionsOf(props, element), data, element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [scheme]);
  useEffect(() => plot.current?.setData(data), [times.at(-1), times.length]);
  return (
    <figure>
      <figcaption>
        {title}
        <span class="legend">
          {lines.map(({ label, color, values }) => (
            <span key={label} class={`of-${color}`}>
              {label} <b>{latest(values, format)}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={box} class="plot" aria-hidden="true" />
    </figure>
  );
}

function latest(values: Line["values"], format: ChartProps["format"]): string {
  const value = values.findLast((each) => each !== null);
  return value === undefined || value === null ? "–" : format(value);
}

function optionsOf({ lines, format, isStepped, isSparse }: ChartProps, element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const axis: uPlot.Axis = {
    stroke: color("muted"),
    font: `11px ${style.fontFamily}`,
    grid: { stroke: color("line"), width: 1 },
    ticks: { show: false },
  };
  const paths = isSparse ? () => null : isStepped ? uPlot.paths.stepped?.({ align: 1 }) : undefined;
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, 8, 0, 0],
    scales: {
      x: { range: (_, min, max) => [Math.min(min, max - SHORTEST), max] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        space: 70,
        values: (_, ticks, __, ___, step) => ticks.map((each) => timeOfDay(each, step < MINUTE)),
      },
      { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map((each) => round(format(each))) },
    ],
    series: [
      {},
      ...lines.map((line, i) => ({
        stroke: color(line.color),
        width: 1.5,
        points: isSparse ? { show: true, size: 5, width: 0, fill: color(line.color) } : { show: false },
        ...(i === 0 && !isSparse ? { fill: `${color(line.color)}1f` } : {}),
        ...(paths ? { paths } : {}),
      })),
    ],
  };
}

/** Ticks less than a minute apart would have the same label without seconds. */
function timeOfDay(seconds: number, hasSeconds: boolean): string {
  const shown = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return new Date(seconds * 1_000).toLocaleTimeString([], hasSeconds ? { ...shown, second: "2-digit" } : shown);
}

/** What a tick need not say: "0 ms" is 0, and "1 min 00 s" is 1 min. */
function round(text: string): string {
  return text.replace(/^0 \w+$/, "0").replace(/ 00 \w+$/, "");
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function useColorScheme(): "dark" | "light" {
  const [isDark, setDark] = useState(dark.matches);
  useEffect(() => {
    const look = (): void => setDark(dark.matches);
    dark.addEventListener("change", look);
    return () => dark.removeEventListener("change", look);
  }, []);
  return isDark ? "dark" : "light";
}
