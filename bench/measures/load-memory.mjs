// Memory at the peak of a load, for models of several sizes: natively the largest resident set of a
// process that does nothing else (VmHWM, without the pages of the program itself), and in the page
// the engine's memory, which never shrinks. Both without what was there before the load.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { visit, withProfile } from "../shared/browser.mjs";
import { sampleModel } from "../shared/layout.mjs";
import { outsideSamples } from "../shared/outside.mjs";
import { routes, samples } from "../shared/pages.mjs";
import { serve } from "../shared/server.mjs";
import { summarise } from "../shared/statistics.mjs";
import { sizedSamples } from "../shared/twinfer.mjs";

const ROUNDS = quick ? 1 : 5;
const ours = samples().map((sample) => ({ ...sample, registry: plan.registry, file: sampleModel(plan.registry, sample.reference).onnx.length }));
const outside = outsideSamples();
const theirs = outside.samples.map((sample) => ({ ...sample, registry: outside.registry, file: sample.onnx.length }));
const sized = sizedSamples().map((sample) => ({ ...sample, registry: join(work, "sized/registry"), file: statSync(sample.onnx).size }));

const natively = [];
for (const { reference, registry, file } of [...ours, ...theirs, ...sized]) {
  natively.push({ reference, file, ...(existsSync("/proc/self/status") ? peakOf(reference, registry) : skipped(reference, "this system has no /proc/self/status")) });
  if (natively.at(-1).peak) console.log(`natively ${line(natively.at(-1))}`);
}

const page = [];
const server = await serve({ ...routes([...ours, ...theirs]), "/outside/": outside.registry });
try {
  for (const { reference, registry, file } of [...ours, ...theirs]) {
    const query = new URLSearchParams({ measure: "memory", reference, engine: "twinfer", only: "full", ...(registry === outside.registry && { registry: "/outside" }) });
    const measured = await withProfile(plan.browser, (context) => visit(context, `${server.base}/index.html?${query}`)).then(
      ({ start, load }) => ({ peak: load - start, engine: start }),
      (error) => skipped(reference, String(error.message).split("\n")[0]),
    );
    page.push({ reference, file, ...measured });
    if (measured.peak) console.log(`in the page ${line(page.at(-1))}`);
  }
} finally {
  await server.close();
}
write("load-memory", { native: natively, page });

function peakOf(reference, registry) {
  const peaks = [];
  for (let n = 0; n < ROUNDS; n++) {
    const { status, stdout, stderr } = spawnSync(plan.meter, ["--registry", registry, "--peak", reference], { encoding: "utf8" });
    if (status !== 0) return skipped(reference, stderr.trim().split("\n")[0]);
    const { before, peak } = JSON.parse(stdout);
    peaks.push(peak - before);
  }
  return { peak: summarise(peaks).median };
}

function line({ reference, file, peak }) {
  const mb = (bytes) => (bytes / 1e6).toFixed(2);
  return `${reference}: file ${mb(file)} MB, peak ${mb(peak)} MB`;
}
