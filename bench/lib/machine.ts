import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { contenders } from "../contenders/index.ts";
import { sleep } from "./clock.ts";
import { packageFolder } from "./folders.ts";

export interface Machine {
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGb: number;
  readonly node: string;
  readonly server: string;
  readonly versions: Readonly<Record<string, string>>;
  /** Packages that say they need another Node than this one. */
  readonly unsupported: readonly string[];
}

export function describeMachine(server: string): Machine {
  const versions: Record<string, string> = {};
  const unsupported: string[] = [];
  for (const name of new Set(contenders.flatMap((contender) => contender.packages))) {
    const manifest = manifestOf(name);
    versions[name] = manifest.version.replace(/^v/, "");
    const least = /^>=\s*(\d+)/.exec(manifest.engines?.node ?? "")?.[1];
    if (Number(least) > Number.parseInt(process.versions.node)) {
      unsupported.push(`${name} ${manifest.version} asks for Node ${manifest.engines!.node}; it was run all the same`);
    }
  }
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    server,
    versions,
    unsupported,
  };
}

/** What others do with the machine, in percent of all its cores. Ask while nothing of ours runs. */
export async function busyPercent(): Promise<number> {
  const before = cpuTimes();
  await sleep(400);
  const after = cpuTimes();
  return 100 * (1 - (after.idle - before.idle) / (after.all - before.all));
}

function cpuTimes(): { idle: number; all: number } {
  const times = cpus().map((cpu) => cpu.times);
  const idle = times.reduce((total, each) => total + each.idle, 0);
  return { idle, all: times.reduce((total, each) => total + each.user + each.nice + each.sys + each.irq, idle) };
}

function manifestOf(name: string): { version: string; engines?: { node?: string } } {
  return JSON.parse(readFileSync(`${packageFolder(name)}/package.json`, "utf8")) as ReturnType<typeof manifestOf>;
}
