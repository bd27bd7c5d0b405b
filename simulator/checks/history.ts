import type { World } from "../world/world.ts";

interface Entry {
  readonly time: number;
  readonly who: string;
  readonly what: string | (() => string);
}

/** What has happened, in order. It is put into words only if somebody reads it. */
export class History {
  readonly #world: World;
  readonly #entries: Entry[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  add(who: string, what: string | (() => string)): void {
    this.#entries.push({ time: this.#world.now, who, what });
  }

  get now(): number {
    return this.#world.now;
  }

  get lines(): string[] {
    return this.#entries.map(({ time, who, what }) => {
      const words = typeof what === "string" ? what : what();
      return `${clock(time)}  ${who.padEnd(4)} ${words}`.trimEnd();
    });
  }
}

/** Hours, minutes, seconds and milliseconds of the world, and hundredths of those. */
function clock(time: number): string {
  const pad = (value: number, width: number): string => String(Math.floor(value)).padStart(width, "0");
  const fraction = pad((time % 1) * 100, 2);
  return `${pad(time / 3_600_000, 1)}:${pad((time / 60_000) % 60, 2)}:${pad((time / 1_000) % 60, 2)}.${pad(time % 1_000, 3)}${fraction}`;
}
