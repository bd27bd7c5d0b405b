/**
 * Ensures that locks are kept in the database that the client was made for. ioredis only reports that its SELECT
 * was refused, and continues in database 0; and its user may send another SELECT at any time.
 */
import type { Health } from "../health.ts";
import { isFromServer, messageOf } from "../server-errors.ts";
import { plainCall } from "./library.ts";
import type { IoredisClient } from "./library.ts";

interface Selecting {
  readonly options: { readonly db?: number };
  /** The database that it believes to be in; set once it has begun to connect. */
  readonly condition?: { readonly select?: number } | null;
}

export class Database {
  readonly #redis: IoredisClient;
  /** The database that it was in when the driver was made. */
  readonly #number: number;
  /** Why nothing must be sent now. */
  #refusal: Error | undefined;
  #isKnown: boolean;
  #asking: Promise<void> | undefined;

  constructor(redis: IoredisClient, health: Health) {
    const { options, condition } = redis as unknown as Selecting;
    this.#redis = redis;
    this.#number = condition?.select ?? options.db ?? 0;
    this.#isKnown = this.#number === 0;
    health.on(redis, "select", (number) => this.#switched(Number(number)));
    health.on(redis, "error", (error) => this.#refused(error));
    // A new connection begins anew, maybe to a server that has the database.
    health.on(redis, "connect", () => (this.#refusal = undefined));
  }

  /** True if commands may be sent at once. */
  get isRight(): boolean {
    return this.#isKnown && !this.#refusal;
  }

  /** Resolves when commands may be sent; rejects if they would run in another database. */
  async assertRight(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    if (!this.#isKnown) await this.#asking;
    if (this.#refusal) throw this.#refusal;
  }

  async #ask(): Promise<void> {
    if (this.#isKnown) return;
    const asked = plainCall(this.#redis)(["SELECT", String(this.#number)]);
    await asked.then(
      () => (this.#isKnown = true),
      (error: unknown) => {
        if (!isFromServer(error)) throw error;
        throw notSelected(this.#number, error);
      },
    );
  }

  #switched(number: number): void {
    const text = `SELECT ${number} was sent on this client, which was in database ${this.#number}`;
    this.#refusal = number === this.#number ? undefined : new Error(text);
  }

  #refused(error: unknown): void {
    const { command } = error as { readonly command?: { readonly name?: string } };
    if (command?.name === "select" && isFromServer(error)) this.#refusal = notSelected(this.#number, error);
  }
}

function notSelected(number: number, error: unknown): Error {
  return new Error(`SELECT ${number} failed: ${messageOf(error)}`, { cause: error });
}
