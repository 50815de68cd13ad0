// Requests a second for the tabular model: `twinfer serve` with a fresh instance for each request,
// against FastAPI with onnxruntime under uvicorn (uvloop, httptools, one worker for each core). The
// same cores, the same requests, the same load generator; the servers are asked in turns.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { derived, plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { start } from "../shared/host.mjs";
import { openPackage } from "../shared/layout.mjs";
import { call, load, post } from "../shared/load.mjs";
import { samplesOf, wireOf } from "../shared/samples.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";
import { noFreshInstances, predictRequest, serve } from "../shared/twinfer.mjs";

const REFERENCE = "tumour-risk:1.0.0";
const CONNECTIONS = [1, 4, 16, 64];
const ROUNDS = quick ? 2 : 5;
const MILLISECONDS = quick ? 1_000 : 4_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const fused = derived("component, fused (tumour-risk)");
const slim = derived("component, fused and slim (tumour-risk)");
const contenders = {
  "FastAPI + onnxruntime": { start: () => rival(availableParallelism()), request: rivalRequest("/predict") },
  // As most are written and started: shown, and not what the goal is held against.
  "FastAPI + onnxruntime, one worker, plain function": { start: () => rival(1), request: rivalRequest("/plain") },
  "twinfer serve, fused, fresh instances": ours(fused, "fresh"),
  "twinfer serve, fused and slim, fresh instances": ours(slim, "fresh"),
  "twinfer serve, fused, warm instances": ours(fused, "warm"),
  "twinfer serve, full, warm instances": { start: () => serve({ component: plan.component, name: "full" }), request: predictRequest(REFERENCE) },
};
const results = {};
const running = [];
try {
  for (const [name, contender] of Object.entries(contenders)) {
    if (contender.skip) results[name] = skipped(name, contender.skip);
    else running.push([name, contender.request, await contender.start()]);
  }
  await sameAnswers();
  for (const connections of CONNECTIONS) {
    const rates = Object.fromEntries(running.map(([name]) => [name, []]));
    // The first round warms up.
    for (let round = -1; round < ROUNDS; round++) {
      for (const [name, request, { port }] of inTurns(round, running)) {
        const { rate } = await load({ port, request, connections, milliseconds: MILLISECONDS });
        if (round >= 0) rates[name].push(rate);
      }
    }
    for (const [name, values] of Object.entries(rates)) {
      (results[name] ??= {})[connections] = summarise(values);
      console.log(`${connections} connections, ${name}: ${results[name][connections].median.toFixed(0)} requests/s`);
    }
  }
} finally {
  for (const [, , server] of running) await server.stop();
}
write("throughput", { reference: REFERENCE, cores: availableParallelism(), results });

function ours({ path, missing }, instances) {
  const skip = missing ?? noFreshInstances;
  if (skip) return { skip };
  return { start: () => serve({ component: path, instances, name: `throughput-${instances}` }), request: predictRequest(REFERENCE) };
}

function rival(workers) {
  const { config } = openPackage(plan.registry, REFERENCE);
  return start({
    program: plan.python,
    args: (port) => ["-m", "uvicorn", "app:app", "--app-dir", here("../rivals"), "--port", String(port), "--workers", String(workers),
      "--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"],
    ready: "/health",
    logs: join(work, "logs"),
    name: `fastapi-${workers}`,
    env: {
      MODEL: here("../../models/tumour-risk/model.onnx"),
      COLUMNS: JSON.stringify(config.pipeline.input.columns.map(({ name }) => name)),
    },
  });
}

function rivalRequest(path) {
  const { body } = wireOf(samplesOf(plan.cases).find(({ reference }) => reference === REFERENCE));
  return post(path, "application/json", body);
}

/** Who answers something else does another work. */
async function sameAnswers() {
  const answers = await Promise.all(running.map(([, request, { port }]) => call({ port, request })));
  const outputs = answers.map(({ status, body }, at) => {
    if (status !== 200) throw new Error(`${running[at][0]}: ${status}: ${body.toString("utf8", 0, 300)}`);
    return JSON.parse(body).outputs;
  });
  const [first, ...others] = outputs;
  for (const [at, other] of others.entries()) {
    const near = Math.abs(other.probabilities.benign - first.probabilities.benign) < 1e-4;
    if (other.label !== first.label || !near) throw new Error(`${running[at + 1][0]} answers ${JSON.stringify(other)}, not ${JSON.stringify(first)}`);
  }
}
