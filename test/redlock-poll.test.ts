/** What several servers say together: whoever asked hears of it once, and never before the question has been put. */
import { expect, test } from "vitest";
import { SchemeError } from "../src/index.ts";
import type { Node } from "../src/schemes/redlock/node.ts";
import { failing, poll } from "../src/schemes/redlock/poll.ts";
import { ManualClock } from "../src/testing.ts";
import { Extensions } from "../src/waiting/extensions.ts";

const nodes = ["1", "2", "3"].map((title) => ({ title }) as Node);

test("while all nodes are left out, each extension fails, and the next one is asked", async () => {
  const clock = new ManualClock();
  let asked = 0;
  const told: string[] = [];
  const extensions = new Extensions({
    isOver: false,
    ask(until, caller) {
      asked++;
      const leftOut = new SchemeError("unreachable", "It is left out.", [], true);
      poll(
        { nodes, all: nodes, limit: 100, clock },
        (_, heard) => failing(heard)(leftOut),
        () => undefined,
        caller,
      );
      return { askedAt: clock.now(), until };
    },
    extended: () => told.push("extended"),
  });
  for (const turn of ["first", "second"]) {
    extensions.whenAnswered = (isExtended) => told.push(`${turn} answered: ${isExtended}`);
    extensions.want(1_000, { extended: () => {}, notExtended: () => told.push(`${turn} failed`) });
    expect(extensions.isOut).toBe(true);
    await clock.advance(0);
    expect(extensions.isOut).toBe(false);
  }
  expect(asked).toBe(2);
  expect(told).toEqual(["first failed", "first answered: false", "second failed", "second answered: false"]);
  expect(clock.pending).toBe(0);
});
