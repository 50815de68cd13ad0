// The section of the document about serving beside its rivals. Pure: results in, text out.
import { ms, rate, ratio, skips, table } from "./format.mjs";

const megabytes = ({ proportional }) => (proportional / 1e6).toFixed(0);

export function servers({ servers: measured }) {
  if (!measured) return "";
  const { cores, clients, rounds, milliseconds, results } = measured;
  const all = results.flatMap(({ servers: list }) => Object.entries(list));
  const how = new Map(all.map(([name, { how: text }]) => [name, text]));
  return `
## Serving beside its rivals

The same predictions of the same model files over HTTP, servers and load generator on the same ${cores} cores. Clients keep
their connections and ask again as soon as they have the answer; servers take turns, ${rounds} rounds of ${milliseconds / 1000} s each.
Memory is that of all processes of a server, shared pages counted once: after the first requests, and at its peak. First answer: from the
start of the process to the first right answer, with the compiled component kept. Every answer was compared before.
Ratios: requests a second of the full component, divided by the rival's (above 1 Twinfer serves more), and its 99th
percentile, memory and time to the first answer, divided likewise (below 1 Twinfer needs less).

${[...how].map(([name, text]) => `- ${name}: ${text}.`).join("\n")}
${results.map((result) => model(result, clients)).join("")}`;
}

function model({ reference, what, servers: list }, clients) {
  const entries = Object.entries(list);
  const measured = entries.filter(([, { skipped }]) => !skipped);
  const [ours, ...others] = measured;
  const rivals = others.filter(([name]) => !name.startsWith("Twinfer"));
  return `
### ${reference}, ${what}

${table(
  ["server", ...clients.flatMap((n) => [`${n} client${n === 1 ? "" : "s"}: requests/s`, "p50 ms", "p99 ms"]), "memory MB", "peak MB", "first answer ms", "errors"],
  measured.map(([name, one]) => [
    name,
    ...clients.flatMap((n) => [rate(one.load[n].rate.median), time(one.load[n].latency.median), time(one.load[n].latency.p99)]),
    megabytes(one.memory.loaded),
    megabytes(one.memory.peak),
    ms(one.cold.median),
    errors(one, clients),
  ]),
)}${skips(entries.map(([name, { skipped }]) => [name, skipped]))}
${ours?.[0].startsWith("Twinfer") && rivals.length > 0 ? `\n${ratios(ours[1], rivals, clients)}\n` : ""}`;
}

function ratios(ours, rivals, clients) {
  return table(
    [
      "Twinfer, full, warm, divided by",
      ...clients.map((n) => `requests/s, ${n} client${n === 1 ? "" : "s"}`),
      ...clients.map((n) => `p99, ${n}`),
      "memory",
      "peak",
      "first answer",
    ],
    rivals.map(([name, theirs]) => [
      name,
      ...clients.map((n) => ratio(ours.load[n].rate.median, theirs.load[n].rate.median)),
      ...clients.map((n) => ratio(ours.load[n].latency.p99, theirs.load[n].latency.p99)),
      ratio(ours.memory.loaded.proportional, theirs.memory.loaded.proportional),
      ratio(ours.memory.peak.proportional, theirs.memory.peak.proportional),
      ratio(ours.cold.median, theirs.cold.median),
    ]),
  );
}

/** Nothing was answered rightly in that time: there is no time to tell. */
function time(value) {
  return value === undefined ? "-" : ms(value);
}

function errors({ load }, clients) {
  const sum = {};
  for (const n of clients) for (const [kind, count] of Object.entries(load[n].errors)) sum[kind] = (sum[kind] ?? 0) + count;
  const said = Object.entries(sum).map(([kind, count]) => `${count} × ${kind}`);
  return said.length === 0 ? "0" : said.join(", ");
}
