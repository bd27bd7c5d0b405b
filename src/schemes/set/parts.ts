import { messageOf } from "../../drivers/server-errors.ts";

interface Item {
  reject(error: unknown): void;
}

/**
 * Runs a batch that is carried out whole or not at all. If the server refuses one for lack of permission, it is run in
 * halves, because a single item may be to blame: accounts can be limited to some keys. Any other failure fails all its
 * items. Never rejects.
 */
export async function inParts<T extends Item>(
  items: readonly T[],
  run: (some: readonly T[]) => Promise<void>,
): Promise<void> {
  try {
    await run(items);
  } catch (error) {
    const half = items.length >> 1;
    if (half === 0 || !/NOPERM/.test(messageOf(error))) {
      for (const item of items) item.reject(error);
      return;
    }
    await inParts(items.slice(0, half), run);
    await inParts(items.slice(half), run);
  }
}
