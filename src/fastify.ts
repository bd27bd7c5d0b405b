/** `holdfast/fastify`: a plugin that gives an application its LockManager, and closes it with the application. */
import type { FastifyPluginAsync } from "fastify";
import type { LockManager } from "./lock-manager.ts";
import { openLocks } from "./options/framework.ts";
import type { FrameworkOptions } from "./options/framework.ts";

/** Settings of the plugin: those of its LockManager, and where locks are kept. */
export type HoldfastPluginOptions = FrameworkOptions;

declare module "fastify" {
  interface FastifyInstance {
    /** The application's manager, made by the plugin `holdfast/fastify`. */
    locks: LockManager;
  }
}

/**
 * Makes a LockManager, `app.locks`, for the whole application. It is closed in `onClose`, after the requests that were
 * being answered have ended.
 *
 *     await app.register(holdfast, { redis: "redis://localhost" });
 */
export const holdfast: FastifyPluginAsync<HoldfastPluginOptions> = async (app, options) => {
  const locks = openLocks(options, "The plugin holdfast/fastify");
  // First, so that the manager is closed whatever happens next.
  app.addHook("onClose", () => locks.close());
  app.decorate("locks", locks);
};

// What fastify-plugin does: decorators made here are visible outside the plugin.
Object.assign(holdfast, {
  [Symbol.for("skip-override")]: true,
  [Symbol.for("fastify.display-name")]: "holdfast",
  [Symbol.for("plugin-meta")]: { name: "holdfast", fastify: ">=4" },
});

export default holdfast;
