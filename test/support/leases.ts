/** Leases without the wait for them: of requests that are granted as they are sent. */
import type { Clock } from "../../src/clock.ts";
import { LeaseKeeper } from "../../src/leases/keeper.ts";
import type { Lease, LeaseTerms } from "../../src/leases/lease.ts";
import { plainRequest } from "../../src/options/request.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import { Farewells } from "../../src/waiting/farewells.ts";
import { Lines } from "../../src/waiting/lines.ts";
import { Place } from "../../src/waiting/place.ts";
import type { PlaceOwner } from "../../src/waiting/place.ts";
import { Request } from "../../src/waiting/request.ts";
import { Turn } from "../../src/waiting/turn.ts";
import type { TurnOwner } from "../../src/waiting/turn.ts";

export interface Leases {
  readonly keeper: LeaseKeeper;
  readonly farewells: Farewells;
  /** A lease of a request that was sent then (default: now). */
  start(terms?: Partial<LeaseTerms>, sentAt?: number): Lease;
}

export function startLeases(scheme: Scheme, clock: Clock): Leases {
  const keeper = new LeaseKeeper(clock);
  const room = new Lines(scheme, clock, keeper, { clientId: "client", turn: 1 });
  const farewells = new Farewells(room);
  const nothing = (): void => {};
  const owner: PlaceOwner & TurnOwner = {
    room,
    farewells,
    isAsking: false,
    granted: nothing,
    failed: nothing,
    moved: nothing,
    renamed: nothing,
    waitingAt: () => 1,
    putBack: nothing,
    ended: nothing,
  };
  return {
    keeper,
    farewells,
    start: (terms, from = clock.now()) => {
      const request = { ...plainRequest("a", { ttl: 30_000 }), ...terms };
      const place = new Place(owner, new Request(request, nothing, nothing), true);
      place.state = "granted";
      const grant = { fence: 7, fences: 1, from, until: from + request.ttl, durability: undefined, isPushed: false };
      const turn = new Turn(owner, place, grant);
      turn.begin(grant);
      return turn.leases[0] as Lease;
    },
  };
}
