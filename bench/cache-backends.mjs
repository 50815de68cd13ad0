// Which storage of the browser is the better place for packages: the private file system (OPFS)
// or the Cache API, in a worker and on the page's thread. Milliseconds, medians over profiles.
// node cache-backends.mjs [--out FILE] [--rounds N]; TWINFER_BROWSER names the browser.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { serve } from "./shared/server.mjs";
import { summarise } from "./shared/statistics.mjs";

const { values: options } = parseArgs({ options: { out: { type: "string" }, rounds: { type: "string", default: "3" } } });
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const browser = process.env.TWINFER_BROWSER;
if (!browser) throw new Error("TWINFER_BROWSER must name a browser of the Chromium family");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PLACES = [["opfs", "worker"], ["cache-api", "worker"], ["opfs", "main"], ["cache-api", "main"]];

const server = await serve({ "/": here("cache-backends/"), "/twinfer/": here("../web/dist/") });
const times = {};
let version = "";
try {
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const [place, thread] of PLACES) {
      const folder = mkdtempSync(join(tmpdir(), "twinfer-bench-"));
      const note = (name, value) => (((times[`${place}, ${thread}`] ??= {})[name] ??= []).push(value));
      try {
        const all = await inProfile(folder, { place, thread, what: "all" });
        for (const [name, value] of Object.entries(all)) note(name, value);
        // A new process of the browser: nothing of it is in memory.
        const { open, first, document } = await inProfile(folder, { place, thread, what: "cold" });
        note("cold open", open);
        note("cold read 1 MB", first);
        note("cold document", document);
      } finally {
        rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      }
    }
  }
} finally {
  await server.close();
}

const results = Object.fromEntries(Object.entries(times).map(([place, all]) => [place, Object.fromEntries(Object.entries(all).map(([name, values]) => [name, summarise(values)]))]));
const names = Object.keys(Object.values(results)[0]);
console.log(["", ...Object.keys(results)].map((cell) => cell.padStart(18)).join(""));
for (const name of names) console.log([name, ...Object.values(results).map((all) => all[name].median.toFixed(1))].map((cell) => cell.padStart(18)).join(""));
if (options.out) writeFileSync(options.out, `${JSON.stringify({ browser: version, unit: "ms", results }, null, 2)}\n`);

async function inProfile(folder, query) {
  const context = await chromium.launchPersistentContext(folder, { executablePath: browser, headless: true, args: FLAGS });
  try {
    version = context.browser()?.version() ?? version;
    const page = await context.newPage();
    page.setDefaultTimeout(300_000);
    await page.goto(`${server.base}/index.html?${new URLSearchParams(query)}`, { waitUntil: "load" });
    const { result, error } = await page.evaluate(() => window.result);
    if (error) throw new Error(`${JSON.stringify(query)}: ${error}`);
    return result;
  } finally {
    await context.close();
  }
}
