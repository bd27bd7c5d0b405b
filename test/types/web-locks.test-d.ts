/**
 * What the types promise, checked by `tsc -p test/types` with the browser's types (lib.dom) beside holdfast's.
 * The names LockManager, Lock, LockOptions, LockInfo and LockManagerSnapshot, where not imported, are lib.dom's.
 */
import { expectTypeOf } from "vitest";
import {
  LockManager as OurManager,
  type Lock as OurLock,
  type LockMode as OurMode,
  type LockOptions as OurOptions,
  type OnceResult,
  type SeveralLocks,
  type Term,
} from "../../src/index.ts";

declare const locks: OurManager;
declare const someOptions: OurOptions;
declare const domOptions: LockOptions;
declare const maybe: boolean;
declare const signal: AbortSignal;

// A LockManager of holdfast goes where one of lib.dom is expected.
export const asDom: LockManager = new OurManager();
export const asNavigators: Navigator["locks"] = locks;
export const asNavigator: Pick<Navigator, "locks"> = { locks };

async function writtenForBrowsers(manager: LockManager): Promise<number> {
  return manager.request("a", { mode: "shared" }, async (lock) => (lock ? lock.name.length : 0));
}
expectTypeOf(writtenForBrowsers(locks)).toEqualTypeOf<Promise<number>>();

// So do its parts.
declare const ourLock: OurLock;
export const lockAsDom: Lock = ourLock;
expectTypeOf<OurMode>().toEqualTypeOf<LockMode>();
export const snapshot: Promise<LockManagerSnapshot> = locks.query();
declare const domCallback: LockGrantedCallback<string>;
expectTypeOf(locks.request("a", domCallback)).toEqualTypeOf<Promise<string>>();
expectTypeOf(locks.request("a", domOptions, domCallback)).toEqualTypeOf<Promise<string>>();

// request infers the callback's result, awaited.
expectTypeOf(locks.request("a", () => 1)).toEqualTypeOf<Promise<number>>();
expectTypeOf(locks.request("a", async () => "text")).toEqualTypeOf<Promise<string>>();
expectTypeOf(locks.request("a", {}, () => Promise.resolve({ b: true }))).toEqualTypeOf<Promise<{ b: boolean }>>();
expectTypeOf(locks.request("a", () => undefined)).toEqualTypeOf<Promise<undefined>>();
expectTypeOf(locks.request("a", async () => {})).toEqualTypeOf<Promise<void>>();
expectTypeOf(locks.request("a", (): never => process.exit())).toEqualTypeOf<Promise<never>>();
expectTypeOf(locks.request("a", (lock) => lock)).toEqualTypeOf<Promise<OurLock>>();
expectTypeOf(locks.request("a", { ifAvailable: true }, (lock) => lock)).toEqualTypeOf<Promise<OurLock | null>>();
expectTypeOf(locks.request<number>("a", () => 1)).toEqualTypeOf<Promise<number>>();

