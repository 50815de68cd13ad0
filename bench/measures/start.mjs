// From the start of `twinfer serve` to its first answer: with an empty folder of compiled
// components, and with that folder filled.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { derived, plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { call } from "../shared/load.mjs";
import { summarise } from "../shared/statistics.mjs";
import { predictRequest, serve } from "../shared/twinfer.mjs";

const WARM_STARTS = quick ? 2 : 7;
const request = predictRequest("face-detector:1.0.0");
const contenders = { full: { path: plan.component }, fused: derived("component, fused (face)"), "fused and slim": derived("component, fused and slim (face)") };

const results = {};
for (const [name, { path, missing }] of Object.entries(contenders)) {
  if (missing) {
    results[name] = skipped(name, missing);
    continue;
  }
  const cache = mkdtempSync(join(work, "start-"));
  try {
    const cold = await firstAnswer(path, cache);
    const warm = [];
    for (let n = 0; n < WARM_STARTS; n++) warm.push(await firstAnswer(path, cache));
    results[name] = { cold, warm: summarise(warm) };
    console.log(`${name}: first answer after ${cold.toFixed(0)} ms, with the compiled component kept ${results[name].warm.median.toFixed(0)} ms`);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}
write("start", { results });

async function firstAnswer(component, cache) {
  const begun = performance.now();
  const server = await serve({ component, name: "start", cache });
  try {
    const { status, body } = await call({ port: server.port, request });
    if (status !== 200) throw new Error(`the first answer is ${status}: ${body}`);
    return performance.now() - begun;
  } finally {
    await server.stop();
  }
}
