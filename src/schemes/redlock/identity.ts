/** Which server a node is: met once, and again after every connection that was lost. */
import type { Clock } from "../../clock.ts";
import { schemeError } from "../../drivers/server-errors.ts";
import type { Driver } from "../../drivers/driver.ts";
import { SchemeError } from "../../errors.ts";

/** What a manager's nodes must not have in common, and what they must all respect. */
export interface Facts {
  /** By run id: the title of its node. */
  readonly servers: Map<string, string>;
  /** The longest that a lease may last which a restarted server has forgotten. */
  readonly largestTtl: number;
  readonly delayRestarted: boolean;
}

export class Identity {
  readonly #title: string;
  readonly #driver: Driver;
  readonly #clock: Clock;
  readonly #facts: Facts;
  #runId: string | undefined;
  /** The connection's losses when we last met; -1 before. */
  #drops = -1;
  #meeting: Promise<void> | undefined;
  /** When the server was started at the latest, by our clock. */
  #startedAt = -Infinity;
  /** A server that may have forgotten leases counts only when they are over. */
  #leftOutUntil = -Infinity;

  constructor(title: string, driver: Driver, clock: Clock, facts: Facts) {
    this.#title = title;
    this.#driver = driver;
    this.#clock = clock;
    this.#facts = facts;
  }

  /** True where its votes count, as far as we can tell without asking. */
  get counts(): boolean {
    return this.#drops === this.#driver.drops && this.#clock.now() >= this.#leftOutUntil;
  }

  /** Milliseconds since the server was started, at least; undefined until we met. */
  get age(): number | undefined {
    return this.#drops < 0 ? undefined : this.#clock.now() - this.#startedAt;
  }

  /** Rejects where its votes do not count: a replica, a server that is another node, too, or one that was restarted. */
  async assertCounts(): Promise<void> {
    while (this.#drops !== this.#driver.drops) {
      this.#meeting ??= this.#meet().finally(() => (this.#meeting = undefined));
      await this.#meeting;
    }
    const wait = this.#leftOutUntil - this.#clock.now();
    if (wait <= 0) return;
    throw new SchemeError(
      "server",
      `It was restarted, may have forgotten leases, and is left out for another ${Math.ceil(wait)} ms (delayRestarted).`,
      [],
      true,
    );
  }

  /** A server that is young though the others are not has been restarted, too, if before our time. */
  async leaveOut(): Promise<void> {
    const { delayRestarted, largestTtl } = this.#facts;
    if (delayRestarted && !(await this.#isDurable())) this.#leftOutUntil = this.#startedAt + largestTtl;
  }

  async #meet(): Promise<void> {
    const { drops } = this.#driver;
    const info = (section: string): Promise<unknown> => this.#driver.send(["INFO", section]);
    const [server, replication] = await Promise.all([info("server"), info("replication")]).catch((error: unknown) => {
      throw schemeError(error);
    });
    const runId = field(server, "run_id");
    if (field(replication, "role") !== "master") throw this.#isReplica();
    if (runId !== this.#runId) await this.#replace(runId, Number(field(server, "uptime_in_seconds")));
    this.#drops = drops;
  }

  async #replace(runId: string, uptime: number): Promise<void> {
    const { servers } = this.#facts;
    const other = servers.get(runId);
    if (other !== undefined && other !== this.#title) throw this.#isTwice(other);
    this.#startedAt = this.#clock.now() - uptime * 1_000;
    if (this.#runId !== undefined) await this.leaveOut();
    if (this.#runId !== undefined) servers.delete(this.#runId);
    servers.set(runId, this.#title);
    this.#runId = runId;
  }

  /** Whether the server writes each change to its disk before it answers. Where it may not be asked: no. */
  async #isDurable(): Promise<boolean> {
    const reply = await this.#driver.send(["CONFIG", "GET", "append*"]).catch(() => []);
    // A list of names and values; where the client speaks RESP3, a map or an object.
    const pairs = reply instanceof Map ? [...reply] : Array.isArray(reply) ? reply : Object.entries(reply as object);
    const words = pairs.flat().map(String);
    const value = (name: string): string | undefined => words[words.indexOf(name) + 1];
    return value("appendonly") === "yes" && value("appendfsync") === "always";
  }

  #isReplica(): SchemeError {
    return new SchemeError(
      "read-only",
      `Expected independent masters; ${this.#title} is a replica. Give each node's own master.`,
      [],
    );
  }

  #isTwice(other: string): SchemeError {
    const [first, second] = [other, this.#title].sort();
    return new SchemeError(
      "same-server",
      `Expected each client to lead to a server of its own; ${first} and ${second} are one server. Leave one out.`,
      [],
    );
  }
}

function field(info: unknown, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(String(info))?.[1] ?? "";
}
