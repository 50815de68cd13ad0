// Sections of the document: what a page downloads, and how long it takes.
import { mb, ms, ratio, skips, table } from "./format.mjs";

export function sizes({ sizes: list }) {
  return `
## Size

${table(
  ["artifact", "raw MB", "gzip -9", "brotli -11"],
  list.map(({ file, raw, gzip, brotli }) => [`\`${file}\``, mb(raw), mb(gzip), mb(brotli)]),
)}
`;
}

export function network({ network: measured }) {
  if (!measured) return "";
  const { network: net, brotli_quality: quality, results } = measured;
  const rival = results["onnxruntime-web"];
  const entries = Object.entries(results);
  return `
## The first face detection in a fresh page, over a network

Chromium's emulation of a network of ${net.megabits} Mbit/s and ${net.latency} ms for each request, which holds for
workers too (a file of known size is fetched in one before anything is measured). Both are served
with brotli -${quality}. Cold: a new browser profile. Warm: the third visit, with the caches of the browser
and what Twinfer keeps. From the start of the navigation to the first result, medians of
${rival.cold.count} visits, in turns.

${table(
  ["", "engine MB", "scripts", "model and package", "all", "ratio", "cold ms", "ratio", "warm ms", "ratio"],
  entries
    .filter(([, one]) => !one.skipped)
    .map(([name, { bytes, cold, warm }]) => [
      name,
      ...[bytes.engine, bytes.scripts, bytes.model, bytes.total].map(mb),
      ratio(bytes.total, rival.bytes.total),
      ms(cold.median),
      ratio(cold.median, rival.cold.median),
      ms(warm.median),
      ratio(warm.median, rival.warm.median),
    ]),
)}${skips(entries.map(([name, { skipped }]) => [name, skipped]))}
`;
}

export function firsts({ page }) {
  return `
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
`;
}

/** Tree ensembles: one section for both places, because it is the same question. */
export function trees({ trees: measured }) {
  if (!measured) return "";
  const { results } = measured;
  const cells = (one) => (one.skipped ? ["", "", ""] : [ms(one.twinfer), ms(one.onnxruntime), ratio(one.twinfer, one.onnxruntime)]);
  return `
## Tree ensembles, ms

Complete trees over 30 features: 100 of depth 8 (a classifier of two classes), 1,000 of depth 6 (a
regressor). One thread. Natively beside onnxruntime's CPU provider, processes in turns; in the page
beside onnxruntime-web, in turns.

${table(
  ["ensemble", "rows", "native: Twinfer", "onnxruntime", "ratio", "page: Twinfer", "onnxruntime-web", "ratio"],
  results.filter(({ skipped }) => !skipped).map(({ ensemble, batch, native, page }) => [ensemble, batch, ...cells(native), ...cells(page)]),
)}${skips(results.flatMap(({ reference, skipped, native }) => [[reference, skipped], [`${reference} natively`, native?.skipped]]))}
`;
}

export function medians({ page, outside }) {
  const list = [...page.results, ...(outside?.results ?? [])];
  const measured = list.filter(({ median }) => median);
  const fast = measured.some(({ median }) => median.twinfer_fast_run);
  const cell = (summary) => (summary ? ms(summary.median) : "");
  return `
## One answer in the page, ms

A run of the model on ready tensors in both engines on the same page, in turns; then Twinfer's
whole prediction (decoding, pipeline, answer), on the page's thread and in a worker. Medians. Models
that others made come out of pinned packages (\`bench/models/\`) and have no pipeline.

${table(
  ["model", "run: Twinfer", ...(fast ? ["fast"] : []), "onnxruntime-web", "ratio", "prediction", "in a worker"],
  measured.map(({ reference, median: m }) => [
    reference,
    ms(m.twinfer_run.median),
    ...(fast ? [cell(m.twinfer_fast_run)] : []),
    ms(m.ort_run.median),
    ratio(m.twinfer_run.median, m.ort_run.median),
    cell(m.twinfer_predict),
    cell(m.twinfer_worker_predict),
  ]),
)}${skips(list.map(({ reference, skipped }) => [reference, skipped]))}
`;
}
