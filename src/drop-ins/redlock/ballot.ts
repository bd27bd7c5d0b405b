/** One try on all servers. */
import { systemClock } from "../../clock.ts";
import type { RedisClient } from "../../drivers/index.ts";
import type { Member } from "../member.ts";
import { ResourceLockedError } from "./errors.ts";
import type { ExecutionStats } from "./errors.ts";

export interface Outcome {
  readonly vote: "for" | "against";
  /** It is no use to try again: a majority can never be had, and not because of servers that failed. */
  readonly isFinal: boolean;
  /** When it began, by the monotonic clock and by that of the day. */
  readonly start: number;
  readonly wallStart: number;
  readonly stats: Promise<ExecutionStats>;
  /** Those that have voted for, so far. */
  readonly votesFor: ReadonlySet<RedisClient>;
  /** Those that have answered that they did nothing, so far. */
  readonly refusedBy: ReadonlySet<Member>;
}

export interface Question {
  /** How many keys a server must answer with. */
  readonly size: number;
  ask(member: Member): Promise<unknown>;
  failed(error: Error): void;
}

/** Resolves as soon as it is decided: when a majority is for, or can no longer be. */
export function poll(members: readonly Member[], question: Question): Promise<Outcome> {
  const start = systemClock.now();
  const wallStart = Date.now();
  const membershipSize = members.length;
  const quorumSize = Math.floor(membershipSize / 2) + 1;
  const votesFor = new Set<RedisClient>();
  const votesAgainst = new Map<RedisClient, Error>();
  const refusedBy = new Set<Member>();
  return new Promise((decide) => {
    let allIn!: (stats: ExecutionStats) => void;
    const stats = new Promise<ExecutionStats>((resolve) => (allIn = resolve));
    const outcome = { start, wallStart, stats, votesFor, refusedBy };
    const counted = (): void => {
      if (votesFor.size >= quorumSize) decide({ ...outcome, vote: "for", isFinal: false });
      else if (votesAgainst.size > membershipSize - quorumSize) {
        const isFinal = refusedBy.size > membershipSize - quorumSize;
        decide({ ...outcome, vote: "against", isFinal });
      }
      if (votesFor.size + votesAgainst.size < membershipSize) return;
      allIn({ membershipSize, quorumSize, votesFor, votesAgainst });
    };
    const against = (member: Member, error: Error): void => {
      votesAgainst.set(member.client, error);
      if (error instanceof ResourceLockedError) refusedBy.add(member);
      question.failed(error);
      counted();
    };
    for (const member of members) {
      question.ask(member).then(
        (reply) => {
          // With stringNumbers, ioredis gives numbers as strings.
          if (Number(reply) === question.size) votesFor.add(member.client);
          else return against(member, refusal(reply, question.size));
          counted();
        },
        (error: Error) => against(member, error),
      );
    }
  });
}

function refusal(reply: unknown, size: number): Error {
  if (Number.isInteger(Number(reply ?? NaN))) {
    return new ResourceLockedError(
      `The operation was applied to: ${Number(reply)} of the ${size} requested resources.`,
    );
  }
  return new Error(`Unexpected result of type ${typeof reply} returned from redis.`);
}
