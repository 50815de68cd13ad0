// Makes docs/benchmarks.md from results/*.json.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const read = (name) => JSON.parse(readFileSync(new URL(`results/${name}.json`, import.meta.url), "utf8"));
const { commit, machine, profile, when } = read("machine");
const sizes = read("sizes");
const page = read("page");
const component = read("component");
const native = read("native");

const mb = (bytes) => (bytes / 1e6).toFixed(2);
const ms = (value) => value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0);
const ratio = (ours, theirs) => `${(ours / theirs).toFixed(2)}×`;
const table = (head, rows) => [head, head.map((_, at) => (at === 0 ? "---" : "---:")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

// registry.py is a command of its own; its figures are there once it has run.
const registries = () => {
  if (!existsSync(new URL("results/registry.json", import.meta.url))) return "";
  const { profile, rounds, machine, results } = read("registry");
  const steps = [...new Set(results.map(({ step }) => step))];
  const sizes = [...new Set(results.map(({ megabytes }) => megabytes))];
  const of = (step, size) => results.find((result) => result.step === step && result.megabytes === size);
  const cell = (step, size) => {
    const found = of(step, size);
    return found ? [found.megabytes_per_second.toFixed(0), found.peak_memory_mb.toFixed(0)] : ["", ""];
  };
  return `
## Packages on their way

\`python3 bench/registry.py\`: each command a process of its own, against Debian's \`docker-registry\`
on the same machine (${machine.system}, ${machine.processors} processors). Build profile of the command: ${profile}
(development; hashing is optimised in it). Median of
${rounds} rounds; MB are a million bytes. Memory is the largest resident set of the process.

${table(
  ["command", ...sizes.flatMap((size) => [`${size} MB: MB/s`, "peak MB"])],
  steps.map((step) => [step, ...sizes.flatMap((size) => cell(step, size))]),
)}
`;
};

// So is cache/host.py.
const caches = () => {
  if (!existsSync(new URL("results/cache.json", import.meta.url))) return "";
  const { profile, rounds, machine, results, huggingface_hub: hub } = read("cache");
  const steps = ["cold", "warm, asking", "warm, offline"];
  const onHost = results.flatMap(({ megabytes, twinfer, huggingface_hub: theirs }) =>
    steps.map((step) => [`${megabytes} MB, ${step}`, ms(twinfer[step]), ms(theirs[step]), ratio(twinfer[step], theirs[step])]),
  );
  const paged = results.filter(({ page }) => page);
  const inPage = paged.flatMap(({ megabytes, page: { results: ways } }) =>
    ["cold", "warm, asking", "warm"].map((step) => {
      const [our, their] = [ways.twinfer[step].median, ways["cache by address"][step].median];
      return [`${megabytes} MB, ${step}`, ms(our), ms(their), ratio(our, their)];
    }),
  );
  const perMb = (value, { bytes }) => ms(value / (bytes / 1e6));
  return `
## The versioned cache

\`python3 bench/cache/host.py\`: loads of one package from a server on the same machine
(${machine.system}, ${machine.processors} processors; build profile of the programs: ${profile}),
until every byte is in memory. Medians of ${rounds} rounds, in turns. Cold: nothing is kept. Warm,
asking: all is kept, and the registry is asked whether it changed. Warm, offline: nobody is asked.
Twinfer hashes every byte that it reads, each time; the others hash none that they read.

On the host, ms, beside huggingface_hub ${hub} (\`snapshot_download\`, then reading the files):

${table(["load", "Twinfer", "huggingface_hub", "ratio"], onHost)}
${inPage.length === 0 ? "" : `
In the page, ms, without the start of the engine, beside the way of
transformers.js (\`caches.match\`, else \`fetch\` and \`put\`, under the address; warm, it never asks):

${table(["load", "Twinfer", "cache by address", "ratio"], inPage)}
`}
What verification costs on the host, ms for a MB: reading, hashing all of it as every read does, and
hashing one block of sixteen (1 MiB each), which would be cheaper and miss a flipped byte fifteen
times of sixteen.

${table(
  ["package", "read", "hash all", "hash one block of sixteen"],
  results.map(({ megabytes, twinfer: t }) => [`${megabytes} MB`, perMb(t.read, t), perMb(t["hash all"], t), perMb(t["hash one block of sixteen"], t)]),
)}
`;
};

const text = `# Benchmarks

<!-- Made by \`cargo xtask bench\` from bench/results/*.json. -->

All figures are from one run on one machine, ${when}: ${machine}. Build profile: ${profile},
commit ${commit}.
Chromium ${page.browser}; onnxruntime-web 1.30.0, \`onnxruntime-web/wasm\`, one thread.
Ratios are Twinfer divided by its rival: below 1 Twinfer is smaller or faster. Trust the ratios
more than the milliseconds. How it is measured: [bench/README.md](../bench/README.md).

## Size

${table(
  ["artifact", "raw MB", "gzip -9", "brotli -11"],
  sizes.map(({ file, raw, gzip, brotli }) => [`\`${file}\``, mb(raw), mb(gzip), mb(brotli)]),
)}

## Time to the first answer in a fresh page, ms

From the start of the navigation to the first result of the model; engine, package and model come
from a server on the same machine. Cold: a new browser profile. Warm: the same page again, with
the caches of the browser filled. Medians of ${page.results[0].first.twinfer.cold.count} visits.

${table(
  ["model", "cold: Twinfer", "onnxruntime-web", "ratio", "warm: Twinfer", "onnxruntime-web", "ratio"],
  page.results.map(({ reference, first: { twinfer, ort } }) => [
    reference,
    ms(twinfer.cold.median),
    ms(ort.cold.median),
    ratio(twinfer.cold.median, ort.cold.median),
    ms(twinfer.warm.median),
    ms(ort.warm.median),
    ratio(twinfer.warm.median, ort.warm.median),
  ]),
)}

## One answer in the page, ms

A run of the model on ready tensors in both engines on the same page, in turns; then Twinfer's
whole prediction (decoding, pipeline, answer), on the page's thread and in a worker. Medians.

${table(
  ["model", "run: Twinfer", "onnxruntime-web", "ratio", "prediction", "in a worker"],
  page.results.map(({ reference, median: m }) => [
    reference,
    ms(m.twinfer_run.median),
    ms(m.ort_run.median),
    ratio(m.twinfer_run.median, m.ort_run.median),
    ms(m.twinfer_predict.median),
    ms(m.twinfer_worker_predict.median),
  ]),
)}

## Component in \`twinfer serve\`

Whole predictions over HTTP on the same machine, instances warm.

${table(
  ["model", "median ms", "95th percentile ms", ...Object.keys(component.results[0].throughput).map((n) => `requests/s, ${n} client${n === "1" ? "" : "s"}`)],
  component.results.map(({ reference, latency, throughput }) => [
    reference,
    ms(latency.median),
    ms(latency.p95),
    ...Object.values(throughput).map((rate) => rate.toFixed(0)),
  ]),
)}

## Native, ms

${table(
  ["model", "load", "run", "prediction", "component / native"],
  native.results.map(({ reference, load, run, predict }) => {
    const over = component.results.find((result) => result.reference === reference);
    return [reference, ms(load.median), ms(run.median), ms(predict.median), ratio(over.latency.median, predict.median)];
  }),
)}

${registries()}${caches()}
The examples: ${page.results.map(({ example }) => `\`${example}\``).join(", ")}.
`;
writeFileSync(new URL("../docs/benchmarks.md", import.meta.url), text);
