/** What the doctor finds, in this process. */
import type { Redis } from "ioredis";
import { systemClock } from "../../src/clock.ts";
import { examine } from "../../src/doctor/doctor.ts";
import type { Finding, Report, Terms } from "../../src/doctor/finding.ts";
import { driverFor } from "../../src/drivers/index.ts";
import type { RedisClient } from "../../src/index.ts";

const usual: Terms = { topology: "server", scheme: "lua", prefix: "lock:", ttl: 30_000, count: 1 };

/** @param clients with the URL that each was made for */
export async function examined(
  clients: readonly (readonly [client: RedisClient | Redis, url: string])[],
  terms: Partial<Terms> = {},
): Promise<Report> {
  const patients = clients.map(([client, url]) => {
    const { port, username } = new URL(url);
    return { driver: driverFor(client), place: { title: url, port: Number(port), user: username || "default" } };
  });
  try {
    return await examine(patients, { ...usual, count: clients.length, ...terms }, systemClock, String);
  } finally {
    for (const { driver } of patients) driver.close();
  }
}

/** Those of one check. */
export function foundBy(report: Report, check: string): readonly Finding[] {
  return report.findings.filter((finding) => finding.check === check);
}
