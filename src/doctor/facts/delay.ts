/** How long a server takes to answer, and what its clock says. */
import type { Clock } from "../../clock.ts";
import type { Send } from "../../drivers/driver.ts";

/** Of a command, in milliseconds. */
export interface Delay {
  readonly median: number;
  readonly longest: number;
}

const SAMPLES = 12;
/** Enough has been seen of a server that is slow. */
const LONGEST_LOOK = 3_000;

export interface Measured {
  readonly delay: Delay;
  readonly clock: { readonly offset: number; readonly error: number } | undefined;
}

/**
 * The quickest answer gives the best estimate of the server's clock: Cristian's algorithm,
 * https://doi.org/10.1007/BF01784024.
 */
export async function measure(send: Send, clock: Clock): Promise<Measured> {
  const delays: number[] = [];
  let [best, offset] = [Infinity, NaN];
  const end = clock.now() + LONGEST_LOOK;
  for (let i = 0; i < SAMPLES && (i === 0 || clock.now() < end); i++) {
    const begun = clock.now();
    const wall = clock.micros() / 1_000;
    const reply = await send(["TIME"]).catch(() => undefined);
    const delay = clock.now() - begun;
    // The first one also pays for what is set up late.
    if (i > 0) delays.push(delay);
    const told = timeIn(reply);
    if (told === undefined || delay >= best) continue;
    [best, offset] = [delay, told - (wall + delay / 2)];
  }
  delays.sort((a, b) => a - b);
  const delay = { median: delays[delays.length >> 1] ?? 0, longest: delays.at(-1) ?? 0 };
  return { delay, clock: Number.isNaN(offset) ? undefined : { offset, error: best / 2 } };
}

/** Milliseconds since 1970. */
function timeIn(reply: unknown): number | undefined {
  if (!Array.isArray(reply)) return undefined;
  const [seconds, micros] = reply.map(Number);
  const time = Number(seconds) * 1_000 + Number(micros) / 1_000;
  return Number.isFinite(time) ? time : undefined;
}
