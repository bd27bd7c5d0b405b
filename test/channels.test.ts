/** Which channels a manager listens to, where each lock has its own. */
import { test } from "vitest";
import { driverFor } from "../src/drivers/index.ts";
import { Channels } from "../src/schemes/channels.ts";
import { Homes } from "../src/schemes/keys.ts";
import { ManualClock } from "../src/testing.ts";
import { openStage } from "./support/stage.ts";
import { until } from "./support/until.ts";

test("a channel is left some time after nobody needs it any more, and one that is needed again stays", async (t) => {
  const stage = await openStage(t);
  const [clock, driver] = [new ManualClock(), driverFor(stage.client())];
  const channels = new Channels(driver, clock, "me", { message() {}, up() {} });
  t.onTestFinished(() => {
    channels.close();
    driver.close();
  });
  const homes = new Homes("lock:", true);
  const listensTo = async (...names: string[]): Promise<void> => {
    const expected = names.map((name) => `${homes.of(name).channel}me`);
    const heard = async (): Promise<boolean> =>
      String(((await stage.redis.pubsub("CHANNELS")) as string[]).toSorted()) === String(expected);
    await until(heard, `it listened to ${names.join(" and ")}`);
  };
  for (const name of ["a", "b", "c"]) channels.open(homes.of(name), 10_000);
  await listensTo("a", "b", "c");
  channels.open(homes.of("b"), 45_000);
  await clock.advance(31_000);
  await listensTo("b");
  await clock.advance(31_000);
  await listensTo();
});
