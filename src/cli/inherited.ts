/**
 * What a program inherits from a shell and Node would not pass on: which signals are ignored, and the open descriptors
 * beside stdin, stdout and stderr. Only Linux tells, in /proc.
 *
 * Imported first: the descriptors are read before anything here opens one.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import { basename } from "node:path";

/** The numbers of the open descriptors above stderr, those of Node's own left out. */
export const inheritedDescriptors: readonly number[] = readDescriptors();

/** Whoever started holdfast wants these to do nothing: nohup, `trap '' INT`, a script's background job. */
export const ignoredSignals: ReadonlySet<NodeJS.Signals> = readIgnored();

function readDescriptors(): number[] {
  const targets = new Map<number, string>();
  for (const fd of listDescriptors()) {
    try {
      targets.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // It was that of the list itself.
    }
  }
  // The first that Node opens is this, and the system gives the lowest number that is free.
  const firstOfNode = [...targets].find(([, target]) => target === "anon_inode:[eventpoll]")?.[0] ?? Infinity;
  const all = [...targets.values()];
  // Node's own are of these kinds; both ends of its pipes are here, and those of an inherited pipe are apart.
  const isOfNode = (target: string): boolean =>
    target.startsWith("anon_inode:") || (target.startsWith("pipe:") && all.indexOf(target) !== all.lastIndexOf(target));
  return [...targets].filter(([fd, target]) => fd < firstOfNode || !isOfNode(target)).map(([fd]) => fd);
}

function listDescriptors(): number[] {
  try {
    const numbers = readdirSync("/proc/self/fd").map(Number);
    return numbers.filter((fd) => fd > 2).toSorted((a, b) => a - b);
  } catch {
    return [];
  }
}

/**
 * Node resets ignored signals to their defaults before any code of ours runs, so bin/holdfast reads them first. If Node
 * was started in another way (npx resets them, too), the shell may still tell that it ran nohup: bash and zsh put what
 * they run into `_`.
 */
function readIgnored(): Set<NodeJS.Signals> {
  const { HOLDFAST_SIGIGN: mask = "", _: ran = "" } = process.env;
  delete process.env["HOLDFAST_SIGIGN"];
  const bits = /^[0-9a-f]{1,16}$/.test(mask) ? BigInt(`0x${mask}`) : 0n;
  const named = Object.entries(constants.signals) as [NodeJS.Signals, number][];
  const ignored = named.filter(([, number]) => (bits >> BigInt(number - 1)) & 1n).map(([name]) => name);
  return new Set(basename(ran) === "nohup" ? [...ignored, "SIGHUP"] : ignored);
}

/** Ignore them again. Not SIGCHLD: Node needs it, and it does nothing by itself. */
export function respectIgnored(): void {
  for (const signal of ignoredSignals) if (signal !== "SIGCHLD") process.on(signal, () => {});
}
