/** Nearest rank on a copy; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** Jain's index of fairness: 1 when all have the same, 1/n when one has everything. */
export function jain(values: readonly number[]): number {
  const squares = sum(values.map((value) => value * value));
  return squares === 0 ? NaN : sum(values) ** 2 / (values.length * squares);
}

/** Mean wait of a queue with Poisson arrivals, one server and one service time. */
export function waitOfMD1(load: number, service: number): number {
  return load >= 1 ? Infinity : (load * service) / (2 * (1 - load));
}

/** Mean wait of these very arrivals at a perfect first-come-first-served server (Lindley). */
export function waitOfPerfectQueue(arrivals: readonly number[], service: number): number {
  let free = -Infinity;
  let total = 0;
  for (const arrival of Float64Array.from(arrivals).sort()) {
    const start = Math.max(arrival, free);
    total += start - arrival;
    free = start + service;
  }
  return total / arrivals.length;
}
