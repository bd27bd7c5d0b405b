import { readdirSync, readFileSync } from "node:fs";

/** Send a signal to every process of the group. Does nothing where there is none. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    // EPERM: it runs as another user (sudo). The caller sees that it keeps running.
    if (!["ESRCH", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** True while a process of the group runs. */
export function groupRuns(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  // Signals also reach the dead that nobody has reaped, and in containers often nobody does.
  return process.platform !== "linux" || readdirSync("/proc").some((entry) => runsIn(group, entry));
}

function runsIn(group: number, entry: string): boolean {
  if (!/^\d+$/.test(entry)) return false;
  try {
    // pid (program) state parent group …, and a program's name may hold anything.
    const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
    const [state = "", , processGroup] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(processGroup) === group && !"ZX".includes(state);
  } catch {
    // It has ended in the meantime.
    return false;
  }
}