// The callback's lock is a Lock...
void locks.request("a", (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock>());
void locks.request("a", {}, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock>());
void locks.request("a", { mode: "shared", signal }, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock>());
void locks.request("a", { steal: true }, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock>());
void locks.request("a", { ifAvailable: false }, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock>());
void locks.request("a", { ttl: 100, waitTimeout: 5, renew: false, maxHold: 500, label: "me" }, (lock) =>
  expectTypeOf(lock).toEqualTypeOf<OurLock>(),
);

// ...unless ifAvailable is true, or may be: then it may be null.
void locks.request("a", { ifAvailable: true }, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock | null>());
void locks.request("a", { ifAvailable: maybe }, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock | null>());
void locks.request("a", someOptions, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock | null>());
void locks.request("a", domOptions, (lock) => expectTypeOf(lock).toEqualTypeOf<OurLock | null>());
// @ts-expect-error The lock may be null, and null has no name.
void locks.request("a", { ifAvailable: true }, (lock) => lock.name);
// @ts-expect-error So it may where the options do not say.
void locks.request("a", someOptions, (lock) => lock.name);

// What request refuses does not compile.
// @ts-expect-error A name has to be a string.
void locks.request(1, () => 1);
// @ts-expect-error There has to be a callback.
void locks.request("a");
// @ts-expect-error Options are no callback.
void locks.request("a", {});
// @ts-expect-error A mode is "exclusive" or "shared".
void locks.request("a", { mode: "upgradable" }, () => 1);
// @ts-expect-error A signal is an AbortSignal, not its controller.
void locks.request("a", { signal: new AbortController() }, () => 1);
// @ts-expect-error A misspelt option is none.
void locks.request("a", { ifAvaliable: true }, () => 1);
// @ts-expect-error The command line takes "30s"; the library takes milliseconds.
void locks.request("a", { ttl: "30s" }, () => 1);

// What holdfast adds.
expectTypeOf(locks.acquire("a")).toEqualTypeOf<Promise<OurLock>>();
expectTypeOf(locks.acquire("a", { mode: "shared", waitTimeout: 100 })).toEqualTypeOf<Promise<OurLock>>();
expectTypeOf(locks.tryAcquire("a")).toEqualTypeOf<Promise<OurLock | null>>();
expectTypeOf(locks.tryAcquire("a", { mode: "shared" })).toEqualTypeOf<Promise<OurLock | null>>();
expectTypeOf(ourLock.fence).toEqualTypeOf<number>();
expectTypeOf(ourLock.held).toEqualTypeOf<boolean>();
expectTypeOf(ourLock.signal).toEqualTypeOf<AbortSignal>();
expectTypeOf(ourLock.release()).toEqualTypeOf<Promise<boolean>>();
expectTypeOf(locks.close()).toEqualTypeOf<Promise<void>>();
void locks.request(["a", "b"], (all) => expectTypeOf(all).toEqualTypeOf<SeveralLocks>());
void locks.request(["a"], { ifAvailable: true }, (all) => expectTypeOf(all).toEqualTypeOf<SeveralLocks | null>());
void locks.request(["a"], someOptions, (all) => expectTypeOf(all).toEqualTypeOf<SeveralLocks | null>());
expectTypeOf(locks.request(["a"], { ttl: 100 }, async () => 1)).toEqualTypeOf<Promise<number>>();
expectTypeOf(locks.acquire(["a", "b"])).toEqualTypeOf<Promise<SeveralLocks>>();
expectTypeOf(locks.tryAcquire(["a", "b"])).toEqualTypeOf<Promise<SeveralLocks | null>>();
expectTypeOf(locks.share("a", { ttl: 100 }, async () => 1)).toEqualTypeOf<Promise<number>>();
expectTypeOf(
  locks.share(
    "a",
    { ttl: 0, codec: { encode: (date: Date) => date.toJSON(), decode: (text) => new Date(text) } },
    () => new Date(),
  ),
).toEqualTypeOf<Promise<Date>>();
// @ts-expect-error how long it is given out must be said
void locks.share("a", {}, () => 1);
expectTypeOf(locks.once("a", { atMost: 100 }, async () => 1)).toEqualTypeOf<Promise<OnceResult<number>>>();
// @ts-expect-error A job has a cap.
void locks.once("a", { atLeast: 100 }, () => 1);
export const election: AsyncIterable<Term> = locks.elect("a");
// @ts-expect-error A candidacy has no end but its signal.
void locks.elect("a", { waitTimeout: 100 });
export const disposable: AsyncDisposable = ourLock;
export const manager: AsyncDisposable = locks;
// @ts-expect-error A lock is a value to look at: its name is not to be written.
ourLock.name = "another";
// @ts-expect-error Nor is its fence.
ourLock.fence = 1;

// A snapshot of ours leaves nothing out.
void locks.query().then(({ held, pending }) => {
  expectTypeOf(held[0]!.name).toEqualTypeOf<string>();
  expectTypeOf(held[0]!.mode).toEqualTypeOf<OurMode>();
  expectTypeOf(pending[0]!.clientId).toEqualTypeOf<string>();
});
