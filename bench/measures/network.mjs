// Bytes and time to the first face detection in a fresh page over an emulated network, cold and
// warm: onnxruntime-web, and Twinfer with its full engine, the slim ones of the npm package, one for
// this model, and the fused one. The server sends everything compressed with brotli, to both.
//
// Chromium emulates the network: that holds for the workers of a page too, which is made sure of
// before anything is measured.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { derived, plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { visit, withProfile } from "../shared/browser.mjs";
import { described, routes, samples } from "../shared/pages.mjs";
import { presser } from "../shared/press.mjs";
import { serve } from "../shared/server.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";

const REFERENCE = "face-detector:1.0.0";
const NETWORK = { latency: 40, megabits: 20 };
const ROUNDS = quick ? 2 : 7;
/** Of brotli: what is published is pressed as hard as it goes; a trial need not wait for that. */
const QUALITY = quick ? 5 : 11;

const sample = samples().find(({ reference }) => reference === REFERENCE);
const probe = Buffer.alloc(1_250_000, "no compression would make the check meaningless ");
const fused = derived("page, fused and slim (face)");
const slim = derived("page, slim (face)");
const own = slimSet();
// What each page asks the browser to fetch early, as its author would write it.
const OURS = "/twinfer/index.js";
const variants = {
  "onnxruntime-web": { ask: { engine: "ort" }, modules: ["/ort/ort.wasm.bundle.min.mjs"], files: ["/ort/ort-wasm-simd-threaded.wasm", `/onnx/${REFERENCE}.onnx`] },
  full: { ask: { engine: "twinfer", only: "full" }, modules: [OURS], files: ["/twinfer/twinfer_web_bg.wasm"] },
  "slim set": own.length > 0 ? { kind: "slim", ask: { engine: "twinfer" }, modules: [OURS], files: own.map(({ file }) => `/twinfer/${file}`) } : { skip: "the npm package has no slim engines (dist/engines.json)" },
  slim: attached(slim, "/slim"),
  fused: attached(fused, "/fused"),
};

// An engine that a registry has is a blob like others.
const engines = new Set([variants.slim, variants.fused].flatMap(({ files = [] }) => files));
const sent = [];
const server = await serve(
  {
    ...routes([sample]),
    ...Object.fromEntries(Object.entries(variants).map(([name, { modules = [], files = [] }]) => [pageOf(name), () => page(modules, files)])),
    ...(fused.registry && { "/fused/": fused.registry }),
    ...(slim.registry && { "/slim/": slim.registry }),
  },
  { press: presser(join(work, "brotli"), QUALITY), sent: (path, bytes) => sent.push({ path, bytes }) },
);
const plain = await serve({ ...routes([]), "/probe": () => probe });
const address = (base, query, path = "/index.html") => `${base}${path}?${new URLSearchParams(query)}`;
const results = {};
let browser = "";
try {
  const worker = await checkWorkers();
  await warmServer();
  const running = Object.entries(variants).filter(([, { ask }]) => ask);
  for (const [name, { skip }] of Object.entries(variants)) if (skip) results[name] = skipped(name, skip);
  const times = Object.fromEntries(running.map(([name]) => [name, { cold: [], warm: [] }]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, { ask }] of inTurns(round, running)) await both(name, ask, times[name]);
  }
  for (const [name, { cold, warm }] of Object.entries(times)) {
    if (results[name]?.skipped) continue;
    Object.assign(results[name], { cold: summarise(cold), warm: summarise(warm) });
    console.log(`${name}: ${results[name].bytes.total} bytes, cold ${results[name].cold.median.toFixed(0)} ms, warm ${results[name].warm.median.toFixed(0)} ms`);
  }
  write("network", { browser, reference: REFERENCE, network: { ...NETWORK, worker_probe_ms: worker }, brotli_quality: QUALITY, results });
} finally {
  await server.close();
  await plain.close();
}

