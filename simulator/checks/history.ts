import type { World } from "../world/world.ts";

interface Entry {
  readonly time: number;
  readonly who: string;
  readonly what: string;
  readonly details: readonly unknown[];
}

/** What has happened, in order. It is put into words only if somebody reads it. */
export class History {
  readonly #world: World;
  readonly #entries: Entry[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** @param time where it is not now: code may be ahead of the world */
  add(who: string, what: string, details: readonly unknown[] = [], time = this.#world.now): void {
    this.#entries.push({ time, who, what, details });
  }

  get lines(): string[] {
    return this.#entries.map(({ time, who, what, details }) => {
      const words = details.flatMap((detail) => (detail === undefined || detail === "" ? [] : [show(detail)]));
      return [clock(time), who.padEnd(3), what, ...words].join(" ").trimEnd();
    });
  }
}

/** Hours, minutes, seconds and milliseconds of the world. */
export function clock(time: number): string {
  const pad = (value: number, width: number): string => String(Math.floor(value)).padStart(width, "0");
  const fraction = pad((time % 1) * 100, 2);
  return `${pad(time / 3_600_000, 1)}:${pad((time / 60_000) % 60, 2)}:${pad((time / 1_000) % 60, 2)}.${pad(time % 1_000, 3)}${fraction}`;
}

function show(detail: unknown): string {
  if (typeof detail === "string") return detail;
  if (typeof detail === "number") return String(Math.round(detail * 100) / 100);
  if (detail instanceof Error) return `${detail.name}: ${detail.message}`;
  if (Array.isArray(detail)) return `[${detail.map(show).join(" ")}]`;
  return JSON.stringify(detail);
}
