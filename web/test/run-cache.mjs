// Runs the list of the cache suite as wasm, in Node or in a page of a real browser, and writes
// what came out:
//
//   node test/run-cache.mjs --place node|page-opfs|page-cache-api --cases FILE --out FILE
//
// FILE is made by `twinfer-conformance cache`, which calls this while its server runs. The page
// is under the strict content security policy, but for the lying server, which is another origin.
// TWINFER_BROWSER names the browser.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { launch, openPage } from "../dist/test/support/browser.js";
import { runCache } from "../dist/test/support/cache.js";
import { fromGolden, toGolden } from "../dist/test/support/runner.js";
import { DIST, POLICY, serve } from "../dist/test/support/server.js";
import { loadModel } from "../dist/index.js";

const PLACES = {
  // Nothing is kept, and the rest of a broken load is lost with it.
  node: { keep: false, lacks: ["stall", "clock", "kept", "partial", "damage"] },
  "page-opfs": { keep: "opfs", lacks: ["stall", "clock"] },
  // An entry of the Cache API is written at once.
  "page-cache-api": { keep: "cache-api", lacks: ["stall", "clock", "partial"] },
};
const { values } = parseArgs({ options: { place: { type: "string" }, cases: { type: "string" }, out: { type: "string" } } });
const { place, out } = values;
const known = PLACES[place];
if (!known || !values.cases || !out) {
  console.error(`usage: run-cache.mjs --place ${Object.keys(PLACES).join("|")} --cases FILE --out FILE`);
  process.exit(2);
}
const list = JSON.parse(readFileSync(values.cases, "utf8"));
const { keep, lacks } = known;
const results = keep === false ? await inNode() : await inPage();
writeFileSync(out, JSON.stringify(results));
console.log(`${place}: ${results.results.length} cases`);

function inNode() {
  return runCache({ load: loadModel, golden: { from: fromGolden, to: toGolden } }, place, keep, lacks, list);
}

async function inPage() {
  const others = [list.server, list.nobody, "http://127.0.0.1:*"].join(" ");
  const site = await serve({ twinfer: DIST, test: `${DIST}test` }, (_, response) => {
    response.setHeader("content-security-policy", `${POLICY}; connect-src 'self' ${others}`);
    return false;
  });
  const browser = await launch();
  try {
    const { page } = await openPage(browser, `${site.origin}/`);
    return await page.evaluate(async ([all, name, where, cannot]) => {
      const { runCache: run } = await import("/test/support/cache.js");
      const { fromGolden: from, toGolden: to } = await import("/test/support/runner.js");
      const { loadModel: load } = await import("/twinfer/index.js");
      return run({ load, golden: { from, to } }, name, where, cannot, all);
    }, [list, place, keep, lacks]);
  } finally {
    await browser.close();
    await site.close();
  }
}
