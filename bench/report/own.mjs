// Sections of the document with the figures of the commands that are run by themselves.
import { ms, ratio, table } from "./format.mjs";

/** `registry.py` is a command of its own. */
export function registries({ registry }) {
  if (!registry) return "";
  const { profile, rounds, machine, results } = registry;
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
}

/** So is `cache/host.py`. */
export function caches({ cache }) {
  if (!cache) return "";
  const { profile, rounds, machine, results, huggingface_hub: hub } = cache;
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
}

/** And `quantisation.py`. */
export function quantised({ quantised }) {
  if (!quantised) return "";
  const { commit, onnxruntime, rounds, machine, results } = quantised;
  const plain = (model) => results.find((one) => one.model === model && one.form === "fp32");
  const rows = results
    .filter(({ skipped }) => !skipped)
    .map(({ model, form, bytes, twinfer_ms: our, onnxruntime_ms: their }) => {
      const { bytes: all, twinfer_ms: before } = plain(model);
      return [model, form, (bytes / 1e3).toFixed(0), ratio(bytes, all), ms(our), ms(their), ratio(our, their), ratio(our, before)];
    });
  return `
## Quantised models

\`target/python/bin/python bench/quantisation.py\`: files by \`onnxruntime.quantization\`, a run natively on one
thread beside onnxruntime ${onnxruntime} with its optimisations, in turns (${machine.system},
${machine.processors} processors, ${rounds} rounds; release build of ${commit}). Names: layout, then type of what flows and of the weights.

${table(["model", "form", "kB", "of FP32's bytes", "Twinfer, ms", "onnxruntime, ms", "ratio", "of our FP32's time"], rows)}
`;
}
