import { InvalidArgumentError } from "commander";
import ms from "ms";

const FORM = "a duration with its unit, such as 500ms, 30s, 2m or 1h";

/**
 * Milliseconds. A number without a unit is refused: it would mean seconds to some (flock -w) and milliseconds to
 * others. Zero needs none.
 *
 * @throws InvalidArgumentError
 */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  const hasUnit = /^\d*\.?\d+ *[a-z]+$/i.test(text);
  const duration = hasUnit && text.length <= 100 ? ms(text as ms.StringValue) : undefined;
  if (duration === undefined || !Number.isSafeInteger(Math.round(duration))) {
    throw new InvalidArgumentError(`Expected ${FORM}.`);
  }
  return Math.round(duration);
}

/** A parser for durations that must not be shorter. */
export function parseDurationFrom(least: number): (text: string) => number {
  return (text) => {
    const duration = parseDuration(text);
    if (duration < least) throw new InvalidArgumentError(`Expected at least ${exactDuration(least)}.`);
    return duration;
  };
}

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
] as const;

/** As it would be typed. */
export function exactDuration(duration: number): string {
  const [unit, size] = UNITS.find(([, each]) => duration >= each && duration % each === 0) ?? ["ms", 1];
  return `${duration / size}${unit}`;
}

/** About how long, with two or three digits in front of the unit. */
export function roundDuration(duration: number): string {
  const whole = Math.max(0, Math.round(duration));
  const [unit, size] = UNITS.find(([name, each]) => whole >= (name === "s" ? each : 2 * each)) ?? ["ms", 1];
  return `${Math.round(whole / size)}${unit}`;
}
