// Times in a page of headless Chromium, Twinfer beside onnxruntime-web: the first answer from a
// server on the same machine, and the median of an answer, of the sample models.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { plan, quick, write } from "../shared/plan.mjs";
import { visit, withProfile } from "../shared/browser.mjs";
import { described, routes, samples } from "../shared/pages.mjs";
import { serve } from "../shared/server.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";

const ROUNDS = quick ? 2 : 7;
const BLOCKS = quick ? 3 : 9;
const MILLISECONDS = quick ? 150 : 400;

const ours = samples();
const server = await serve(routes(ours));
// Where `loadModel` knows `precision`, the fast engine is measured too.
const fast = readFileSync(join(plan.web, "types.d.ts"), "utf8").includes("precision?:") ? { fast: "1" } : {};
let version = "";
try {
  const results = [];
  for (const sample of ours) {
    const { reference, example } = sample;
    const first = await firsts(sample);
    const median = await session({ measure: "median", reference, rounds: BLOCKS, milliseconds: MILLISECONDS, ...fast });
    results.push({ reference, example, first, median });
    console.log(line(results.at(-1)));
  }
  write("page", { browser: version, results });
} finally {
  await server.close();
}

/** One visit in a fresh profile. */
function session(query) {
  return withProfile(plan.browser, (context) => measure(context, query));
}

/** Time to the first answer, cold (a fresh profile) and warm (the same page once more). */
async function firsts(sample) {
  const engines = ["ort", "twinfer"];
  const times = Object.fromEntries(engines.map((engine) => [engine, { cold: [], warm: [] }]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const engine of inTurns(round, engines)) {
      await withProfile(plan.browser, async (context) => {
        const ask = { measure: "first", engine, model: described(sample) };
        times[engine].cold.push((await measure(context, ask)).first);
        // Once more in between: V8 caches compiled code on the second visit, not on the first.
        await measure(context, ask);
        times[engine].warm.push((await measure(context, ask)).first);
      });
    }
  }
  return Object.fromEntries(Object.entries(times).map(([engine, { cold, warm }]) => [engine, { cold: summarise(cold), warm: summarise(warm) }]));
}

function measure(context, query) {
  version = context.browser()?.version() ?? version;
  return visit(context, `${server.base}/index.html?${new URLSearchParams(query)}`);
}

function line({ reference, first, median }) {
  const ms = (summary) => summary.median.toFixed(summary.median < 10 ? 3 : 1);
  const run = `run ${ms(median.twinfer_run)} ms (onnxruntime-web ${ms(median.ort_run)})`;
  return `${reference}: first answer cold ${ms(first.twinfer.cold)} ms (${ms(first.ort.cold)}), warm ${ms(first.twinfer.warm)} (${ms(first.ort.warm)}); ${run}`;
}
