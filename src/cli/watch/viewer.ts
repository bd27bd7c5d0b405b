/** The state of one viewer, and what their keys do. */
import width from "string-width";
import { systemClock } from "../../clock.ts";
import { findLocks, SHOWS, SORTS } from "../../observation/find.ts";
import type { Search } from "../../observation/find.ts";
import type { Observation, ObservedLock } from "../../observation/observation.ts";
import type { Observer } from "../../observation/observer.ts";
import type { Session } from "../connection.ts";
import { failureOf } from "../failures.ts";
import { lookAt, whoHolds } from "../listing.ts";
import type { ListedLock } from "../listing.ts";
import { harmless, plain, quoted } from "../messages.ts";
import { freeFrom } from "../release.ts";
import { cut } from "../table.ts";
import { fixed, line } from "./cells.ts";
import type { Size } from "./cells.ts";
import { header } from "./header.ts";
import { oneLock } from "./one-lock.ts";
import { Table } from "./overview.ts";
import { counted } from "./phrases.ts";
import { Rate } from "./rate.ts";

export interface Key {
  /** The character that was typed, if it was one. */
  readonly text: string;
  /** The name of the key: "up", "return", "escape", "a" and so on. */
  readonly name: string;
}

const SMALLEST: Size = { columns: 24, rows: 8 };
/** Lines above the list, and below it. */
const [ABOVE, BELOW] = [5, 1];

interface Prompt {
  readonly for: "filter" | "name";
  text: string;
}

/** Those that were found, as long as what they were found in and for stays the same. */
interface Found {
  readonly of: Observation;
  readonly key: string;
  readonly locks: readonly ObservedLock[];
}

export class Viewer {
  readonly #session: Session;
  readonly #observer: Observer;
  readonly #pattern: string | undefined;
  readonly #rate = new Rate();
  #rated: Observation | undefined;
  #search: Search = { search: "", show: "all", sort: "attention" };
  #found: Found | undefined;
  #selected: string | undefined;
  /** How many locks the list is scrolled by, and how many waiters the queue. */
  #top = 0;
  #skip = 0;
  #lock: string | undefined;
  /** The current input, and its purpose. */
  #prompt: Prompt | undefined;
  /** The lock that is to be freed, as it was when that was asked for. */
  #toFree: ListedLock | undefined;
  #message = "";
  #page = 1;

  constructor(session: Session, observer: Observer, pattern: string | undefined) {
    this.#session = session;
    this.#observer = observer;
    this.#pattern = pattern;
  }

  /** @returns whether the viewer wants to leave; resolves when the key has had its effect */
  async press(key: Key): Promise<boolean> {
    this.#message = "";
    if (this.#prompt) await this.#type(this.#prompt, key);
    else if (key.text === "q") return true;
    else if (key.text === "f") await this.#askToFree();
    else if (this.#lock === undefined) this.#inList(key);
    else this.#inLock(key);
    return false;
  }

  #inList({ text, name }: Key): void {
    const { sort, show } = this.#search;
    if (text === "/") this.#prompt = { for: "filter", text: this.#search.search };
    else if (text === "s") this.#look({ sort: next(SORTS, sort) });
    else if (text === "v") this.#look({ show: next(SHOWS, show) });
    else if (name === "escape") this.#look({ search: "", show: "all" });
    else if (name === "return") [this.#lock, this.#skip] = [this.#selected, 0];
    else this.#select(step({ text, name }, this.#page));
  }

  #inLock({ text, name }: Key): void {
    if (name === "escape" || name === "left" || name === "backspace") this.#lock = undefined;
    else this.#skip = Math.max(0, this.#skip + step({ text, name }, this.#page));
  }

  #look(change: Partial<Search>): void {
    this.#search = { ...this.#search, ...change };
    this.#top = 0;
    this.#selected = undefined;
  }

  #select(by: number): void {
    const locks = this.#locks();
    const now = locks.findIndex(({ name }) => name === this.#selected);
    this.#selected = locks[Math.min(locks.length - 1, Math.max(0, now + by))]?.name;
  }

