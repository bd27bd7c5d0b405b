/**
 * The tickets of one manager. Its requests for a lock are asked at once, and may hear of the highest number from different
 * majorities: their tickets are drawn so that they stand in the queue in the order of their tokens nevertheless.
 */
export class Tickets {
  /** By lock and token. */
  readonly #drawn = new Map<string, Map<string, number>>();

  /** @param own one more than the highest number that a majority has seen @returns the request's place in the queue */
  draw(lock: string, token: string, own: number): number {
    const drawn = this.#drawn.get(lock) ?? new Map<string, number>();
    this.#drawn.set(lock, drawn);
    let [least, most] = [0, Infinity];
    for (const [other, ticket] of drawn) {
      if (other < token) least = Math.max(least, ticket);
      else if (other > token) most = Math.min(most, ticket);
    }
    const ticket = Math.min(Math.max(own, least), most);
    drawn.set(token, ticket);
    return ticket;
  }

  drop(lock: string, token: string): void {
    const drawn = this.#drawn.get(lock);
    if (drawn?.delete(token) === true && drawn.size === 0) this.#drawn.delete(lock);
  }
}
