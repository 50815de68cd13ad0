// Runs the table of the trust policy as wasm, in Node or in a page of a real browser, and writes
// what was decided:
//
//   node test/run-trust.mjs --place node|page --folder DIR --out FILE
//
// DIR is made by `Table::write` of `tests/`: the registries `one` and `two`, the folder `policies`
// and `table.json`. TWINFER_BROWSER names the browser.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch, openPage } from "../dist/test/support/browser.js";
import { DIST, serve } from "../dist/test/support/server.js";
import { runTrust } from "../dist/test/support/trust.js";
import { loadModel } from "../dist/index.js";

const { values } = parseArgs({ options: { place: { type: "string" }, folder: { type: "string" }, out: { type: "string" } } });
const { place, folder, out } = values;
if (!folder || !out || !(place === "node" || place === "page")) {
  console.error("usage: run-trust.mjs --place node|page --folder DIR --out FILE");
  process.exit(2);
}
const { cases } = JSON.parse(readFileSync(join(folder, "table.json"), "utf8"));
const folders = Object.fromEntries(["one", "two", "policies"].map((name) => [name, join(folder, name)]));
const site = await serve({ twinfer: DIST, test: `${DIST}test`, ...folders });
try {
  const decided = place === "node" ? await runTrust(loadModel, site.origin, cases) : await inPage(site);
  writeFileSync(out, JSON.stringify(decided));
  console.log(`${place}: ${Object.keys(decided).length} cases`);
} finally {
  await site.close();
}

async function inPage({ origin }) {
  const browser = await launch();
  try {
    const { page } = await openPage(browser, `${origin}/`);
    return await page.evaluate(async (all) => {
      const { runTrust: run } = await import("/test/support/trust.js");
      const { loadModel: load } = await import("/twinfer/index.js");
      return run(load, "", all);
    }, cases);
  } finally {
    await browser.close();
  }
}
