// Chromium: profiles of its own, pages that leave their result in `window.result`, and its
// emulation of a network.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
/** A page that takes longer than this is stuck, in ms. */
const TIMEOUT = 300_000;

/** Runs something in a browser with a profile of its own. */
export async function withProfile(program, work) {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-bench-"));
  const context = await chromium.launchPersistentContext(folder, { executablePath: program, headless: true, args: FLAGS });
  try {
    return await work(context);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * Opens a page and gives what it leaves as `window.result`: `{ result }` or `{ error }`.
 * @param {{ latency: number, megabits: number }} [network] Emulated, ms for each request and megabits a second.
 */
export async function visit(context, address, network) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  try {
    if (network) {
      const session = await context.newCDPSession(page);
      const throughput = (network.megabits * 1e6) / 8;
      await session.send("Network.enable");
      // What holds for a page holds for the workers that it starts: `network.mjs` makes sure.
      await session.send("Network.emulateNetworkConditions", {
        offline: false,
        latency: network.latency,
        downloadThroughput: throughput,
        uploadThroughput: throughput,
      });
    }
    await page.goto(address, { waitUntil: "load" });
    const { result, error } = await page.evaluate(() => window.result);
    if (error) throw new Error(`${address}: ${error}`);
    return result;
  } finally {
    await page.close();
  }
}
