/** One of the servers that a drop-in asks: its client, and scripts that are answered in time or have failed. */
import { createHash } from "node:crypto";
import { systemClock } from "../clock.ts";
import type { Driver } from "../drivers/driver.ts";
import { driverFor } from "../drivers/index.ts";
import type { RedisClient } from "../drivers/index.ts";
import { ScriptCall, sendCall } from "../drivers/run-script.ts";
import { COMMAND_LIMIT } from "../drivers/time-limit.ts";
import { freedChannel } from "../schemes/keys.ts";
import { Releases } from "./releases.ts";
import type { Waiter } from "./releases.ts";

/** A script that takes KEYS and ARGV as they are. */
export interface PlainScript {
  readonly name: string;
  readonly sha: string;
  readonly source: string;
}

export function plainScript(name: string, source: string): PlainScript {
  return { name, source, sha: createHash("sha1").update(source).digest("hex") };
}

export class Member {
  readonly client: RedisClient;
  readonly driver: Driver;
  readonly #releases: Releases;

  /** @throws TypeError for a client of an unknown kind */
  constructor(client: RedisClient) {
    this.client = client;
    this.driver = driverFor(client);
    this.#releases = Releases.on(client);
  }

  /** The key on the server: what the client's own commands would use. */
  key(name: string): string {
    return this.driver.keyPrefix + name;
  }

  /** The command with which a script on this server publishes a release. */
  get publish(): "PUBLISH" | "SPUBLISH" {
    return this.driver.isCluster ? "SPUBLISH" : "PUBLISH";
  }

  channel(name: string): string {
    return freedChannel(this.key(name));
  }

  /** Wake the waiter when one of these is released, until it leaves. */
  hear(names: readonly string[], waiter: Waiter): void {
    for (const name of names) this.#releases.hear(this.channel(name), waiter);
  }

  leave(names: readonly string[], waiter: Waiter): void {
    for (const name of names) this.#releases.leave(this.channel(name), waiter);
  }

  /**
   * Run a script. Rejects with the client's own error, or after `limit` milliseconds (at most 5 s) without an answer;
   * the call may still be carried out then.
   */
  run(script: PlainScript, keys: readonly string[], args: readonly string[], limit: number): Promise<unknown> {
    const call = new ScriptCall(script, keys.length, args.length);
    call.addAll(keys);
    call.addAll(args);
    return new Promise((resolve, reject) => {
      const time = Math.min(limit, COMMAND_LIMIT);
      const timer = systemClock.after(time, () => reject(this.#silence(time)));
      const answered = (reply: unknown): void => {
        timer.cancel();
        resolve(reply);
      };
      const failed = (error: unknown): void => {
        timer.cancel();
        reject(error instanceof Error ? error : new Error(String(error)));
      };
      sendCall(this.driver, call, { answered, failed });
    });
  }

  /** Take our listeners off the client, which stays open. */
  close(): void {
    this.driver.close();
  }

  #silence(time: number): Error {
    const { complaint } = this.driver;
    const why = complaint instanceof Error ? ` (${complaint.message})` : "";
    return new Error(`The server did not answer within ${time} ms${why}.`, { cause: complaint });
  }
}
