/**
 * What a program takes from its machine, given by the simulated process that runs: time, timers and chance. While none
 * runs, everything is as it was. It must be installed before the library is loaded.
 */
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers";
import { currentProcess } from "./process.ts";
import type { ProcessTimer } from "./process.ts";

/** What setTimeout returns to a simulated process. */
class SimulatedTimeout {
  readonly timer: ProcessTimer;
  readonly clear: () => void;

  constructor(timer: ProcessTimer, clear: () => void) {
    this.timer = timer;
    this.clear = clear;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

type Callback = (...args: unknown[]) => void;

/** Replaces them for the rest of this process's life. */
export function installBuiltins(): void {
  installTimers();
  installTime();
  const { random } = Math;
  Math.random = () => currentProcess()?.random.next() ?? random();
  const { webcrypto } = crypto;
  const getRandomValues = webcrypto.getRandomValues.bind(webcrypto);
  const simulated = (array: Uint8Array): Uint8Array => {
    const process = currentProcess();
    if (!process) return getRandomValues(array);
    array.set(process.bytes(array.length));
    return array;
  };
  const randomUUID = webcrypto.randomUUID.bind(webcrypto);
  const uuid = (): string => currentProcess()?.uuid() ?? randomUUID();
  Object.assign(webcrypto, { getRandomValues: simulated, randomUUID: uuid });
  syncBuiltinESMExports();
}

function installTimers(): void {
  const { setTimeout, clearTimeout, setImmediate, clearImmediate } = timers;
  const later = (run: Callback, delay = 0, ...args: unknown[]): unknown => {
    const process = currentProcess();
    if (!process) return setTimeout(run, delay, ...args);
    const timer = process.setTimeout(() => run(...args), Number(delay) || 0);
    return new SimulatedTimeout(timer, () => process.clearTimeout(timer));
  };
  const clear = (timeout: unknown): void => {
    if (timeout instanceof SimulatedTimeout) timeout.clear();
    else clearTimeout(timeout as NodeJS.Timeout | undefined);
  };
  const soon = (run: Callback, ...args: unknown[]): unknown => {
    const process = currentProcess();
    return process ? process.setImmediate(() => run(...args)) : setImmediate(run, ...args);
  };
  const clearSoon = (entry: unknown): void => {
    if (entry && typeof entry === "object" && "run" in entry) entry.run = undefined;
    else clearImmediate(entry as NodeJS.Immediate | undefined);
  };
  for (const home of [timers, globalThis]) {
    Object.assign(home, { setTimeout: later, clearTimeout: clear, setImmediate: soon, clearImmediate: clearSoon });
  }
}

function installTime(): void {
  const now = performance.now.bind(performance);
  performance.now = () => currentProcess()?.monotonic() ?? now();
  const RealDate = Date;
  globalThis.Date = class extends RealDate {
    constructor(...args: [] | [number]) {
      if (args.length === 0) super(currentProcess()?.wall() ?? RealDate.now());
      else super(...args);
    }

    static override now(): number {
      return currentProcess()?.wall() ?? RealDate.now();
    }
  } as DateConstructor;
}
