/** Whether the messages arrive that notify a waiter of its grant, and how long they take. */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../clock.ts";
import type { Driver } from "../../drivers/driver.ts";
import { Homes } from "../../schemes/keys.ts";

/** How long a message, and the subscription before it, may take, in milliseconds. */
const PATIENCE = 3_000;

/**
 * @param name of a lock that the server keeps
 * @returns milliseconds from PUBLISH to its message, or Infinity if none came
 */
export async function measurePush(driver: Driver, prefix: string, name: string, clock: Clock): Promise<number> {
  const id = `doctor-${randomBytes(8).toString("base64url")}`;
  const channel = `${new Homes(prefix, driver.isCluster).of(name).channel}${id}`;
  let [risen, heard] = [(): void => {}, (_at: number): void => {}];
  const rise = new Promise<void>((resolve) => (risen = resolve));
  const message = new Promise<number>((resolve) => (heard = resolve));
  const subscription = driver.subscribe(channel, { message: () => heard(clock.now()), up: () => risen() });
  const timer = clock.after(PATIENCE, () => {
    risen();
    heard(Infinity);
  });
  try {
    await rise;
    const sent = clock.now();
    await publish(driver, channel);
    return (await message) - sent;
  } catch {
    return Infinity;
  } finally {
    timer.cancel();
    subscription.close();
  }
}

/** In a Cluster to the channel's slot, which servers older than 7 do not know. */
async function publish(driver: Driver, channel: string): Promise<void> {
  if (driver.isCluster) {
    const done = await driver.send(["SPUBLISH", channel, "doctor"], channel).then(
      () => true,
      () => false,
    );
    if (done) return;
  }
  await driver.send(["PUBLISH", channel, "doctor"], channel);
}
