/**
 * What one holder has on all servers: a mutex, or permits of a semaphore. Takes, refreshes and releases; keeps no time.
 */
import { systemClock } from "../../clock.ts";
import { COMMAND_LIMIT } from "../../drivers/time-limit.ts";
import { endsKey } from "../../schemes/keys.ts";
import type { Member } from "../member.ts";
import { poll } from "../redlock/ballot.ts";
import type { Outcome } from "../redlock/ballot.ts";
import { MUTEX, SEMAPHORE } from "./scripts.ts";
import type { Scripts } from "./scripts.ts";

export interface Kind {
  /** In messages. */
  readonly title: string;
  readonly name: string;
  /** Of a semaphore; a mutex has neither. */
  readonly limit?: number;
  readonly permits?: number;
}

export type Taken =
  /** `start` is when what was taken began, by the monotonic clock. */
  | { readonly isTaken: true; readonly start: number }
  /** `error` if a server failed rather than refused. */
  | { readonly isTaken: false; readonly isFinal: boolean; readonly error: Error | undefined };

export class Seat {
  readonly members: readonly Member[];
  readonly kind: Kind;
  readonly #scripts: Scripts;
  readonly #lockTimeout: number;
  readonly #words: readonly string[];

  constructor(members: readonly Member[], kind: Kind, identifier: string, lockTimeout: number) {
    const { limit, permits } = kind;
    this.members = members;
    this.kind = kind;
    this.#scripts = limit === undefined ? MUTEX : SEMAPHORE;
    this.#lockTimeout = lockTimeout;
    const held = permits === undefined ? [identifier] : Array.from({ length: permits }, (_, i) => `${identifier}_${i}`);
    this.#words = [String(lockTimeout), ...(limit === undefined ? [] : [String(limit)]), ...held];
  }

  /** What was taken on only some servers, or too late, is released. */
  async acquire(): Promise<Taken> {
    const taken = await this.#ask("acquire");
    if (!taken.isTaken || systemClock.now() - taken.start >= this.#lockTimeout) {
      await this.#giveBack(taken.outcome);
      return taken.isTaken ? { isTaken: false, isFinal: false, error: undefined } : taken;
    }
    return taken;
  }

  /** @param stillHeld asked before it is put back on servers that have lost it: what was released is put nowhere */
  async refresh(stillHeld: () => boolean): Promise<Taken> {
    const taken = await this.#ask("refresh");
    if (taken.isTaken && stillHeld()) {
      for (const member of taken.outcome.refusedBy) this.#send(member, "acquire").catch(() => {});
    }
    return taken;
  }

  /** Resolves if a majority has it no more. */
  async release(): Promise<void> {
    const { isTaken, error } = await this.#ask("release").then((taken) => ({ error: undefined, ...taken }));
    if (!isTaken && error) throw error;
  }

  async #ask(script: keyof Scripts): Promise<Taken & { readonly outcome: Outcome }> {
    let error: Error | undefined;
    const outcome = await poll(this.members, {
      size: 1,
      ask: (member) => this.#send(member, script),
      failed: (failure) => {
        if (failure.name !== "ResourceLockedError") error = failure;
      },
    });
    const { start, isFinal } = outcome;
    if (outcome.vote === "for") return { isTaken: true, start, outcome };
    return { isTaken: false, isFinal, error: isFinal ? undefined : error, outcome };
  }

  /** One that has not answered need not be waited for: this follows what it was asked, on the same connection. */
  async #giveBack({ refusedBy, votesFor }: Outcome): Promise<void> {
    const awaited: Promise<unknown>[] = [];
    for (const member of this.members) {
      if (refusedBy.has(member)) continue;
      const released = this.#send(member, "release").catch(() => {});
      if (votesFor.has(member.client)) awaited.push(released);
    }
    await Promise.all(awaited);
  }

  #send(member: Member, script: keyof Scripts): Promise<unknown> {
    const key = member.key(this.kind.name);
    const keys = this.kind.limit === undefined ? [key] : [key, endsKey(key)];
    const args = [member.publish, member.channel(this.kind.name), ...this.#words];
    return member.run(this.#scripts[script], keys, args, script === "release" ? COMMAND_LIMIT : this.#lockTimeout);
  }
}
