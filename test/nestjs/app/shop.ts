/** An application as users write it: services whose methods take locks, a controller, jobs, a health check. */
import { Controller, Get, Injectable, Module, Param, SetMetadata } from "@nestjs/common";
import { Cron, CronExpression, Interval, ScheduleModule } from "@nestjs/schedule";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import { LockManager } from "holdfast";
import { currentLock, InjectLocks, RunOnce, WhileLeader, WithLock } from "holdfast/nestjs";
import { HoldfastHealthIndicator } from "holdfast/nestjs/terminus";

export const ROLE = "role";

@Injectable()
export class Billing {
  constructor(
    readonly locks: LockManager,
    @InjectLocks("stock") readonly stock: LockManager,
  ) {}

  /** What runs at the same time, and what did at most. */
  running = 0;
  most = 0;

  @WithLock((id: string) => `invoice:${id}`)
  async pay(id: string, amount: number): Promise<{ id: string; amount: number; fence: number }> {
    this.most = Math.max(this.most, ++this.running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    this.running--;
    return { id, amount, fence: currentLock().fence };
  }

  @WithLock("ledger", { waitTimeout: 0 })
  async close(work: () => Promise<void>): Promise<string> {
    await work();
    return currentLock().name;
  }

  @WithLock("shelf", { manager: "stock" })
  async count(): Promise<string> {
    return currentLock().token;
  }
}

@Injectable()
export class Reports {
  readonly runs: number[] = [];
  once = 0;

  @Cron(CronExpression.EVERY_SECOND)
  @RunOnce("report", { atMost: 5_000, atLeast: 700 })
  async report(): Promise<void> {
    this.runs.push(currentLock().fence);
  }

  @RunOnce("once", { atMost: 60_000, atLeast: 60_000 })
  async runOnce(): Promise<number | undefined> {
    return ++this.once;
  }
}

@Injectable()
export class Scheduler {
  readonly terms: number[] = [];

  @Interval(10)
  @WhileLeader("scheduler")
  async tick(): Promise<void> {
    this.terms.push(currentLock().fence);
  }

  @WhileLeader("scheduler")
  async isLeading(): Promise<boolean | undefined> {
    return currentLock().held;
  }

  /** Runs until it is told to stop. */
  @WhileLeader("scheduler")
  async serve(): Promise<string | undefined> {
    const { signal } = currentLock();
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    return "stopped";
  }
}

@Controller("invoices")
export class Invoices {
  constructor(readonly billing: Billing) {}

  @SetMetadata(ROLE, "above")
  @Get(":id/above")
  @WithLock("route")
  async above(@Param("id") id: string): Promise<string> {
    return `${id} ${currentLock().name}`;
  }

  @WithLock("route")
  @SetMetadata(ROLE, "below")
  @Get(":id/below")
  async below(@Param("id") id: string): Promise<string> {
    return `${id} ${currentLock().name}`;
  }
}

@Controller("health")
export class Health {
  constructor(
    readonly health: HealthCheckService,
    readonly locks: HoldfastHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  all() {
    return this.health.check([() => this.locks.isHealthy("locks")]);
  }

  @Get("stock")
  @HealthCheck()
  stock() {
    return this.health.check([() => this.locks.isHealthy("stock", { manager: "stock", timeout: 200 })]);
  }
}

@Module({
  imports: [TerminusModule, ScheduleModule.forRoot()],
  providers: [Billing, Reports, Scheduler, HoldfastHealthIndicator],
  controllers: [Invoices, Health],
})
export class Shop {}
