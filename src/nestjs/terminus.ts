/** `holdfast/nestjs/terminus`: a health indicator for `@nestjs/terminus` 11 and newer. */
import { Inject, Injectable } from "@nestjs/common";
import { ModuleRef } from "@nestjs/core";
import { HealthIndicatorService } from "@nestjs/terminus";
import type { HealthIndicatorResult } from "@nestjs/terminus";
import type { LockManager } from "../lock-manager.ts";
import { getLocksToken } from "./tokens.ts";

/** The lock whose state is asked for. Nobody need hold it. */
const PROBE = "holdfast:health";

/**
 * Says whether locks can be looked at on the server (of Redlock: on a majority of the servers). Provide it in the module
 * that imports `TerminusModule`.
 */
export class HoldfastHealthIndicator {
  readonly #health: HealthIndicatorService;
  readonly #modules: ModuleRef;

  /** @internal */
  constructor(health: HealthIndicatorService, modules: ModuleRef) {
    this.#health = health;
    this.#modules = modules;
  }

  /**
   * Asks the server, each time. `down` has the reason as `message`.
   *
   * @param key names it in the health check's result
   * @param options `manager`: the name of a LockManager, if it has one; `timeout`: it is down if there is no answer for
   *   this many milliseconds (default 1,000)
   */
  async isHealthy<const Key extends string>(
    key: Key,
    { manager, timeout = 1_000 }: { manager?: string | undefined; timeout?: number | undefined } = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const indicator = this.#health.check(key);
    const locks = this.#modules.get<LockManager>(getLocksToken(manager), { strict: false });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`The server did not answer within ${timeout} ms.`)), timeout);
    });
    try {
      await Promise.race([locks.query({ name: PROBE }), late]);
      return indicator.up();
    } catch (error) {
      return indicator.down({ message: error instanceof Error ? error.message : String(error) });
    } finally {
      clearTimeout(timer);
    }
  }
}

Inject(HealthIndicatorService)(HoldfastHealthIndicator, undefined, 0);
Inject(ModuleRef)(HoldfastHealthIndicator, undefined, 1);
Injectable()(HoldfastHealthIndicator);
