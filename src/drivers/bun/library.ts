/** What is used of Bun's built-in client (`new Bun.RedisClient()`, from Bun 1.2.23 on), and what it says. */
import { isFromServer, messageOf } from "../server-errors.ts";

/** A client of one server. It has no events, only one handler for each of two, which are its user's. */
export interface BunClient {
  readonly connected: boolean;
  /** Bytes that wait for the connection. */
  readonly bufferedAmount: number;
  send(command: string, args: string[]): Promise<unknown>;
  duplicate(): Promise<BunClient>;
}

export function isBun(client: object): client is BunClient {
  const seen = client as Partial<BunClient> & { readonly subscribe?: unknown };
  return (
    typeof seen.send === "function" &&
    typeof seen.duplicate === "function" &&
    typeof seen.subscribe === "function" &&
    typeof seen.connected === "boolean" &&
    typeof seen.bufferedAmount === "number"
  );
}

/** What is used of a connection that is ours: its handlers, too. */
export interface OwnBunClient extends BunClient {
  /** It was connected, or connected again after a loss. Of the loss itself Bun says nothing. */
  onconnect: (() => void) | null;
  /** It was closed, or has given up. */
  onclose: ((error: unknown) => void) | null;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (text: string, channel: string) => void): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  close(): void;
}

/** A reply as RESP2 has it: Bun speaks RESP3, and makes records of lists of names and values. */
export function plain(reply: unknown): unknown {
  if (typeof reply === "boolean") return Number(reply);
  if (typeof reply !== "object" || reply === null || Array.isArray(reply) || reply instanceof Error) return reply;
  return Object.entries(reply).flat();
}

/** False where the connection failed: what was sent may have run all the same. */
export function byServer(error: unknown): boolean {
  return (error as { readonly code?: unknown }).code === "ERR_REDIS_SERVER_ERROR" || isFromServer(error);
}

/** The server let nobody in: the account, its password or the database is wrong. */
export function isRefusal(error: unknown): boolean {
  const { code } = error as { readonly code?: unknown };
  return code === "ERR_REDIS_AUTHENTICATION_FAILED" || code === "ERR_REDIS_INVALID_COMMAND";
}

/** Bun has given up, or its user has closed the client: it says so of every command, and never connects again. */
export function isOver(error: unknown): boolean {
  return messageOf(error) === "Connection has failed";
}
