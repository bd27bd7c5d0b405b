// Serves the dashboard by the runtime's own server, as docs/dashboard.md says, and prints its port.
import { LockManager } from "holdfast";
import { createDashboard } from "holdfast/dashboard";

const locks = new LockManager(process.env.REDIS_URL);
const dashboard = createDashboard(locks, { poll: 100, readOnly: false, authorize: () => true });
const hostname = "127.0.0.1";

if (globalThis.Bun) {
  console.log(Bun.serve({ hostname, port: 0, fetch: dashboard.fetch, idleTimeout: 0 }).port);
} else {
  Deno.serve({ hostname, port: 0, onListen: ({ port }) => console.log(port) }, dashboard.fetch);
}
