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

/** Short, for people. */
export function formatDuration(duration: number): string {
  if (duration >= 1_000 && duration < 120_000) return `${Math.round(duration / 1_000)}s`;
  return ms(Math.max(0, Math.round(duration)));
}
