/** The list of locks, in the columns that fit. */
import type { ObservedHolder, ObservedLock } from "../../observation/observation.ts";
import { roundDuration } from "../durations.ts";
import { plain } from "../messages.ts";
import { fixed, leftBar } from "./cells.ts";
import type { Cell, Style } from "./cells.ts";
import { who } from "./phrases.ts";

interface Column {
  readonly head: string;
  /** 0: it shares what the others leave over. */
  readonly width: number;
  /** The least and the greatest number of columns. */
  readonly from: number;
  readonly to?: number;
  readonly cell: (lock: ObservedLock, at: number) => Cell;
}

const NONE: Cell = { text: "" };
const GAP = "  ";
/** With this many columns the time left is a bar. */
const WITH_BARS = 68;
const WAITING = 7;

const COLUMNS: readonly Column[] = [
  { head: "NAME", width: 0, from: 0, cell: ({ name, stuck }) => ({ text: plain(name), style: stuck && "red" }) },
  { head: "HOLDER", width: 0, from: 46, cell: (lock) => ({ text: holdersOf(lock) }) },
  {
    head: "HELD",
    width: 5,
    from: 58,
    cell: ({ holders: [first] }, at) => ofHolder(first, (each) => heldFor(each, at)),
  },
  {
    head: "TIME LEFT",
    width: 13,
    from: WITH_BARS,
    cell: ({ holders: [first] }, at) => ofHolder(first, (each) => timeLeft(each, at)),
  },
  {
    head: "LEFT",
    width: 5,
    from: 34,
    to: WITH_BARS - 1,
    cell: ({ holders: [first] }, at) => ofHolder(first, ({ ends }) => ({ text: textOfLeft(ends, at) })),
  },
  { head: "WAITING", width: WAITING, from: 0, cell: ({ waiters }) => countOf(waiters.length) },
  {
    head: "LONGEST",
    width: 7,
    from: 76,
    cell: ({ waiters, longestWait }) => (waiters.length > 0 ? { text: roundDuration(longestWait) } : NONE),
  },
];

export class Table {
  readonly #columns: readonly Column[];
  readonly #flexible: number;

  /** @param width of the terminal */
  constructor(width: number) {
    this.#columns = COLUMNS.filter(({ from, to = Infinity }) => width >= from && width <= to);
    const flexible = this.#columns.filter((column) => column.width === 0).length;
    const taken = this.#columns.reduce((sum, column) => sum + column.width, 0);
    // Two columns in front, for the mark of what is selected or stuck.
    this.#flexible = Math.max(4, Math.floor((width - 2 - taken - GAP.length * (this.#columns.length - 1)) / flexible));
  }

  head(): string {
    return `  ${this.#line(({ head }) => ({ text: head, style: "dim" }))}`;
  }

  row(lock: ObservedLock, at: number, isSelected: boolean): string {
    const mark = isSelected ? "> " : lock.stuck ? "! " : "  ";
    const style: Style | undefined = isSelected ? "bold" : lock.stuck ? "red" : undefined;
    return fixed({ text: mark, style }, 2) + this.#line((column) => column.cell(lock, at));
  }

  #line(cellOf: (column: Column) => Cell): string {
    return this.#columns.map((column) => fixed(cellOf(column), column.width || this.#flexible)).join(GAP);
  }
}

function ofHolder(first: ObservedHolder | undefined, cell: (holder: ObservedHolder) => Cell): Cell {
  return first ? cell(first) : NONE;
}

export function heldFor({ since, sinceIsLatest }: ObservedHolder, at: number): Cell {
  return { text: `${sinceIsLatest ? ">" : ""}${roundDuration(at - since)}` };
}

export function timeLeft({ ends, lease }: ObservedHolder, at: number): Cell {
  return leftBar(
    ends === undefined ? undefined : ends - at,
    lease,
    ends === undefined ? "never expires" : textOfLeft(ends, at),
  );
}

function textOfLeft(ends: number | undefined, at: number): string {
  return ends === undefined ? "never" : roundDuration(ends - at);
}

function holdersOf({ holders: [first, ...others], limit, used }: ObservedLock): string {
  if (!first) return "nobody";
  const permits = limit === undefined ? "" : `${used}/${limit} `;
  return `${permits}${who(first.info)}${others.length > 0 ? ` +${others.length}` : ""}`;
}

function countOf(count: number): Cell {
  return count === 0 ? NONE : { text: count.toLocaleString("en").padStart(WAITING), style: "yellow" };
}
