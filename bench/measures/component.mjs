// Latency and throughput of the full component in its host, over HTTP on this machine, instances
// warm.
import { plan, quick, write } from "../shared/plan.mjs";
import { load } from "../shared/load.mjs";
import { samplesOf } from "../shared/samples.mjs";
import { predictRequest, serve } from "../shared/twinfer.mjs";

const REQUESTS = quick ? 50 : 300;
const WARM_UP = quick ? 10 : 40;
const CLIENTS = [1, 2, 4, 8];
/** Each throughput figure ends after this many requests or milliseconds, what comes first. */
const MOST = { requests: 2_000, milliseconds: quick ? 1_000 : 4_000 };
const LONG = 600_000;

const server = await serve({ component: plan.component, name: "component" });
const results = [];
try {
  for (const { reference, example } of samplesOf(plan.cases)) {
    const { port } = server;
    const request = predictRequest(reference);
    await load({ port, request, connections: 1, requests: WARM_UP, milliseconds: LONG });
    const { latency } = await load({ port, request, connections: 1, requests: REQUESTS, milliseconds: LONG });
    const throughput = {};
    for (const connections of CLIENTS) throughput[connections] = (await load({ port, request, connections, ...MOST })).rate;
    results.push({ reference, example, latency, throughput });
    console.log(`${reference}: ${latency.median.toFixed(3)} ms, ${throughput[4].toFixed(0)} requests/s with 4 clients`);
  }
} finally {
  await server.stop();
}
write("component", { results });
