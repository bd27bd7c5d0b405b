import { onNextTurn, sleep } from "../runtime.ts";

function turn(): Promise<void> {
  return new Promise((resolve) => onNextTurn(resolve));
}

/** Between two looks at a connection that is down or clogged, in milliseconds. */
const LONGEST_PAUSE = 50;

/**
 * Resolves when the condition holds. It is checked after that many turns of the event loop, then every turn for a
 * while, then less and less often.
 */
export async function untilWritten(isWritten: () => boolean, turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
  for (let pause = 0.1; !isWritten(); pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    if (pause < 1) await turn();
    else await sleep(pause);
  }
}