/** A cold visit, one in between (V8 caches compiled code on the second visit), and a warm one. */
async function both(name, ask, times) {
  await withProfile(plan.browser, async (context) => {
    browser = context.browser()?.version() ?? browser;
    const url = address(server.base, { measure: "first", model: described(sample), ...ask }, pageOf(name));
    sent.length = 0;
    const cold = await visit(context, url, NETWORK);
    const bytes = account(sent);
    if (cold.engine !== (variants[name].kind ?? name)) {
      results[name] = skipped(name, `the page ran the ${cold.engine} engine instead`);
      return;
    }
    results[name] ??= { bytes };
    await visit(context, url, NETWORK);
    sent.length = 0;
    const warm = await visit(context, url, NETWORK);
    if (warm.engine !== cold.engine) {
      results[name] = skipped(name, `a page that comes back ran the ${warm.engine} engine, not the ${cold.engine} one`);
      return;
    }
    results[name].warm_bytes = account(sent);
    times.cold.push(cold.first);
    times.warm.push(warm.first);
  });
}

/** What a page gets from a registry in which the engine is listed with the package. */
function attached({ registry, missing }, at) {
  if (!registry) return { skip: missing ?? "no registry has this engine attached" };
  return { ask: { engine: "twinfer", registry: at }, modules: [OURS], files: [`${at}/blobs/${attachedEngine(registry).replace(":", "/")}`] };
}

/** The digest of the engine that is listed with the model. */
function attachedEngine(registry) {
  const { manifests } = JSON.parse(readFileSync(join(registry, "index.json"), "utf8"));
  const { annotations } = manifests.find(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === REFERENCE);
  return JSON.parse(annotations["ai.twinfer.engines"]).find(({ target }) => target === "page").digest;
}

function pageOf(name) {
  return `/${name.replaceAll(" ", "-")}.html`;
}

/** The page of one of them. */
function page(modules, files) {
  const links = [
    ...["statistics.mjs", ...modules].map((href) => `<link rel="modulepreload" href="${href}">`),
    ...files.map((href) => `<link rel="preload" as="fetch" crossorigin href="${href}">`),
  ];
  return `<!doctype html>\n<meta charset="utf-8">\n<title>measuring</title>\n${links.join("\n")}\n<script type="module" src="main.mjs"></script>\n`;
}

/** The slim engines of the npm package, made for all sample models. */
function slimSet() {
  const list = join(plan.web, "engines.json");
  return existsSync(list) ? JSON.parse(readFileSync(list, "utf8")) : [];
}

/** What went over the network, by what it is. The page itself and its input are of the measurement. */
function account(list) {
  const kinds = { engine: 0, scripts: 0, model: 0 };
  for (const { path, bytes } of list) {
    if (/^\/([\w-]+\.html|main\.mjs|statistics\.mjs|samples\/)/.test(path)) continue;
    const kind = path.endsWith(".wasm") || engines.has(path) ? "engine" : /\.m?js$/.test(path) ? "scripts" : "model";
    kinds[kind] += bytes;
  }
  return { ...kinds, total: kinds.engine + kinds.scripts + kinds.model };
}

/** Whether workers get the emulated network: they fetch engine and model. Gives their milliseconds. */
async function checkWorkers() {
  return withProfile(plan.browser, async (context) => {
    const { milliseconds } = await visit(context, address(plain.base, { measure: "worker", file: "/probe" }), NETWORK);
    const least = (probe.length * 8) / (NETWORK.megabits * 1e3);
    if (milliseconds < least) {
      throw new Error(`a worker got ${probe.length} bytes in ${milliseconds.toFixed(0)} ms, less than the ${least.toFixed(0)} ms of the emulated network: it does not hold for workers here`);
    }
    return milliseconds;
  });
}

/** So that no visit waits for brotli. */
async function warmServer() {
  for (const [name, { ask }] of Object.entries(variants)) {
    if (!ask) continue;
    await withProfile(plan.browser, (context) => visit(context, address(server.base, { measure: "first", model: described(sample), ...ask }, pageOf(name))));
  }
}
