/** Bun's built-in client, there on Bun alone: `bun test` runs these tests, and gives them for Vitest. */
import type { RedisClient } from "../../src/index.ts";
import type { OpenClient } from "./worlds.ts";

interface Bun {
  readonly RedisClient: new (
    url: string,
    settings?: object,
  ) => RedisClient & { connect(): Promise<void>; close(): void };
}

const { Bun: bun } = globalThis as { readonly Bun?: Bun };

export const isOnBun: boolean = bun !== undefined;

/** If the server cannot be reached, or lets nobody in, it connects with its first command. */
export async function openBun(url: string, settings: object = {}): Promise<OpenClient> {
  if (!bun) throw new Error("Expected Bun to run this test.");
  const make = () => new bun.RedisClient(url, { maxRetries: 4_294_967_295, ...settings });
  let client = make();
  const connected = client.connect().catch(() => {
    client.close();
    client = make();
  });
  await Promise.race([connected, new Promise((resolve) => setTimeout(resolve, 300).unref())]);
  return { client, end: () => client.close() };
}
