/** redlock 4 and 5 as they were published. Their types cannot be resolved, so what the tests use of them is said here. */
import { createRequire } from "node:module";
import type { Redis } from "ioredis";

const require = createRequire(import.meta.url);

interface Published5 {
  readonly value: string;
  readonly resources: string[];
  readonly expiration: number;
  extend(duration: number): Promise<Published5>;
  release(): Promise<unknown>;
}

interface Published4 {
  readonly value: string;
  unlock(): Promise<unknown>;
}

interface Module5 {
  readonly default: new (
    clients: Redis[],
    settings?: object,
  ) => { acquire(resources: string[], duration: number): Promise<Published5> };
  readonly Lock: new (
    redlock: object,
    resources: string[],
    value: string,
    attempts: [],
    expiration: number,
  ) => Published5;
}

type Module4 = new (
  clients: Redis[],
  settings?: object,
) => { lock(resources: string | string[], duration: number): PromiseLike<Published4> };

const five = require("redlock5") as Module5;
export const Redlock5: Module5["default"] = five.default;
export const Lock5: Module5["Lock"] = five.Lock;
export const Redlock4: Module4 = require("redlock4") as Module4;
