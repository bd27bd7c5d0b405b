/** Lines of cells, each of a width of its own. Text is cut and padded first, and only then colored. */
import { styleText } from "node:util";
import width from "string-width";
import { cut, pad } from "../table.ts";

export type Style = Parameters<typeof styleText>[0];

export interface Cell {
  readonly text: string;
  readonly style?: Style | undefined;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Colored, if the terminal has colors and NO_COLOR is not set. */
export function paint({ text, style }: Cell): string {
  return style === undefined ? text : styleText(style, text);
}

/** One cell of this many columns. */
export function fixed({ text, style }: Cell, columns: number): string {
  return paint({ text: pad(cut(text, columns), columns), style });
}

/** As many of the parts, one after the other, as fit; the last one that does not is cut. */
export function line(parts: readonly Cell[], columns: number): string {
  let [rest, whole] = [columns, ""];
  for (const { text, style } of parts) {
    if (rest <= 0) break;
    const shown = cut(text, rest);
    rest -= width(shown);
    whole += paint({ text: shown, style });
  }
  return whole;
}

const BAR = 8;

/** How much of the lease is left, and for how long. */
export function leftBar(left: number | undefined, lease: number | undefined, text: string): Cell {
  if (left === undefined || !lease) return { text, style: "red" };
  const share = Math.min(1, Math.max(0, left / lease));
  const full = Math.round(share * BAR);
  const style = share > 0.4 ? "green" : share > 0.2 ? "yellow" : "red";
  return { text: `${"█".repeat(full)}${"░".repeat(BAR - full)} ${text}`, style };
}

const LEVELS = "▁▂▃▄▅▆▇█";

/** The newest values, at most this many. */
export function sparkline(values: readonly number[], columns: number): string {
  const shown = values.slice(-columns);
  const most = Math.max(1, ...shown);
  return shown.map((value) => LEVELS[Math.ceil((value / most) * (LEVELS.length - 1))]).join("");
}
