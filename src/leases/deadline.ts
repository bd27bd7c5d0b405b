/**
 * How much earlier than the server's our deadline is, for a lease of that length, because clocks run at different
 * speeds.
 */
export function drift(ttl: number): number {
  return ttl * 0.01 + 2;
}

/** Our own deadline for a lease that a server keeps until `grantedUntil`, and that was certainly running at `from`. */
export function deadline(grantedUntil: number, from: number): number {
  return grantedUntil - drift(grantedUntil - from);
}
