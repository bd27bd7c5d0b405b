/**
 * Single flight: of all callers that ask for a value at about the same time, in all processes, one computes it under
 * the lock of that name, and the others get its value. golang.org/x/sync/singleflight does this within one process.
 */
import { LockError, quote } from "../errors.ts";
import { throwIfAborted } from "../signals.ts";
import { Flight } from "./flight.ts";
import type { Asking, FlightRoom } from "./flight.ts";

/** What the calls of one manager share. */
export class Sharing {
  readonly #room: FlightRoom;
  readonly #flights = new Map<string, Flight>();

  constructor(room: FlightRoom) {
    this.#room = room;
  }

  /** Each caller decodes the value for itself, also the one that computes, so all have copies of the same shape. */
  async share(asking: Asking): Promise<unknown> {
    const { name, signal, codec, retry } = asking;
    for (;;) {
      throwIfAborted(signal);
      throwIfAborted(this.#room.closing);
      const landing = await this.#flightFor(name).join(asking);
      if (landing === "nothing" || (landing.isFailure && retry)) continue;
      if (!landing.isFailure) return codec.decode(landing.text);
      throw new LockError("compute-failed", `The value of ${quote(name)} could not be computed by ${landing.text}`, {
        cause: landing.cause,
      });
    }
  }

  #flightFor(name: string): Flight {
    let flight = this.#flights.get(name);
    if (flight && !flight.isOver) return flight;
    flight = new Flight(this.#room, name, (over) => {
      if (this.#flights.get(name) === over) this.#flights.delete(name);
    });
    this.#flights.set(name, flight);
    return flight;
  }
}
