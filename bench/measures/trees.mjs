// Tree ensembles (`bench/models/trees.py`), one row and many: natively beside onnxruntime's CPU provider
// (`native_onnxruntime.py`, one thread, processes in turns), and in a page of headless Chromium beside
// onnxruntime-web.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { visit, withProfile } from "../shared/browser.mjs";
import { treeSamples } from "../shared/outside.mjs";
import { routes } from "../shared/pages.mjs";
import { serve } from "../shared/server.mjs";

const ROUNDS = quick ? 3 : 10;
const BLOCKS = quick ? 3 : 9;
const MILLISECONDS = quick ? 150 : 400;
const turns = fileURLToPath(new URL("../native_onnxruntime.py", import.meta.url));

const { samples, registry, missing } = treeSamples();
const results = missing.map(({ reference, why }) => ({ reference, ...skipped(reference, why) }));
const server = await serve({ ...routes(samples), "/trees/": registry });
try {
  for (const { reference, ensemble, batch, file } of samples) {
    const query = new URLSearchParams({ measure: "median", reference, registry: "/trees", rounds: BLOCKS, milliseconds: MILLISECONDS });
    const page = await withProfile(plan.browser, (context) => visit(context, `${server.base}/index.html?${query}`));
    const one = { reference, ensemble, batch, native: natively(file, batch), page: { twinfer: page.twinfer_run.median, onnxruntime: page.ort_run.median } };
    results.push(one);
    for (const place of ["native", "page"]) {
      if (!one[place].skipped) console.log(`${ensemble}, ${batch} rows, ${place}: ${one[place].twinfer.toFixed(4)} ms (onnxruntime ${one[place].onnxruntime.toFixed(4)})`);
    }
  }
} finally {
  await server.close();
}
write("trees", { results });

/** Milliseconds of a run on one thread; the program checks that both answer the same. */
function natively(file, batch) {
  if (!existsSync(plan.turns)) return skipped("natively", `${plan.turns} is not built`);
  const out = join(work, "trees.native.json");
  const args = [turns, file, "--threads", "1", "--free", String(batch), "--rounds", String(ROUNDS), "--program", plan.turns, "--out", out];
  const { status, stderr, error } = spawnSync(plan.python, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${turns} ${file}: ${error ?? stderr}`);
  const [row] = JSON.parse(readFileSync(out, "utf8")).results;
  return { twinfer: row.twinfer_ms, onnxruntime: row.onnxruntime_ms };
}
