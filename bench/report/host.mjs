// Sections of the document: the host, native processes, memory.
import { mb, ms, rate, ratio, skips, table } from "./format.mjs";

export function component({ component: { results } }) {
  return `
## Component in \`twinfer serve\`

Whole predictions over HTTP on the same machine, full component, instances warm.

${table(
  ["model", "median ms", "95th percentile ms", ...Object.keys(results[0].throughput).map((n) => `requests/s, ${n} client${n === "1" ? "" : "s"}`)],
  results.map(({ reference, latency, throughput }) => [reference, ms(latency.median), ms(latency.p95), ...Object.values(throughput).map(rate)]),
)}
`;
}

export function fresh({ fresh: measured }) {
  if (!measured) return "";
  const { results } = measured;
  return `
## A fresh instance for each request

A fused component with a fresh instance for each request, against instances that are kept; one
request after the other, both servers in turns. ms.

${table(
  ["component", "fresh: median", "warm", "ratio", "fresh: 99th percentile", "warm", "ratio"],
  results
    .filter(({ skipped }) => !skipped)
    .map(({ name, fresh: f, warm: w }) => [name, ms(f.median), ms(w.median), ratio(f.median, w.median), ms(f.p99), ms(w.p99), ratio(f.p99, w.p99)]),
)}${skips(results.map(({ name, skipped }) => [name, skipped]))}
`;
}

export function throughput({ throughput: measured }) {
  if (!measured) return "";
  const { reference, cores, results } = measured;
  const entries = Object.entries(results);
  const connections = Object.keys(results["FastAPI + onnxruntime"]);
  return `
## Throughput beside FastAPI and onnxruntime

Requests a second for ${reference}, both servers and the load generator on the same ${cores} cores; FastAPI under
uvicorn with uvloop, httptools and ${cores} workers, onnxruntime with one thread in each. Medians of rounds in turns.

${table(
  ["", ...connections.map((n) => `${n} connection${n === "1" ? "" : "s"}`)],
  entries.filter(([, one]) => !one.skipped).map(([name, one]) => [name, ...connections.map((n) => rate(one[n].median))]),
)}${skips(entries.map(([name, { skipped }]) => [name, skipped]))}
`;
}

export function artifacts({ artifacts: measured, start }) {
  if (!measured) return "";
  const entries = Object.entries(measured.results);
  const first = (name) => start?.results[name]?.warm;
  return `
## Components of the face model

First answer: from the start of \`twinfer serve\` to the first prediction, with the compiled component kept.

${table(
  ["component", "file MB", "compiled MB", "compile s", "first answer ms"],
  entries
    .filter(([, one]) => !one.skipped)
    .map(([name, one]) => [name, mb(one.file), mb(one.compiled), (one.compile_ms / 1000).toFixed(1), first(name) ? ms(first(name).median) : ""]),
)}${skips(entries.map(([name, { skipped }]) => [name, skipped]))}
`;
}

export function native({ native: { results }, component: served }) {
  const counts = results.some(({ threads }) => threads) ? Object.keys(results[0].threads) : [];
  return `
## Native, ms

${table(
  ["model", "load", "run", "prediction", "component / native"],
  results.map(({ reference, load, run, predict }) => {
    const over = served.results.find((result) => result.reference === reference);
    return [reference, ms(load.median), ms(run.median), ms(predict.median), ratio(over.latency.median, predict.median)];
  }),
)}
${counts.length === 0 ? "" : `
A run beside onnxruntime's CPU provider on the same tensors, processes in turns:

${table(
  ["model", ...counts.flatMap((n) => [`${n} thread${n === "1" ? "" : "s"}: Twinfer`, "onnxruntime", "ratio"])],
  results.map(({ reference, threads }) => [
    reference,
    ...counts.flatMap((n) => {
      const { twinfer, onnxruntime } = threads[n];
      return [ms(twinfer.run.median), ms(onnxruntime.run.median), ratio(twinfer.run.median, onnxruntime.run.median)];
    }),
  ]),
)}
`}`;
}

export function memory({ "load-memory": load, "host-memory": host }) {
  if (!load && !host) return "";
  const kib = (bytes) => (bytes / 1024).toFixed(0);
  const onHost = host?.results ?? [];
  const peaks = load ? [...load.native.map((one) => ["native", one]), ...load.page.map((one) => ["page", one])] : [];
  return `
## Memory
${peaks.length === 0 ? "" : `
At the peak of a load: natively the largest resident set without the pages of the program, in
the page the engine's memory, both without what was there before. The share is that of 2.5 times the file plus 4 MB.

${table(
  ["place", "model", "file MB", "peak MB", "share"],
  peaks.filter(([, one]) => one.peak !== undefined).map(([place, { reference, file, peak }]) => [place, reference, mb(file), mb(peak), (peak / (2.5 * file + 4e6)).toFixed(2)]),
  2,
)}${skips(peaks.map(([place, { reference, skipped }]) => [`${place} ${reference}`, skipped]))}
`}${onHost.length === 0 ? "" : `
Private to an idle model on the host: what the server's private memory grew by for each of
${host.instances} instances that were at work; fresh ones, but where it says otherwise.

${table(
  ["component", "KiB each", "server before KiB", "after KiB"],
  onHost.filter(({ skipped }) => !skipped).map((one) => [one.name, kib(one.each), kib(one.before), kib(one.after)]),
)}${skips(onHost.map(({ name, skipped }) => [name, skipped]))}
`}`;
}
