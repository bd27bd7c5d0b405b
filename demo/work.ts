/** What a worker does, in a process of its own or not: add 1 to the shared record, again and again. */
import { setTimeout as sleep } from "node:timers/promises";
import { LockLostError } from "holdfast";
import type { LockManager } from "holdfast";
import { LEASE, POLL } from "./protocol.ts";
import type { Order, Report, Spot, Turn, Way } from "./protocol.ts";
import type { Shared } from "./record.ts";

export interface Tools {
  readonly shared: Shared;
  readonly locks: LockManager;
  /** False where a worker that is killed or stopped is only played, and its process would go on renewing. */
  readonly renew: boolean;
  readonly report: (report: Report) => void;
}

export class Work {
  readonly #id: number;
  readonly #tools: Tools;
  readonly #turn: () => Promise<Turn>;
  #start: () => void = () => {};
  #lingerAt: Spot | undefined;
  #goOn: () => void = () => {};

  constructor(id: number, way: Way, tools: Tools) {
    this.#id = id;
    this.#tools = tools;
    this.#turn = {
      none: () => this.#withoutLock(),
      tutorial: () => this.#withTutorialLock(),
      holdfast: () => this.#withHoldfast(),
    }[way];
  }

  obey(order: Order): void {
    if (order.kind === "start") return this.#start();
    this.#lingerAt = order.kind === "linger" ? order.at : undefined;
    if (order.kind === "go on") this.#goOn();
  }

  async run(): Promise<void> {
    const { shared, report } = this.#tools;
    const started = new Promise<void>((resolve) => (this.#start = resolve));
    report({ kind: "ready" });
    await started;
    while (await shared.draw()) {
      let written = false;
      while (!written) {
        const turn = await this.#turn();
        report({ kind: "turn", turn });
        written = turn.written;
        await sleep(8 * Math.random()); // something else that a worker has to do
      }
    }
    report({ kind: "done" });
  }

  async #withoutLock(): Promise<Turn> {
    return { waited: 0, ...(await this.#increment(() => false)) };
  }

  async #withTutorialLock(): Promise<Turn> {
    const asked = performance.now();
    while (!(await this.#tools.shared.setLock())) await sleep(POLL);
    const locked = performance.now();
    const isOver = (): boolean => performance.now() - locked > LEASE;
    const done = await this.#increment(isOver);
    const wasOver = isOver();
    const removed = await this.#tools.shared.deleteLock();
    return { waited: locked - asked, ...done, wronglyRemoved: wasOver && removed };
  }

  async #withHoldfast(): Promise<Turn> {
    const { locks, renew } = this.#tools;
    const asked = performance.now();
    let turn: Turn | undefined;
    try {
      await locks.request("record", { ttl: LEASE, renew }, async (lock) => {
        const waited = performance.now() - asked;
        // It writes without a look at lock.held, for a process can always be stopped between the look and the write.
        turn = { waited, ...(await this.#increment(() => !lock.held, lock.fence)) };
      });
    } catch (error) {
      if (!(error instanceof LockLostError) || !turn) throw error;
      turn.told = `${error.name}, ${error.reason}`;
      turn.wronglyRemoved = !turn.late;
    }
    return turn as Turn;
  }

  /** Read, change, write: what the lock is there for. */
  async #increment(isOver: () => boolean, fence?: number): Promise<Omit<Turn, "waited">> {
    const { shared } = this.#tools;
    const others = (await shared.enter(this.#id)) - 1;
    const count = await shared.read(fence);
    const read = performance.now();
    await sleep(1 + 2 * Math.random());
    await this.#linger("read");
    const late = isOver();
    const took = performance.now() - read;
    const written = count !== undefined && (await shared.write(count + 1, fence));
    await this.#linger("written");
    await shared.leave(this.#id);
    return { others, took, written, late };
  }

  async #linger(spot: Spot): Promise<void> {
    if (this.#lingerAt !== spot) return;
    const told = new Promise<void>((resolve) => (this.#goOn = resolve));
    this.#tools.report({ kind: "lingering" });
    await told;
  }
}
