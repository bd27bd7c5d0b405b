/**
 * What Node does not pass on of what a program inherits from a shell: ignored signals, and the open descriptors
 * above stderr. bin/holdfast reads them before Node starts, on Linux. If Node was started in another way, only some of
 * it can still be seen.
 *
 * Imported first: the descriptors are looked at before anything here opens one.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import { basename } from "node:path";

/** O_CLOEXEC, which Node does not name. */
const CLOSE_ON_EXEC = 0o2000000;

const [mask = "", ...descriptors] = process.env["HOLDFAST_INHERITED"]?.split(" ") ?? [];
const wasLaunched = mask !== "";
delete process.env["HOLDFAST_INHERITED"];

/** In ascending order. */
export const inheritedDescriptors: readonly number[] = wasLaunched ? descriptors.map(Number) : findDescriptors();

/** The signals that the parent process made holdfast ignore. */
export const ignoredSignals: ReadonlySet<NodeJS.Signals> = new Set([...readMask(), ...ignoredByNohup()]);

/** Ignore them again. Not SIGCHLD: Node needs it, and it does nothing by itself. */
export function respectIgnored(): void {
  for (const signal of ignoredSignals) if (signal !== "SIGCHLD") process.on(signal, () => {});
}

function readMask(): NodeJS.Signals[] {
  const bits = /^[0-9a-f]{1,16}$/.test(mask) ? BigInt(`0x${mask}`) : 0n;
  const named = Object.entries(constants.signals) as [NodeJS.Signals, number][];
  return named.filter(([, number]) => (bits >> BigInt(number - 1)) & 1n).map(([name]) => name);
}

/** bash and zsh put what they run into `_`, and npx, which resets signals as any Node does, leaves it there. */
function ignoredByNohup(): NodeJS.Signals[] {
  return basename(process.env["_"] ?? "") === "nohup" ? ["SIGHUP"] : [];
}

/**
 * Node's own are closed on exec, and so are, by now, most that were inherited. But the first that Node opens is an
 * eventpoll, and the system gives the lowest number that is free: all below it were there before.
 */
function findDescriptors(): number[] {
  const all = listDescriptors();
  const first = all.find((fd) => lookAt(fd, "fd", readlinkSync) === "anon_inode:[eventpoll]") ?? Infinity;
  return all.filter((fd) => fd < first || (flagsOf(fd) & CLOSE_ON_EXEC) === 0);
}

function listDescriptors(): number[] {
  try {
    const numbers = readdirSync("/proc/self/fd").map(Number);
    return numbers.filter((fd) => fd > 2).toSorted((a, b) => a - b);
  } catch {
    return [];
  }
}

/** Those of a descriptor that is closed meanwhile, as that of the list is, are Node's. */
function flagsOf(fd: number): number {
  const info = lookAt(fd, "fdinfo", (path) => readFileSync(path, "utf8"));
  return info === undefined ? CLOSE_ON_EXEC : parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? "", 8);
}

function lookAt(fd: number, what: "fd" | "fdinfo", look: (path: string) => string): string | undefined {
  try {
    return look(`/proc/self/${what}/${fd}`);
  } catch {
    return undefined;
  }
}
