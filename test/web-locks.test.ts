import { LockManager } from "../src/index.ts";
import { webLocksSuite } from "./support/web-locks-suite.ts";

webLocksSuite("web locks, in this process", async () => {
  const locks = new LockManager();
  const other = new LockManager();
  return {
    locks,
    other,
    close: async () => {
      await Promise.all([locks.close(), other.close()]);
    },
  };
});
