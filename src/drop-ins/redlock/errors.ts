import type { RedisClient } from "../../drivers/index.ts";

/** How one try came out on each server. */
export interface ExecutionStats {
  readonly membershipSize: number;
  readonly quorumSize: number;
  readonly votesFor: Set<RedisClient>;
  readonly votesAgainst: Map<RedisClient, Error>;
}

/** The tries of an operation. Each resolves once every server has voted, or has not answered in time. */
export type Attempts = readonly Promise<ExecutionStats>[];

/** A server's vote against, because another lock holds some of the resources, or ours no longer does. */
export class ResourceLockedError extends Error {
  override readonly name = "ResourceLockedError";
}

/** The operation failed on too many servers; `attempts` says how. */
export class ExecutionError extends Error {
  override readonly name = "ExecutionError";
  readonly attempts: Attempts;

  constructor(message: string, attempts: Attempts) {
    super(message);
    this.attempts = attempts;
  }
}
