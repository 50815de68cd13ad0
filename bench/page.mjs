// Times in a page of headless Chromium, Twinfer beside onnxruntime-web.
// node page.mjs --cases cases.json --registry DIR --out page.json [--quick]
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { withoutWeightInputs } from "./onnx.mjs";
import { samplesOf } from "./samples.mjs";
import { serve } from "./server.mjs";
import { summarise } from "./statistics.mjs";

const { values: options } = parseArgs({
  options: { cases: { type: "string" }, registry: { type: "string" }, out: { type: "string" }, quick: { type: "boolean", default: false } },
});
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const browser = process.env.TWINFER_BROWSER;
if (!browser) throw new Error("TWINFER_BROWSER must name a browser of the Chromium family");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const ROUNDS = options.quick ? 2 : 7;
const BLOCKS = options.quick ? 3 : 9;
const MILLISECONDS = options.quick ? 150 : 400;
/** A page that takes longer than this is stuck. */
const TIMEOUT = 300_000;

const samples = samplesOf(options.cases);
for (const sample of samples) {
  const { config, model } = open(sample.reference);
  sample.onnx = withoutWeightInputs(model);
  sample.outputs = config.signature.outputs.filter((output) => (output.kind ?? "tensor") === "tensor").map((output) => output.name);
}

const server = await serve({
  "/": here("page/"),
  "/statistics.mjs": () => readFileSync(here("statistics.mjs")),
  "/samples.json": () => JSON.stringify(samples.map(({ onnx, ...rest }) => rest)),
  "/twinfer/": here("../web/dist/"),
  "/ort/": here("node_modules/onnxruntime-web/dist/"),
  "/registry/": options.registry,
  ...Object.fromEntries(samples.map((sample) => [`/onnx/${sample.reference}.onnx`, () => sample.onnx])),
});
try {
  const results = [];
  let version = "";
  for (const sample of samples) {
    const first = await firsts(sample.reference);
    const session = await profile(async (context) => {
      version = context.browser()?.version() ?? version;
      return measure(context, { measure: "median", reference: sample.reference, rounds: BLOCKS, milliseconds: MILLISECONDS });
    });
    results.push({ reference: sample.reference, example: sample.example, first, median: session });
    console.log(line(results.at(-1)));
  }
  writeFileSync(options.out, `${JSON.stringify({ browser: version, results }, null, 2)}\n`);
} finally {
  await server.close();
}

/** Time to the first answer, cold (a fresh profile) and warm (the same page once more). */
async function firsts(reference) {
  const times = { ort: { cold: [], warm: [] }, twinfer: { cold: [], warm: [] } };
  for (let round = 0; round < ROUNDS; round++) {
    const order = round % 2 === 0 ? ["ort", "twinfer"] : ["twinfer", "ort"];
    for (const engine of order) {
      await profile(async (context) => {
        const ask = { measure: "first", engine, reference };
        times[engine].cold.push((await measure(context, ask)).first);
        // Once more in between: V8 caches compiled code on the second visit, not on the first.
        await measure(context, ask);
        times[engine].warm.push((await measure(context, ask)).first);
      });
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([engine, { cold, warm }]) => [engine, { cold: summarise(cold), warm: summarise(warm) }]),
  );
}

/** Runs something in a browser with a profile of its own. */
async function profile(work) {
  const folder = mkdtempSync(join(tmpdir(), "twinfer-bench-"));
  const context = await chromium.launchPersistentContext(folder, { executablePath: browser, headless: true, args: FLAGS });
  try {
    return await work(context);
  } finally {
    await context.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function measure(context, query) {
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT);
  try {
    await page.goto(`${server.base}/index.html?${new URLSearchParams(query)}`, { waitUntil: "load" });
    const { result, error } = await page.evaluate(() => window.result);
    if (error) throw new Error(`${JSON.stringify(query)}: ${error}`);
    return result;
  } finally {
    await page.close();
  }
}

/**
 * The configuration of a package in an OCI image layout, and the model file that it was packed
 * from: onnxruntime-web gets it in one piece, without the package's shards.
 */
function open(reference) {
  const blob = (digest) => readFileSync(join(options.registry, "blobs/sha256", digest.replace("sha256:", "")));
  const index = JSON.parse(readFileSync(join(options.registry, "index.json"), "utf8"));
  const entry = index.manifests.find((m) => m.annotations?.["org.opencontainers.image.ref.name"] === reference);
  const { layers } = JSON.parse(blob(entry.digest));
  const layer = (title) => blob(layers.find((l) => l.annotations["org.opencontainers.image.title"] === title).digest);
  const { inputs } = JSON.parse(layer("provenance.json"));
  const { name, digest } = inputs.find((input) => input.name.endsWith(".onnx"));
  const model = readFileSync(here(`../models/${reference.split(":")[0]}/${name}`));
  if (`sha256:${createHash("sha256").update(model).digest("hex")}` !== digest) {
    throw new Error(`models/ has another ${name} than ${reference} was packed from: pack it again`);
  }
  return { config: JSON.parse(layer("twinfer.json")), model: new Uint8Array(model) };
}

function line({ reference, first, median }) {
  const ms = (summary) => summary.median.toFixed(summary.median < 10 ? 3 : 1);
  return (
    `${reference}: first answer cold ${ms(first.twinfer.cold)} ms (onnxruntime-web ${ms(first.ort.cold)}), ` +
    `warm ${ms(first.twinfer.warm)} (${ms(first.ort.warm)}); run ${ms(median.twinfer_run)} (${ms(median.ort_run)})`
  );
}
