/** How often each version was asked, and how long it took. */
import { ask, headers } from "./page.js";

/** From the host's metrics where it has them, else from the instance that answers. */
export async function traffic() {
  const metrics = await fetchMetrics();
  if (metrics) return { rows: metrics, source: "All requests to this host, from its metrics." };
  const { model_stats: stats } = await ask("/v2/models/stats");
  return { rows: stats.map(ofInstance), source: "Requests to the one instance that answered just now: all requests are in the host's metrics, which take the scope metrics." };
}

/** Where the host says that they are. */
let address;
/** The key with which they were refused: it is not asked again with that one. */
let refused;

async function fetchMetrics() {
  address ??= (await ask("/console/settings")).metrics ?? "";
  const sent = headers();
  if (!address || refused === JSON.stringify(sent)) return undefined;
  const response = await fetch(address, { headers: sent });
  if (response.ok) return ofMetrics(await response.text());
  // Who may predict may not always see these.
  if (response.status === 401 || response.status === 403) refused = JSON.stringify(sent);
  return undefined;
}

function ofInstance({ name, version, inference_stats: { success, fail, compute_infer: compute } }) {
  const mean = compute.count ? compute.ns / compute.count / 1e6 : undefined;
  return { name, version, answered: success.count, failed: fail.count, mean };
}

/** Triton's names, in Prometheus' text format. */
export function ofMetrics(text) {
  const rows = new Map();
  for (const line of text.split("\n")) {
    const [, metric, labels, value] = /^(nv_inference_\w+)\{(.*)\}\s+(\S+)/.exec(line) ?? [];
    const of = (name) => new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels)?.[1];
    if (!metric || of("model") === undefined) continue;
    const key = `${of("model")}\n${of("version")}`;
    const row = rows.get(key) ?? { name: of("model"), version: of("version") ?? "", answered: 0, failed: 0, us: 0 };
    rows.set(key, row);
    if (metric === "nv_inference_request_success") row.answered += Number(value);
    if (metric === "nv_inference_request_failure") row.failed += Number(value);
    if (metric === "nv_inference_request_duration_us") row.us += Number(value);
  }
  return [...rows.values()].map(({ us, ...row }) => ({ ...row, mean: us && row.answered ? us / row.answered / 1e3 : undefined }));
}
