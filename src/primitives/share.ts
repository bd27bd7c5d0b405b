/**
 * Single flight: of all who ask for a value at about the same time, in all processes, one computes it under the lock of
 * that name, and the others are given what it made. What golang.org/x/sync/singleflight does within one process.
 */
import { LockError, quote } from "../errors.ts";
import { throwIfAborted } from "../signals.ts";
import { Flight } from "./flight.ts";
import type { Asking, FlightRoom } from "./flight.ts";

/** What is shared by the calls of one manager. */
export class Sharing {
  readonly #room: FlightRoom;
  readonly #flights = new Map<string, Flight>();

  constructor(room: FlightRoom) {
    this.#room = room;
  }

  /** Each who asks decodes the value for itself, whoever computes, so all have a copy of their own and of one shape. */
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
