/** Managers over connections that were opened for a URL, by a library that is not the one taken by itself. */
import { onTestFinished } from "vitest";
import { Connections } from "../../src/drivers/url/connect.ts";
import type { Library } from "../../src/drivers/url/connect.ts";
import { LockManager } from "../../src/index.ts";

export function managerOn(library: Library, url: string | readonly string[]): LockManager {
  const connections = new Connections(url, library);
  const locks = new LockManager(connections.client);
  connections.open();
  onTestFinished(async () => {
    await locks.close();
    connections.close();
  });
  return locks;
}

/** The same, to be closed by the test. */
export function ownedManager(library: Library, url: string, opened: Connections[]): LockManager {
  const connections = new Connections(url, library);
  opened.push(connections);
  onTestFinished(() => connections.close());
  const locks = new LockManager(connections.client);
  connections.open();
  return locks;
}
