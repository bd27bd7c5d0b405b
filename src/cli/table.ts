/** Columns for people: in as many columns as the terminal has, or else 80. What is too long is cut. */
import width from "string-width";

const USUAL_WIDTH = 80;
const NARROWEST = 8;
const GAP = "  ";

/**
 * @param rows the first is the head; all of the same length
 * @param flexible which columns may be cut if the rows do not fit
 */
export function table(rows: readonly (readonly string[])[], flexible: readonly number[]): string {
  const needed = (rows[0] ?? []).map((_, column) =>
    rows.reduce((most, row) => Math.max(most, width(row[column] ?? "")), 0),
  );
  const widths = fit(needed, flexible, Math.max(process.stdout.columns ?? USUAL_WIDTH, 40));
  return rows
    .map((row) => row.map((cell, column) => pad(cut(cell, widths[column] as number), widths[column] as number)))
    .map((cells) => cells.join(GAP).trimEnd())
    .join("\n");
}

/** The widest flexible column gives way first. */
function fit(needed: readonly number[], flexible: readonly number[], available: number): number[] {
  const widths = [...needed];
  let excess = widths.reduce((sum, each) => sum + each, 0) + GAP.length * (widths.length - 1) - available;
  for (; excess > 0; excess--) {
    const widest = flexible.reduce((a, b) => ((widths[b] as number) > (widths[a] as number) ? b : a));
    if ((widths[widest] as number) <= NARROWEST) break;
    (widths[widest] as number)--;
  }
  return widths;
}

/** The text in at most this many columns; if it is shortened, it ends with "…". */
export function cut(text: string, most: number): string {
  if (width(text) <= most) return text;
  let [kept, taken] = ["", 0];
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    taken += width(segment);
    if (taken > most - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** The text with spaces after it, in at least this many columns. */
export function pad(text: string, to: number): string {
  return text + " ".repeat(Math.max(0, to - width(text)));
}