  async #type(prompt: Prompt, { text, name }: Key): Promise<void> {
    if (name === "escape") {
      if (prompt.for === "filter") this.#look({ search: "" });
      this.#prompt = undefined;
    } else if (name === "return") {
      this.#prompt = undefined;
      if (prompt.for === "name") await this.#free(prompt.text);
    } else {
      prompt.text = name === "backspace" ? prompt.text.slice(0, -1) : prompt.text + printable(text);
      if (prompt.for === "filter") this.#look({ search: prompt.text });
    }
  }

  async #askToFree(): Promise<void> {
    const name = this.#lock ?? this.#selected;
    if (name === undefined) return;
    await this.#try(async () => {
      const lock = await lookAt(this.#session.locks, name);
      if (lock.holders.length === 0) this.#message = `${quoted(name)} is free.`;
      else [this.#toFree, this.#prompt] = [lock, { for: "name", text: "" }];
    });
  }

  async #free(typed: string): Promise<void> {
    const lock = this.#toFree as ListedLock;
    // A name that cannot be typed is typed as it is shown.
    if (typed !== lock.name && typed !== plain(lock.name)) {
      this.#message = "Nothing was freed: that is not the lock's name.";
      return;
    }
    await this.#try(async () => {
      this.#message = await freeFrom(this.#session, lock);
      await this.#observer.look();
    });
  }

  async #try(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#message = failureOf(error).message;
    }
  }

  #locks(): readonly ObservedLock[] {
    const { latest } = this.#observer;
    if (!latest) return [];
    const key = JSON.stringify(this.#search);
    if (this.#found?.of !== latest || this.#found.key !== key) {
      this.#found = { of: latest, key, locks: findLocks(latest, this.#search) };
    }
    return this.#found.locks;
  }

  /** One line for each row of the terminal but the last. */
  frame(size: Size): string[] {
    const rows = size.rows - 1;
    if (size.columns < SMALLEST.columns || size.rows < SMALLEST.rows) {
      const needed = `needs ${SMALLEST.columns} x ${SMALLEST.rows}`;
      return ["holdfast watch", needed, "q quit"].slice(0, rows).map((text) => line([{ text }], size.columns));
    }
    const { latest } = this.#observer;
    if (latest && latest !== this.#rated) this.#rate.add(latest);
    this.#rated = latest;
    const room = { columns: size.columns, rows: rows - BELOW };
    const body = this.#lock === undefined ? this.#list(room) : this.#one(this.#lock, room);
    while (body.length < room.rows) body.push("");
    return [...body.slice(0, room.rows), this.#footer(size.columns)];
  }

  #list({ columns, rows }: Size): string[] {
    const locks = this.#locks();
    this.#page = Math.max(1, rows - ABOVE);
    const index = Math.max(
      0,
      locks.findIndex(({ name }) => name === this.#selected),
    );
    this.#selected ??= locks[0]?.name;
    this.#top = Math.max(0, Math.min(this.#top, index, locks.length - this.#page), index - this.#page + 1);
    const table = new Table(columns);
    const now = systemClock.now();
    const shown = locks.slice(this.#top, this.#top + this.#page);
    const list = shown.map((lock) => table.row(lock, now, lock.name === this.#selected));
    if (list.length === 0) list.push(this.#observer.latest ? "  No locks." : "");
    return [
      ...header(this.#observer, this.#rate.perSecond, this.#pattern, columns),
      this.#count(locks.length, columns),
      table.head(),
      ...list,
    ];
  }

  #one(name: string, { columns, rows }: Size): string[] {
    const lock = this.#observer.latest?.locks.get(name);
    this.#page = Math.max(1, Math.floor(rows / 2));
    this.#skip = Math.max(0, Math.min(this.#skip, (lock?.waiters.length ?? 0) - 1));
    const [title = ""] = header(this.#observer, this.#rate.perSecond, this.#pattern, columns);
    return [title, "", ...oneLock(name, lock, systemClock.now(), { columns, rows: rows - 2 }, this.#skip)];
  }

  #count(count: number, columns: number): string {
    const { search, show, sort } = this.#search;
    const all = this.#observer.latest?.totals.locks ?? 0;
    const filter = search === "" ? "" : ` with ${quoted(search)}`;
    const which = show === "all" ? "" : `, ${show}`;
    return line(
      [{ text: `${count.toLocaleString("en")} of ${counted(all, "lock")}${filter}${which}, by ${sort}`, style: "dim" }],
      columns,
    );
  }

  #footer(columns: number): string {
    if (this.#prompt?.for === "filter") return line([{ text: `/${this.#prompt.text}_` }], columns);
    if (this.#prompt) {
      const question = `Held by ${whoHolds((this.#toFree as ListedLock).holders)}. Type the lock's name to free it: `;
      const typed = `${this.#prompt.text}_`;
      // What is typed is what must be seen.
      const room = Math.max(0, columns - width(typed));
      return line([{ text: cut(question, room), style: "red" }, { text: typed }], columns);
    }
    if (this.#message) return fixed({ text: harmless(this.#message), style: "bold" }, columns);
    const keys = this.#lock === undefined ? LIST_KEYS : LOCK_KEYS;
    return fixed({ text: keys, style: "dim" }, columns);
  }
}

const LIST_KEYS = "q quit  / filter  s sort  v which  Enter queue  f free";
const LOCK_KEYS = "Esc back  up, down scroll  f free  q quit";

function step({ text, name }: Key, page: number): number {
  if (name === "down" || text === "j") return 1;
  if (name === "up" || text === "k") return -1;
  if (name === "pagedown" || text === " ") return page;
  if (name === "pageup") return -page;
  return name === "home" ? -Infinity : name === "end" ? Number.MAX_SAFE_INTEGER : 0;
}

function next<T>(all: readonly T[], now: T): T {
  return all[(all.indexOf(now) + 1) % all.length] as T;
}

/** The typed text, without keys that are not characters. */
function printable(text: string): string {
  return /^[^\p{C}]+$/u.test(text) ? text : "";
}
