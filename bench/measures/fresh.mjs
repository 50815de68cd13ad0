// A fused component: a fresh instance for each request against instances that are kept, one
// request after the other, both servers up and asked in turns.
import { derived, plan, quick, skipped, write } from "../shared/plan.mjs";
import { load } from "../shared/load.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";
import { inferRequest, noFreshInstances, predictRequest, serve, sizedSamples } from "../shared/twinfer.mjs";

const ROUNDS = quick ? 4 : 20;
const BLOCK = { requests: quick ? 15 : 60, connections: 1, milliseconds: 600_000 };

const face = predictRequest("face-detector:1.0.0");
const cases = [
  ["face, fused", derived("component, fused (face)"), face],
  ["face, fused and slim", derived("component, fused and slim (face)"), face],
  ["tumour-risk, fused", derived("component, fused (tumour-risk)"), predictRequest("tumour-risk:1.0.0")],
  ["tumour-risk, fused and slim", derived("component, fused and slim (tumour-risk)"), predictRequest("tumour-risk:1.0.0")],
  ...sizedSamples().map((sample) => [sample.reference, derived(`component, fused (${sample.reference.split(":")[0]})`), inferRequest(sample)]),
];
const results = [];
for (const [name, { path, missing }, request] of cases) {
  const why = missing ?? noFreshInstances;
  results.push({ name, ...(why ? skipped(name, why) : await compare(name, path, request)) });
}
write("fresh", { results });

async function compare(name, component, request) {
  const servers = [];
  try {
    for (const instances of ["fresh", "warm"]) servers.push([instances, await serve({ component, instances, name: `${instances}-${results.length}` })]);
    const times = { fresh: [], warm: [] };
    // The first round warms up.
    for (let round = -1; round < ROUNDS; round++) {
      for (const [instances, { port }] of inTurns(round, servers)) {
        const { times: all } = await load({ port, request, ...BLOCK });
        if (round >= 0) times[instances].push(...all);
      }
    }
    const [fresh, warm] = [summarise(times.fresh), summarise(times.warm)];
    console.log(`${name}: fresh ${fresh.median.toFixed(2)} ms (99th percentile ${fresh.p99.toFixed(2)}), warm ${warm.median.toFixed(2)} (${warm.p99.toFixed(2)})`);
    return { fresh, warm };
  } finally {
    for (const [, server] of servers) await server.stop();
  }
}
