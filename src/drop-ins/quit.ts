import type { RedisClient } from "../drivers/index.ts";

interface Ending {
  /** ioredis, and node-redis up to 5: once all that was sent has been answered. */
  quit?(): Promise<unknown>;
  /** The same in node-redis 6; GLIDE ends at once. */
  close?(): unknown;
}

/** End the users' clients, as they asked for. Resolves to what they said. */
export function quitClients(clients: Iterable<RedisClient>): Promise<unknown[]> {
  return Promise.all(
    [...clients].map((client) => {
      const ending = client as Ending;
      return ending.quit ? ending.quit() : ending.close?.();
    }),
  );
}
