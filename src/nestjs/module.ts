import { ConfigurableModuleBuilder, Inject, Module } from "@nestjs/common";
import type {
  ConfigurableModuleCls,
  DynamicModule,
  InjectionToken,
  OnApplicationBootstrap,
  OnApplicationShutdown,
} from "@nestjs/common";
import { DiscoveryModule, DiscoveryService } from "@nestjs/core";
import type { LockManager } from "../lock-manager.ts";
import { dictionary } from "../options/checks.ts";
import { openLocks } from "../options/framework.ts";
import type { FrameworkOptions } from "../options/framework.ts";
import type { ManagerOptions } from "../options/manager.ts";
import { TestLocks } from "../testing.ts";
import { candidacyOf } from "./candidacies.ts";
import { electionsOf } from "./decorators.ts";
import { getLocksToken } from "./tokens.ts";

/** Settings of a module that can be made later, by a factory: those of its LockManager. */
export type HoldfastModuleOptions = FrameworkOptions;

/** Settings that must be known when the module is imported. */
export interface HoldfastModuleExtras {
  /** Names the module's LockManager, so that an application can have several (default: it has no name). */
  name?: string | undefined;
  /** Whether modules that do not import it see its LockManager, too (default true). */
  isGlobal?: boolean | undefined;
}

const OWN_LOCKS = Symbol("the module's LockManager");
const OWN_NAME = Symbol("the module's name");

const builder = new ConfigurableModuleBuilder<HoldfastModuleOptions>({ moduleName: "Holdfast" })
  .setClassMethodName("forRoot")
  .setFactoryMethodName("createHoldfastOptions")
  .setExtras<HoldfastModuleExtras>({ name: undefined, isGlobal: true }, withLocks)
  .build();
const OPTIONS: InjectionToken = builder.MODULE_OPTIONS_TOKEN;

function withLocks(definition: DynamicModule, { name, isGlobal }: HoldfastModuleExtras): DynamicModule {
  const token = getLocksToken(name);
  const useFactory = (options: unknown): LockManager => openLocks(options, "HoldfastModule.forRoot()");
  return {
    ...definition,
    global: isGlobal ?? true,
    imports: [...(definition.imports ?? []), DiscoveryModule],
    providers: [
      ...(definition.providers ?? []),
      { provide: token, useFactory, inject: [OPTIONS] },
      // Another name for the same, because what an application puts in its place in a test must be closed, too.
      { provide: OWN_LOCKS, useExisting: token },
      { provide: OWN_NAME, useValue: name ?? null },
    ],
    exports: [...(definition.exports ?? []), token],
  };
}

const ConfigurableModuleClass: ConfigurableModuleCls<
  HoldfastModuleOptions,
  "forRoot",
  "createHoldfastOptions",
  HoldfastModuleExtras
> = builder.ConfigurableModuleClass;

/** Settings of `HoldfastModule.forTest`. */
export interface HoldfastTestOptions extends ManagerOptions, HoldfastModuleExtras {
  /** Shared by several applications of a test, or driven by its clock (default: locks of its own, in real time). */
  locks?: TestLocks | undefined;
}

/**
 * Provides a LockManager to all modules of the application, and closes it when the application is shut down.
 *
 *     imports: [HoldfastModule.forRoot({ redis: "redis://localhost" })]
 */
export class HoldfastModule extends ConfigurableModuleClass implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #locks: LockManager;
  readonly #name: string | null;
  readonly #discovery: DiscoveryService;

  /** @internal */
  constructor(locks: LockManager, name: string | null, discovery: DiscoveryService) {
    super();
    this.#locks = locks;
    this.#name = name;
    this.#discovery = discovery;
  }

  /** For tests: locks within this process, without a server. */
  static forTest(options?: HoldfastTestOptions): DynamicModule {
    const { locks = new TestLocks("real time"), ...rest } = dictionary(options, "options") as HoldfastTestOptions;
    return this.forRoot({ ...rest, redis: locks });
  }

  /** From now on this process is a candidate in all elections of `@WhileLeader`. */
  onApplicationBootstrap(): void {
    for (const { instance } of [...this.#discovery.getProviders(), ...this.#discovery.getControllers()]) {
      const type = (instance as object | null | undefined)?.constructor;
      if (typeof type !== "function") continue;
      for (const election of electionsOf(type)) {
        if ((election.manager ?? null) === this.#name) candidacyOf(this.#locks, election);
      }
    }
  }

  /** Behind the servers of the application: requests that they still answer keep their locks. */
  async onApplicationShutdown(): Promise<void> {
    await this.#locks.close();
  }
}

Inject(OWN_LOCKS)(HoldfastModule, undefined, 0);
Inject(OWN_NAME)(HoldfastModule, undefined, 1);
Inject(DiscoveryService)(HoldfastModule, undefined, 2);
Module({})(HoldfastModule);
