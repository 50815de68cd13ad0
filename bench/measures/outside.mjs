// The median of an answer in a page of headless Chromium, Twinfer beside onnxruntime-web, of models that
// others made (`bench/models/outside.py`).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { plan, quick, skipped, write } from "../shared/plan.mjs";
import { visit, withProfile } from "../shared/browser.mjs";
import { outsideSamples } from "../shared/outside.mjs";
import { routes } from "../shared/pages.mjs";
import { serve } from "../shared/server.mjs";

const BLOCKS = quick ? 3 : 9;
const MILLISECONDS = quick ? 150 : 400;

const { samples, registry, missing } = outsideSamples();
const server = await serve({ ...routes(samples), "/outside/": registry });
// Where `loadModel` knows `precision`, the fast engine is measured too.
const fast = readFileSync(join(plan.web, "types.d.ts"), "utf8").includes("precision?:") ? { fast: "1" } : {};
const results = missing.map(({ reference, why }) => ({ reference, ...skipped(reference, why) }));
try {
  for (const { reference, source } of samples) {
    const ask = { measure: "median", reference, registry: "/outside", rounds: BLOCKS, milliseconds: MILLISECONDS, ...fast };
    const page = `${server.base}/index.html?${new URLSearchParams(ask)}`;
    // A model that the engine cannot run is a result too.
    const median = await withProfile(plan.browser, (context) => visit(context, page)).catch((error) =>
      skipped(reference, String(error.message).split("\n")[0]),
    );
    results.push({ reference, source, ...(median.skipped ? median : { median }) });
    if (!median.skipped) console.log(`${reference}: ${ms(median.twinfer_run)} ms (onnxruntime-web ${ms(median.ort_run)})`);
  }
} finally {
  await server.close();
}
write("outside", { results });

function ms({ median }) {
  return median.toFixed(median < 10 ? 3 : 1);
}
