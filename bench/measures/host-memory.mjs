// Memory that is private to an idle loaded model on the host: `twinfer serve` with a fused
// component answers many requests at once, then rests; what its private memory (/proc/PID/smaps)
// grew by, divided by the instances that were at work.
import { existsSync, readFileSync } from "node:fs";
import { derived, quick, skipped, write } from "../shared/plan.mjs";
import { load } from "../shared/load.mjs";
import { noFreshInstances, predictRequest, serve } from "../shared/twinfer.mjs";

const INSTANCES = 8;
const REQUESTS = quick ? 64 : 400;
/** A host of fresh instances gives memory back ten seconds after the last request. */
const REST_MS = 14_000;
const face = predictRequest("face-detector:1.0.0");
const table = predictRequest("tumour-risk:1.0.0");
const cases = [
  ["face, fused", derived("component, fused (face)"), face, "fresh"],
  ["face, fused and slim", derived("component, fused and slim (face)"), face, "fresh"],
  ["tumour-risk, fused", derived("component, fused (tumour-risk)"), table, "fresh"],
  ["tumour-risk, fused and slim", derived("component, fused and slim (tumour-risk)"), table, "fresh"],
  ["face, fused and slim, kept for reuse", derived("component, fused and slim (face)"), face, "warm"],
];

const results = [];
for (const [name, { path, missing }, request, instances] of cases) {
  const why = missing ?? noFreshInstances ?? (existsSync("/proc/self/smaps") ? undefined : "this system has no /proc/PID/smaps");
  results.push({ name, instances, ...(why ? skipped(name, why) : await grown(name, path, request, instances)) });
}
write("host-memory", { instances: INSTANCES, results });

async function grown(name, component, request, instances) {
  const server = await serve({ component, instances: `${INSTANCES},${instances}`, name: `memory-${results.length}` });
  try {
    const rest = () => new Promise((resolve) => setTimeout(resolve, REST_MS));
    // One connection first: what the server itself needs to answer is no part of an instance.
    await load({ port: server.port, request, connections: 1, requests: 8, milliseconds: 600_000 });
    await rest();
    const before = privateBytes(server.pid);
    await load({ port: server.port, request, connections: INSTANCES, requests: REQUESTS, milliseconds: 600_000 });
    await rest();
    const after = privateBytes(server.pid);
    const each = (after - before) / (INSTANCES - 1);
    console.log(`${name}: private ${kib(before)} KiB, after ${INSTANCES} at once ${kib(after)} KiB, ${kib(each)} KiB for each more`);
    return { before, after, each };
  } finally {
    await server.stop();
  }
}

function privateBytes(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return [...text.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib) * 1024, 0);
}

function kib(bytes) {
  return (bytes / 1024).toFixed(0);
}
