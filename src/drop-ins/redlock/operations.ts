/** Operations on a lock over its servers: the tries, what is undone between them, and the pause before the next. */
import { randomBytes } from "node:crypto";
import { systemClock } from "../../clock.ts";
import { COMMAND_LIMIT } from "../../drivers/time-limit.ts";
import type { Member } from "../member.ts";
import { Wait } from "../wait.ts";
import { poll } from "./ballot.ts";
import type { Outcome } from "./ballot.ts";
import { ExecutionError } from "./errors.ts";
import type { ExecutionStats } from "./errors.ts";
import { scriptOn } from "./scripts.ts";
import type { ScriptText } from "./scripts.ts";
import { driftOf } from "./settings.ts";
import type { Settings } from "./settings.ts";

export interface Scripts {
  readonly acquireScript: ScriptText;
  readonly extendScript: ScriptText;
  readonly releaseScript: ScriptText;
}

/** How many tries are kept, because with `retryCount: -1` there is no end to them. */
const KEPT_ATTEMPTS = 1_000;

/** An answer that comes later than a lock would last is useless; a server gets at least this much time. */
const LEAST_LIMIT = 50;

export interface Done {
  readonly attempts: Promise<ExecutionStats>[];
  /** When what was asked for ends, in milliseconds since 1970 (of a release: nothing). */
  readonly expiration: number;
  readonly start: number;
  readonly value: string;
}

export class Operations {
  readonly #members: readonly Member[];
  readonly #scripts: Scripts;
  readonly #failed: (error: Error) => void;

  /** @param failed hears of every vote against */
  constructor(members: readonly Member[], scripts: Scripts, failed: (error: Error) => void) {
    this.#members = members;
    this.#scripts = scripts;
    this.#failed = failed;
  }

  /**
   * @param names each once
   * @throws ExecutionError (as a rejection)
   */
  async acquire(names: readonly string[], duration: number, settings: Settings): Promise<Done> {
    const tries = new Tries(settings);
    const wait = new Wait(this.#members, names, { isSimple: names.length === 1 });
    try {
      for (let isWoken = false; ;) {
        // Another for each try, so that what is late of one cannot undo the next.
        const value = randomBytes(16).toString("hex");
        wait.begin();
        const outcome = await this.#ask("acquireScript", names, [value, String(duration)], settings, {
          limit: Math.max(duration, LEAST_LIMIT),
          // A waiter that is woken and comes too late has failed at nothing.
          isQuiet: isWoken,
        });
        const expiration = outcome.wallStart + duration - driftOf(duration, settings.driftFactor);
        const isInTime = systemClock.now() - outcome.start < duration - driftOf(duration, settings.driftFactor);
        if (outcome.vote === "for" && isInTime) return { ...tries.succeeded(outcome), expiration, value };
        await this.#undo(names, value, settings, outcome);
        if (!isWoken) tries.failed(outcome);
        isWoken = await wait.until(tries.due);
      }
    } finally {
      wait.end();
    }
  }

  /** @throws ExecutionError (as a rejection) */
  async extend(names: readonly string[], value: string, duration: number, settings: Settings): Promise<Done> {
    const limit = Math.max(duration, LEAST_LIMIT);
    const done = await this.#retry("extendScript", names, [value, String(duration)], settings, limit);
    const expiration = done.start + duration - driftOf(duration, settings.driftFactor);
    return { ...done, expiration, value };
  }

  /** @throws ExecutionError (as a rejection) */
  async release(names: readonly string[], value: string, settings: Settings): Promise<Done> {
    const done = await this.#retry("releaseScript", names, [value], settings, COMMAND_LIMIT);
    return { ...done, expiration: 0, value };
  }

  async #retry(
    script: "extendScript" | "releaseScript",
    names: readonly string[],
    args: readonly string[],
    settings: Settings,
    limit: number,
  ): Promise<Omit<Done, "expiration" | "value">> {
    const tries = new Tries(settings);
    for (;;) {
      const outcome = await this.#ask(script, names, args, settings, { limit, isQuiet: false });
      if (outcome.vote === "for") return tries.succeeded(outcome);
      tries.failed(outcome, outcome.isFinal);
      await new Promise<void>(
        (resolve) => void systemClock.after(tries.due - systemClock.now(), () => resolve(), true),
      );
    }
  }

  /** After a try that failed: what it took, or may still take, is given back. */
  async #undo(names: readonly string[], value: string, settings: Settings, outcome: Outcome): Promise<void> {
    // One that has not answered need not be waited for: this follows what it was asked, on the same connection.
    const awaited: Promise<unknown>[] = [];
    for (const member of this.#members) {
      if (outcome.refusedBy.has(member)) continue;
      const released = this.#send(member, "releaseScript", names, [value], settings, COMMAND_LIMIT).catch(() => {});
      if (outcome.votesFor.has(member.client)) awaited.push(released);
    }
    await Promise.all(awaited);
  }

  #ask(
    script: keyof Scripts,
    names: readonly string[],
    args: readonly string[],
    settings: Settings,
    { limit, isQuiet }: { readonly limit: number; readonly isQuiet: boolean },
  ): Promise<Outcome> {
    return poll(this.#members, {
      size: names.length,
      ask: (member) => this.#send(member, script, names, args, settings, limit),
      failed: (error) => {
        if (!isQuiet) this.#failed(error);
      },
    });
  }

  #send(
    member: Member,
    script: keyof Scripts,
    names: readonly string[],
    args: readonly string[],
    { db }: Settings,
    limit: number,
  ): Promise<unknown> {
    const keys = names.map((name) => member.key(name));
    const channels = script === "releaseScript" ? [member.publish, ...names.map((name) => member.channel(name))] : [];
    return member.run(scriptOn(member, this.#scripts[script], db), keys, [...args, ...channels], limit);
  }
}

/** The tries of one operation, as its result or its error has them. */
class Tries {
  readonly #settings: Settings;
  readonly #attempts: Promise<ExecutionStats>[] = [];
  #count = 0;
  /** When the next one is due, by the monotonic clock. */
  due: number = -Infinity;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  succeeded({ stats, wallStart }: Outcome): Omit<Done, "expiration" | "value"> {
    this.#add(stats);
    return { attempts: this.#attempts, start: wallStart };
  }

  /** @throws ExecutionError if it was the last one */
  failed({ stats }: Outcome, isFinal = false): void {
    const { retryCount, retryDelay, retryJitter } = this.#settings;
    this.#add(stats);
    if (isFinal || (retryCount !== -1 && this.#count > retryCount)) {
      const message = "The operation was unable to achieve a quorum during its retry window.";
      throw new ExecutionError(message, this.#attempts);
    }
    const jitter = Math.floor((Math.random() * 2 - 1) * retryJitter);
    this.due = systemClock.now() + Math.max(0, retryDelay + jitter);
  }

  #add(stats: Promise<ExecutionStats>): void {
    this.#count++;
    this.#attempts.push(stats);
    if (this.#attempts.length > KEPT_ATTEMPTS) void this.#attempts.shift();
  }
}
