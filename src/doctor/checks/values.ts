/** Reading what servers say, and writing it for people. */
import type { Facts } from "../facts/facts.ts";

/** A number of INFO; undefined if the server does not report it. */
export function numberIn({ info }: Facts, name: string): number | undefined {
  const value = info?.get(name);
  return value === undefined || value === "" ? undefined : Number(value);
}

export function bytes(count: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log(Math.max(1, count)) / Math.log(1024)));
  const value = count / 1024 ** power;
  return `${value >= 10 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

export function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

/** Milliseconds. */
export function millis(time: number): string {
  return time >= 1_000
    ? `${(time / 1_000).toFixed(1)} s`
    : time >= 10
      ? `${Math.round(time)} ms`
      : `${time.toFixed(1)} ms`;
}
