/** Whether something can still be reached. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { until } from "./until.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Resolves when nothing refers to the object any more. */
export async function collected(reference: WeakRef<object>, what: string): Promise<void> {
  await until(() => {
    collect();
    return reference.deref() === undefined;
  }, `nothing refers to ${what} any more`);
}
