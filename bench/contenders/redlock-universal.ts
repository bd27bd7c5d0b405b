import { Redis } from "ioredis";
import { createLock, IoredisAdapter } from "redlock-universal";
import type { Session } from "./index.ts";

export async function open(url: string): Promise<Session> {
  const adapter = new IoredisAdapter(new Redis(url));
  const locks = new Map<string, ReturnType<typeof createLock>>();
  return {
    async acquire(name, ttl) {
      let lock = locks.get(name);
      if (!lock) locks.set(name, (lock = createLock({ adapter, key: name, ttl, retryAttempts: 1_000_000 })));
      const handle = await lock.acquire();
      return () => lock.release(handle);
    },
  };
}
