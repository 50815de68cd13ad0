/** A real Chromium, driven by playwright-core. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { env } from "node:process";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/** The browser that `TWINFER_BROWSER` names, or the first one on the PATH. */
export function findBrowser(): string {
  const { TWINFER_BROWSER: named, PATH = "" } = env;
  if (named) return named;
  for (const folder of PATH.split(delimiter)) {
    for (const name of NAMES) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // The next one.
      }
    }
  }
  throw new Error("no browser of the Chromium family was found: install chromium, or set TWINFER_BROWSER to the path of one");
}

const options = () => ({
  executablePath: findBrowser(),
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

export async function launch(): Promise<Browser> {
  return chromium.launch(options());
}

/** A browser whose storage is on the disk: the fresh profiles of `openPage` have it in memory, under other rules. */
export async function launchProfile(folder: string): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, options());
}

/** A fresh profile with one page, and everything that it complained about. */
export async function openPage(browser: Browser, url: string): Promise<{ page: Page; complaints: string[] }> {
  return openPageIn(await browser.newContext(), url);
}

/** What a page complains of from now on: errors, and what its console warns of. */
export function complaintsOf(page: Page): string[] {
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(`${message.type()}: ${message.text()}`);
  });
  return complaints;
}

export async function openPageIn(context: BrowserContext, url: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await context.newPage();
  const complaints = complaintsOf(page);
  // Under the page's policy like any script of its own.
  await page.addInitScript(() => Object.assign(window, { twinfer: import(`${location.origin}/twinfer/index.js`) }));
  await page.goto(url);
  return { page, complaints };
}
