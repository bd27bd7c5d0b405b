/** The checks of chaos find each kind of broken promise in a forged history, and nothing in a sound one. */
import { describe, expect, it } from "vitest";
import type { Rule } from "../../simulator/checks/verdict.ts";
import type { Affliction } from "../../chaos/checks/affliction.ts";
import { type Facts, check } from "../../chaos/checks/check.ts";
import type { Evidence } from "../../chaos/checks/evidence.ts";
import { History } from "../../chaos/checks/history.ts";
import { Verdict } from "../../chaos/checks/verdict.ts";
import type { Entry } from "../../chaos/client/journal.ts";

/** What a test forges: as `Entry`, of a process. */
class Forger {
  readonly history = new History();
  readonly #journals = new Map<string, (entry: Entry) => void>();
  #requests = 0;
  #fence = 0;

  add(process: string, entry: Entry): void {
    let journal = this.#journals.get(process);
    if (!journal) this.#journals.set(process, (journal = this.history.open(`${process}.1`)));
    journal(entry);
  }

  /** A request for the lock "a" that was asked, granted and given back at these times; undefined: not any more. */
  request(process: string, times: readonly [number, (number | undefined)?, number?], more: Partial<Asked> = {}): void {
    const [asked, granted, settled] = times;
    const { fence = ++this.#fence, queued, how = "released", left = 1_000, ...rest } = more;
    const r = this.#requests++;
    const plain = { verb: "request", lock: "a", mode: "exclusive", ttl: 1_000 } as const;
    this.add(process, { t: asked, e: "asked", r, ...plain, ...rest });
    if (queued !== undefined) this.add(process, { t: queued, e: "queued", r });
    if (granted !== undefined) {
      this.add(process, { t: granted, e: "granted", r, fence, token: `${process}:${r}`, held: true, left });
      if (settled !== undefined) this.add(process, { t: settled, e: "leaving", r, held: true, left });
    }
    if (settled !== undefined) this.add(process, { t: settled, e: "settled", r, how });
  }

  /** All processes end by themselves. */
  end(t: number): void {
    for (const journal of this.#journals.values()) {
      journal({ t, e: "closing" });
      journal({ t, e: "down" });
    }
  }

  rules(afflictions: readonly Affliction[] = [], facts: Partial<Facts> = {}): Rule[] {
    return this.judge(afflictions, facts).violations.map(({ rule }) => rule);
  }

  judge(afflictions: readonly Affliction[] = [], facts: Partial<Facts> = {}): Verdict {
    const evidence: Evidence = {
      history: this.history,
      afflictions,
      verdict: new Verdict(),
      offset: 0,
      fencesAreTimes: true,
      isOrdered: true,
      semaphores: { s: 3 },
      end: 100_000,
    };
    check(evidence, { endings: [], lostUpdates: [], leftovers: [], jobKept: 8_000, ...facts });
    return evidence.verdict;
  }
}

interface Asked {
  verb: "request" | "permits" | "once";
  lock: string;
  mode: "exclusive" | "shared";
  permits: number;
  alone: true;
  fence: number;
  queued: number;
  how: string;
  left: number;
}

/** The fence of a grant at that time, as a server draws it. */
const at = (time: number): number => time * 1_000;
const restart = (from: number, until: number): Affliction => ({
  fault: "restart server",
  client: undefined,
  from,
  until,
  doubt: { cause: "memory lost", from, until },
});

describe("the checks of a history", () => {
  it("find nothing in one without a fault", () => {
    const forger = new Forger();
    forger.request("A", [0, 1, 10]);
    forger.request("B", [2, 11, 20]);
    forger.request("A", [21, 22, 30], { mode: "shared" });
    forger.request("B", [21, 23, 30], { mode: "shared" });
    for (const process of ["A", "B", "A"]) {
      forger.request(process, [40, 41, 50], { verb: "permits", lock: "s", mode: "shared", permits: 1 });
    }
    forger.end(100);
    expect(forger.rules()).toEqual([]);
  });

  it.each([["exclusive"], ["shared"]] as const)("find two holders at once, exclusive and %s", (mode) => {
    const forger = new Forger();
    forger.request("A", [0, 1, 10]);
    forger.request("B", [2, 9, 20], { mode });
    forger.end(100);
    expect(forger.rules()).toEqual(["one holder"]);
  });

  it("find a lock that was granted while the lease of a dead holder lasted", () => {
    const forger = new Forger();
    forger.request("A", [0, 1], { left: 900 });
    forger.request("B", [2, 890, 895]);
    forger.add("B", { t: 1_000, e: "down" });
    expect(forger.rules()).toEqual(["one holder"]);
  });

  it("let another have the lock once the lease of a dead holder is over", () => {
    const forger = new Forger();
    forger.request("A", [0, 1], { left: 900 });
    forger.request("B", [2, 902, 910]);
    forger.add("B", { t: 1_000, e: "down" });
    expect(forger.rules()).toEqual([]);
  });

  it("excuse two holders only if the server lost its memory between their grants", () => {
    const [early, late] = [at(1_000), at(2_000)];
    const forge = (): Forger => {
      const forger = new Forger();
      forger.request("A", [990, 1_000, 2_500], { fence: early });
      forger.request("B", [1_995, 2_000, 2_100], { fence: late });
      forger.end(3_000);
      return forger;
    };
    expect(forge().judge([restart(1_500, 1_600)]).exceptions).toEqual(new Map([["memory lost", 1]]));
    expect(forge().rules([restart(1_500, 1_600)])).toEqual([]);
    expect(forge().rules([restart(500, 900)])).toEqual(["one holder"]);
    expect(forge().rules([restart(2_200, 2_300)])).toEqual(["one holder"]);
    expect(forge().rules([{ ...restart(1_500, 1_600), doubt: undefined as never }])).toEqual(["one holder"]);
  });

  it("find an older holder that believes for longer than its lease after the server lost its memory", () => {
    const forger = new Forger();
    forger.request("A", [990, 1_000, 5_000], { fence: at(1_000) });
    forger.request("B", [1_995, 2_000, 5_000], { fence: at(2_000) });
    forger.end(6_000);
    expect(forger.rules([restart(1_500, 1_600)])).toEqual(["one holder"]);
  });

  it("find more permits than there are", () => {
    const forger = new Forger();
    for (const process of ["A", "B"]) {
      forger.request(process, [0, 1, 10], { verb: "permits", lock: "s", mode: "shared", permits: 2 });
    }
    forger.end(100);
    expect(forger.rules()).toEqual(["permits"]);
  });

  it("find fences that fall, and one that was given twice", () => {
    const forger = new Forger();
    forger.request("A", [0, 1, 10], { fence: 7 });
    forger.request("B", [11, 12, 20], { fence: 6 });
    forger.request("A", [21, 22, 30], { fence: 7 });
    forger.end(100);
    expect(forger.rules()).toEqual(["growing fences", "growing fences"]);
  });

  it("find a guarded write that was overwritten unread", () => {
    const forger = new Forger();
    expect(forger.rules([], { lostUpdates: [{ lock: "a", fence: 1 }] })).toEqual(["guarded writes"]);
  });

  it("find a waiter that nobody serves, but for the time in which something goes wrong", () => {
    const forge = (): Forger => {
      const forger = new Forger();
      forger.request("A", [0, 1, 10]);
      forger.request("B", [2, 9_000, 9_010]);
      forger.end(10_000);
      return forger;
    };
    expect(forge().rules()).toEqual(["service"]);
    const trouble = { fault: "black hole", client: "B", from: 5, until: 6_000 };
    expect(forge().rules([trouble])).toEqual([]);
    expect(forge().rules([{ ...trouble, client: "A" }])).toEqual(["service"]);
  });

  it("find a waiter that is never served, however much went wrong before", () => {
    const forger = new Forger();
    forger.request("A", [0, 1, 10]);
    forger.request("B", [2]);
    forger.end(50_000);
    expect(forger.rules([restart(100, 1_000)])).toEqual(["service", "service"]);
  });

  it("find a waiter that was overtaken, unless something went wrong for it", () => {
    const forge = (): Forger => {
      const forger = new Forger();
      forger.request("A", [0, 1, 10]);
      forger.request("B", [2, 21, 30], { alone: true, queued: 3, fence: 3 });
      forger.request("C", [5, 11, 20], { alone: true, queued: 6, fence: 2 });
      forger.end(100);
      return forger;
    };
    expect(forge().rules()).toEqual(["order on the server"]);
    expect(forge().rules([{ fault: "reset", client: "B", from: 4, until: 4 }])).toEqual([]);
    expect(forge().rules([{ fault: "reset", client: "C", from: 4, until: 4 }])).toEqual(["order on the server"]);
  });

  it("find a job that ran twice while it was kept, and code that began twice", () => {
    const forger = new Forger();
    forger.request("A", [0, 1, 10], { verb: "once", lock: "job", how: "ran" });
    forger.request("B", [6_000, 6_001, 6_010], { verb: "once", lock: "job", how: "ran" });
    forger.add("A", { t: 20, e: "granted", r: 0, fence: 9, token: "A:0", held: false, left: 0 });
    forger.end(9_000);
    expect(forger.rules()).toContain("runs once");
    expect(forger.rules().filter((rule) => rule === "runs once")).toHaveLength(2);
  });

  it("find a lock that was lost, and a request that failed, with nothing that explains it", () => {
    const forge = (): Forger => {
      const forger = new Forger();
      forger.request("A", [60_000, 60_001, 60_010], { how: "lost" });
      forger.request("B", [60_000, undefined, 60_010], { how: "unreachable" });
      forger.end(70_000);
      return forger;
    };
    expect(forge().rules()).toEqual(["errors", "errors"]);
    expect(forge().rules([restart(59_000, 59_500)])).toEqual([]);
    expect(forge().rules([restart(1_000, 1_500)])).toEqual(["errors", "errors"]);
  });

  it("find a process that does not end, or says something, and keys that stay", () => {
    const ending = { name: "A.1", wasKilled: false, exitCode: 0, said: "" };
    const rules = (facts: Partial<Facts>): Rule[] => new Forger().rules([], facts);
    expect(rules({ endings: [ending] })).toEqual([]);
    expect(rules({ endings: [{ ...ending, wasKilled: true, exitCode: null }] })).toEqual([]);
    expect(rules({ endings: [{ ...ending, exitCode: null }] })).toEqual(["nothing is left"]);
    expect(rules({ endings: [{ ...ending, exitCode: 1, said: "Error" }] })).toEqual(["errors", "nothing is left"]);
    expect(rules({ leftovers: ["lock:a"] })).toEqual(["nothing is left"]);
  });
});
