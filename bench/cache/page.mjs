// Cold and warm loads in a page of headless Chromium: through our cache, and the way of
// transformers.js, which keeps answers in the Cache API under their address.
//
//   node cache/page.mjs --registry DIR --tiny DIR --reference NAME:VERSION --out FILE [--rounds N]
//
// The folders are registries with a package of this name each, one with next to nothing in it. Both
// ways read the same layers from the same server, in turns, each in a fresh profile. A load of ours
// ends when every byte that the model needs is there and verified, before the model is read. The
// time of the same for the tiny package, kept, in the same page, is taken off: that is the start of
// a worker and of the engine in it. A load of theirs has no verification: `match`, else `fetch`,
// `put`, and the bytes of both.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { serve } from "../shared/server.mjs";
import { summarise } from "../shared/statistics.mjs";

const { values: options } = parseArgs({
  options: { registry: { type: "string" }, tiny: { type: "string" }, reference: { type: "string" }, out: { type: "string" }, rounds: { type: "string", default: "5" } },
});
const { registry, tiny, reference, out } = options;
const browser = process.env.TWINFER_BROWSER;
if (!browser) throw new Error("TWINFER_BROWSER must name a browser of the Chromium family");
if (!registry || !tiny || !reference || !out) throw new Error("usage: page.mjs --registry DIR --tiny DIR --reference NAME:VERSION --out FILE");
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const blob = (digest) => readFileSync(join(registry, "blobs/sha256", digest.replace("sha256:", "")));
const index = JSON.parse(readFileSync(join(registry, "index.json"), "utf8"));
const entry = index.manifests.find((m) => m.annotations?.["org.opencontainers.image.ref.name"] === reference);
const { layers } = JSON.parse(blob(entry.digest));
// What a prediction needs: the model, its weights and the configuration.
const wanted = layers.filter(({ annotations }) => /^(model\.onnx|twinfer\.json|weights\/)/.test(annotations["org.opencontainers.image.title"]));
const paths = wanted.map(({ digest }) => `/registry/blobs/${digest.replace(":", "/")}`);
const bytes = wanted.reduce((sum, { size }) => sum + size, 0);

const server = await serve({
  "/index.html": () => "<!doctype html><title>bench</title>",
  "/twinfer/": here("../../web/dist/"),
  "/registry/": registry,
  "/tiny/": tiny,
});
const WAYS = { twinfer: ours, "cache by address": theirs };
const times = Object.fromEntries(Object.keys(WAYS).map((name) => [name, { cold: [], "warm, asking": [], warm: [] }]));
let version = "";
try {
  for (let round = 0; round < Number(options.rounds); round++) {
    const names = Object.keys(WAYS);
    for (const name of round % 2 === 0 ? names : names.reverse()) {
      await profile(async (context) => {
        version = context.browser()?.version() ?? version;
        for (const step of Object.keys(times[name])) times[name][step].push(await visit(context, WAYS[name], step));
      });
    }
  }
} finally {
  await server.close();
}
const results = Object.fromEntries(Object.entries(times).map(([name, steps]) => [name, Object.fromEntries(Object.entries(steps).map(([step, all]) => [step, summarise(all)]))]));
writeFileSync(out, `${JSON.stringify({ browser: version, bytes, results }, null, 2)}\n`);
for (const [name, steps] of Object.entries(results)) {
  console.log(`${name}: ${Object.entries(steps).map(([step, { median }]) => `${step} ${median.toFixed(1)} ms`).join(", ")}`);
}

/** In the page. `warm` uses what is kept at once. */
async function ours({ reference: wantedReference, step }) {
  const { loadModel } = await import("/twinfer/index.js");
  const until = async (registry, policy) => {
    const begun = performance.now();
    let loaded = begun;
    const onProgress = ({ status }) => (loaded = status === "load" ? performance.now() : loaded);
    await (await loadModel(`/${registry}/${wantedReference}`, { policy, persist: false, onProgress })).close();
    return loaded - begun;
  };
  const policy = step === "warm" ? "offline" : "online";
  // The first one compiles the engine, and keeps the package.
  await until("tiny", "online");
  const start = await until("tiny", policy);
  return (await until("registry", policy)) - start;
}

/** In the page: `hub.js` of transformers.js does this for every file. */
async function theirs({ paths: all }) {
  const begun = performance.now();
  const cache = await caches.open("transformers-cache");
  for (const path of all) {
    let response = await cache.match(path);
    if (!response) {
      const fetched = await fetch(path);
      const content = new Uint8Array(await fetched.arrayBuffer());
      await cache.put(path, new Response(content, { headers: fetched.headers }));
      continue;
    }
    await response.arrayBuffer();
  }
  return performance.now() - begun;
}

async function visit(context, work, step) {
  const page = await context.newPage();
  page.setDefaultTimeout(300_000);
  try {
    await page.goto(`${server.base}/index.html`);
    return await page.evaluate(work, { reference, step, paths });
  } finally {
    await page.close();
  }
}

async function profile(work) {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-bench-"));
  const context = await chromium.launchPersistentContext(folder, { executablePath: browser, headless: true, args: FLAGS });
  try {
    await work(context);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
