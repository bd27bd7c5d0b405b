/** Leases without the wait for them: of requests that are granted as they are sent. */
import type { Clock } from "../../src/clock.ts";
import { LeaseKeeper } from "../../src/leases/keeper.ts";
import type { Lease, LeaseTerms } from "../../src/leases/lease.ts";
import { plainTerms } from "../../src/options/request.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { Lines } from "../../src/waiting/lines.ts";
import { Place } from "../../src/waiting/place.ts";
import type { PlaceOwner } from "../../src/waiting/place.ts";
import { Request } from "../../src/waiting/request.ts";
import type { Room } from "../../src/waiting/room.ts";
import { Turn } from "../../src/waiting/turn.ts";
import type { TurnOwner } from "../../src/waiting/turn.ts";

export interface Leases {
  readonly keeper: LeaseKeeper;
  readonly room: Room & Pick<Lines, "idle">;
  /** A lease of a request that was sent then (default: now). */
  start(terms?: Partial<LeaseTerms>, sentAt?: number): Lease;
}

export function startLeases(scheme: Scheme, clock: Clock): Leases {
  const keeper = new LeaseKeeper(clock);
  const origin = { scheme: scheme.name, prefix: "lock:", label: "test" };
  const room = new Lines(scheme, clock, keeper, { clientId: "client", turn: 1, origin });
  const nothing = (): void => {};
  const owner: PlaceOwner & TurnOwner = {
    lock: "a",
    room,
    isAsking: false,
    granted: nothing,
    failed: nothing,
    moved: nothing,
    waitingAt: () => 1,
    putBack: nothing,
    ended: nothing,
  };
  const line = { lock: "a", clock, room, left: nothing, whyNot: () => ({ reason: "" }) };
  return {
    keeper,
    room,
    start: (terms, from = clock.now()) => {
      const wanted = { ...plainTerms({ ttl: 30_000 }, "acquire"), ...terms };
      const place = new Place(owner, new Request(line, wanted, nothing), true);
      place.state = "granted";
      place.askedAt = from;
      const turn = new Turn(owner, place, { kind: "granted", fence: 7 }, from);
      turn.begin();
      return turn.leases.first as Lease;
    },
  };
}
