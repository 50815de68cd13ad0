// Runs a list of cases (made by `twinfer-conformance cases`) as wasm, in Node or in a page of a
// real browser, and writes what came out:
//
//   node test/run-cases.mjs --place node|page --base http://HOST:PORT --cases FILE --out FILE
//
// The registry is the one that the server at --base has under /registry/. The page is served
// from here, under the strict content security policy, and gets the registry through here:
// everything comes from one origin. TWINFER_BROWSER names the browser.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { launch, openPage } from "../dist/test/support/browser.js";
import { runCases } from "../dist/test/support/runner.js";
import { DIST, proxy, serve } from "../dist/test/support/server.js";
import { loadModel } from "../dist/index.js";

const { values } = parseArgs({
  options: { place: { type: "string" }, base: { type: "string" }, cases: { type: "string" }, out: { type: "string" } },
});
const { place, base, out } = values;
if (!base || !values.cases || !out || !(place === "node" || place === "page")) {
  console.error("usage: run-cases.mjs --place node|page --base URL --cases FILE --out FILE");
  process.exit(2);
}
const { cases } = JSON.parse(readFileSync(values.cases, "utf8"));
const results = place === "node" ? await runCases(loadModel, place, `${base}/registry`, cases) : await inPage(base, cases);
writeFileSync(out, toJson(results));
console.log(`${place}: ${results.results.length} cases`);

/** As `JSON.stringify`, which writes a negative zero as 0: that would be another answer. */
function toJson(value) {
  const MARK = "\u0001-0";
  return JSON.stringify(value, (_, v) => (Object.is(v, -0) ? MARK : v)).replaceAll(JSON.stringify(MARK), "-0.0");
}

async function inPage(target, list) {
  const site = await serve({ twinfer: DIST, test: `${DIST}test` }, proxy("/registry/", target));
  const browser = await launch();
  try {
    const { page, complaints } = await openPage(browser, `${site.origin}/`);
    const made = await page.evaluate(async (all) => {
      const { runCases: run } = await import("/test/support/runner.js");
      const { loadModel: load } = await import("/twinfer/index.js");
      return run(load, "page", "/registry", all);
    }, list);
    for (const complaint of complaints) console.error(`the page: ${complaint}`);
    return made;
  } finally {
    await browser.close();
    await site.close();
  }
}
