// Latency and throughput of the component in its host, over HTTP on this machine.
// node component.mjs --cases cases.json --address HOST:PORT --out component.json [--quick]
import { writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { parseArgs } from "node:util";
import { samplesOf, wireOf } from "./samples.mjs";
import { summarise } from "./statistics.mjs";

const { values: options } = parseArgs({
  options: { cases: { type: "string" }, address: { type: "string" }, out: { type: "string" }, quick: { type: "boolean", default: false } },
});
const REQUESTS = options.quick ? 50 : 300;
const WARM_UP = options.quick ? 10 : 40;
const CLIENTS = [1, 2, 4, 8];
/** Each throughput figure ends after this many requests or milliseconds, what comes first. */
const MOST = { requests: 2_000, milliseconds: options.quick ? 1_000 : 4_000 };

const agent = new Agent({ keepAlive: true, maxSockets: 16 });
const results = [];
for (const sample of samplesOf(options.cases)) {
  const call = callOf(sample);
  for (let n = 0; n < WARM_UP; n++) await call();
  const times = [];
  for (let n = 0; n < REQUESTS; n++) {
    const start = performance.now();
    await call();
    times.push(performance.now() - start);
  }
  const throughput = {};
  for (const clients of CLIENTS) throughput[clients] = await many(call, clients);
  results.push({ reference: sample.reference, example: sample.example, latency: summarise(times), throughput });
  console.log(`${sample.reference}: ${summarise(times).median.toFixed(3)} ms, ${throughput[4].toFixed(0)} requests/s with 4 clients`);
}
agent.destroy();
writeFileSync(options.out, `${JSON.stringify({ results }, null, 2)}\n`);

function callOf(sample) {
  const { type, body } = wireOf(sample);
  const [name, version] = sample.reference.split(":");
  const query = new URLSearchParams(sample.parameters).toString();
  const path = `/v2/models/${name}/versions/${version}/predict${query && `?${query}`}`;
  const [host, port] = options.address.split(":");
  const headers = { "content-type": type, "content-length": body.length };
  return () =>
    new Promise((resolve, reject) => {
      const sent = request({ host, port, path, method: "POST", agent, headers }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`${path}: ${response.statusCode}: ${Buffer.concat(parts)}`)),
        );
      });
      sent.on("error", reject);
      sent.end(body);
    });
}

/** Requests a second with so many clients, each of which asks again as soon as it has its answer. */
async function many(call, clients) {
  let left = MOST.requests;
  let done = 0;
  const start = performance.now();
  const client = async () => {
    while (left > 0 && performance.now() - start < MOST.milliseconds) {
      left--;
      await call();
      done++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return (done * 1000) / (performance.now() - start);
}
