import { readFileSync } from "node:fs";
import { isatty } from "node:tty";

/**
 * True if holdfast is a background job of the terminal that is its stdin. A shell's job that reads the terminal then
 * is stopped by SIGTTIN; the command is not, because it has its own session, and would take what is typed at the
 * shell. Only Linux tells; elsewhere false.
 */
export function isInBackground(): boolean {
  if (!isatty(0)) return false;
  try {
    const stat = readFileSync("/proc/self/stat", "utf8");
    // After pid and (program), whose name may hold anything: state parent group session terminal foreground-group.
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return Number(foreground) > 0 && foreground !== group;
  } catch {
    return false;
  }
}
