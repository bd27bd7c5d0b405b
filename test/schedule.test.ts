import fc from "fast-check";
import { expect, test } from "vitest";
import { Schedule, type Scheduled } from "../src/leases/schedule.ts";

class Item implements Scheduled {
  readonly due: number;
  position = -1;

  constructor(due: number) {
    this.due = due;
  }
}

/** Adds an item due then, or removes one of those that are in it (or were: the last is counted twice). */
const step = fc.oneof(
  fc.record({ add: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(0.5, Infinity, -Infinity)) }),
  fc.record({ remove: fc.nat(1_000) }),
);

test("the first is always one that is due soonest, whatever was added and removed", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
      const schedule = new Schedule<Item>();
      const sorted: Item[] = [];
      for (const each of steps) {
        if ("add" in each) {
          const item = new Item(each.add);
          schedule.add(item);
          sorted.push(item);
          sorted.sort((a, b) => (a.due < b.due ? -1 : Number(a.due > b.due)));
        } else if (sorted.length > 0) {
          const [item] = sorted.splice(each.remove % sorted.length, 1) as [Item];
          schedule.remove(item);
          expect(item.position).toBe(-1);
        }
        expect(schedule.first?.due).toBe(sorted[0]?.due);
        if (schedule.first) expect(sorted).toContain(schedule.first);
      }
      // Taken out one by one they come in order, each of them once.
      const taken: Item[] = [];
      for (let first = schedule.first; first; first = schedule.first) {
        schedule.remove(first);
        taken.push(first);
      }
      expect(taken.map(({ due }) => due)).toEqual(sorted.map(({ due }) => due));
      expect(new Set(taken)).toEqual(new Set(sorted));
    }),
  );
});

test("removing an item that is not in it changes nothing", () => {
  const schedule = new Schedule<Item>();
  const [inside, outside] = [new Item(1), new Item(0)];
  schedule.add(inside);
  schedule.remove(outside);
  schedule.remove(inside);
  schedule.remove(inside);
  expect(schedule.first).toBeUndefined();
});

test("an item's time is read when it is added, and again when it is moved", () => {
  const schedule = new Schedule<Item>();
  const moving = { due: 1, position: -1 };
  const still = new Item(5);
  schedule.add(moving);
  schedule.add(still);
  moving.due = 9;
  expect(schedule.first).toBe(moving);
  schedule.move(moving);
  expect(schedule.first).toBe(still);
  moving.due = 2;
  schedule.move(moving);
  expect(schedule.first).toBe(moving);
  expect(schedule.due).toBe(2);
});
