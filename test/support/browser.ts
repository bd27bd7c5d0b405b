/** The Chromium of this machine, driven by playwright-core; tests of pages are skipped, with the reason, if there is none. */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import type { Browser } from "playwright-core";

const path = [process.env["CHROMIUM"], "/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"].find(
  (each) => each && existsSync(each),
);

export const hasBrowser: boolean = path !== undefined;

/** For the title of what is skipped without one. */
export const NO_BROWSER = "SKIPPED: no Chromium found. Install Debian's chromium, or set CHROMIUM to the path of one";

export function openBrowser(): Promise<Browser> {
  if (path === undefined) throw new Error(NO_BROWSER);
  // Chromium's sandbox does not work for root, and containers have little shared memory.
  return chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
