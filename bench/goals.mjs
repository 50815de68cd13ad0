// The goals, and what was measured of each. Pure: results in, rows out.
import { reasons } from "./reasons.mjs";

const MISSING = (name) => ({ unknown: `not measured yet: \`cargo xtask bench --only ${name}\`` });

/**
 * One goal: `of(results)` gives its figures, each `{ what, value, limit }`, where a value over the
 * limit misses it (`least`: a value under it does); or `{ unknown }` with the reason.
 * `show` writes a value, `relative` says how a miss is told: as a factor of the limit.
 */
const GOALS = [
  {
    id: "bytes-slim",
    measure: "bytes to the first face detection in a fresh page (brotli): slim engine against onnxruntime-web's",
    goal: "<= 1/6",
    of: ({ network }) => bytes(network, "slim", ({ engine, scripts }) => engine + scripts, 1 / 6),
  },
  {
    id: "bytes-fused",
    measure: "the same: fused file, model included, against engine and model",
    goal: "<= 1/2.5",
    of: ({ network }) => bytes(network, "fused", ({ total }) => total, 1 / 2.5),
  },
  {
    id: "first-cold",
    measure: "time to the first prediction, cold cache, 20 Mbit/s and 40 ms",
    goal: "<= 1/3",
    of: ({ network }) => times(network, "cold", 1 / 3),
  },
  {
    id: "first-warm",
    measure: "time to the first prediction, warm cache, the same network",
    goal: "<= 1/5",
    of: ({ network }) => times(network, "warm", 1 / 5),
  },
  {
    id: "median-strict",
    measure: "median prediction in the page, one thread, strict",
    goal: "<= 1.0",
    of: (results) => medians(results, "twinfer_run", 1),
  },
  {
    id: "median-fast",
    measure: "the same, fast",
    goal: "<= 0.8",
    of: (results) => medians(results, "twinfer_fast_run", 0.8),
  },
  {
    id: "fresh-latency",
    measure: "fused component, a fresh instance for each request against warm reuse: median latency",
    goal: "<= 1.15",
    of: ({ fresh }) => freshness(fresh, "median", 1.15),
  },
  {
    id: "fresh-p99",
    measure: "the same: 99th percentile",
    goal: "<= 1.5",
    of: ({ fresh }) => freshness(fresh, "p99", 1.5),
  },
  {
    id: "throughput",
    measure: "requests a second, fresh instances, against FastAPI with onnxruntime, tabular model, best number of connections of each",
    goal: ">= 5",
    of: ({ throughput }) => throughputs(throughput),
  },
  {
    id: "idle-memory",
    measure: "memory private to an idle loaded model on the host",
    goal: "<= 64 KiB",
    of: ({ "host-memory": memory }) => {
      if (!memory) return MISSING("host-memory");
      const fresh = memory.results.filter(({ instances }) => instances === "fresh");
      const made = all(fresh, ({ name, skipped, each }) => skipped ?? { what: name, value: each / 1024, limit: 64 });
      // Warm instances keep what a run needed: shown, not the goal.
      const kept = memory.results.filter(({ instances, skipped }) => instances === "warm" && !skipped);
      return { ...made, note: kept.map(({ name, each }) => `${name}: ${number(each / 1024)} KiB`).join(", ") };
    },
    show: (value) => `${number(value)} KiB`,
  },
  {
    id: "load-memory",
    measure: "memory at the peak of a load, as a share of 2.5 x file + 4 MB",
    goal: "<= 1.0",
    of: ({ "load-memory": memory }) => (memory ? peaks(memory) : MISSING("load-memory")),
  },
  {
    id: "native",
    measure: "a native run against onnxruntime's CPU provider, the same number of threads",
    goal: "<= 1.2",
    of: ({ native }) => natively(native),
  },
  {
    id: "start",
    measure: "`twinfer serve` to its first answer, warm cache",
    goal: "<= 0.5 s",
    of: ({ start }) => {
      if (!start) return MISSING("start");
      return all(Object.entries(start.results), ([what, { warm, skipped }]) => (skipped ? skipped : { what, value: warm.median / 1000, limit: 0.5 }));
    },
    show: (value) => `${number(value)} s`,
  },
];

/** Ids of all goals: a reason must belong to one. */
export const ids = GOALS.map(({ id }) => id);

/** Rows of the table: measure, goal, measured, met or missed. */
export const rows = (results) => ids.map((id) => row(results, id));

/** The row of one goal. */
export function row(results, id) {
  const { measure, goal, of, show = number } = GOALS.find((one) => one.id === id);
  const { figures = [], unknown, note } = of(results);
  if (figures.length === 0) return [measure, goal, "-", unknown ?? "nothing to measure"];
  const measured = figures.map(({ what, value }) => (what ? `${what} ${show(value)}` : show(value))).join(", ");
  return [measure, goal, [measured, note].filter(Boolean).join("; "), verdict(id, figures)];
}

function verdict(id, figures) {
  const missed = figures.filter(isMissed);
  if (missed.length === 0) return "met";
  const worst = missed.map((figure) => ({ ...figure, factor: figure.least ? figure.limit / figure.value : figure.value / figure.limit })).sort((a, b) => b.factor - a.factor)[0];
  const which = figures.length === 1 ? "missed" : missed.length === figures.length ? "missed by all" : `missed by ${missed.map(({ what }) => what).join(", ")}`;
  const by = `${number(worst.factor)} times the goal${figures.length === 1 ? "" : ` at worst (${worst.what})`}`;
  return `**${which}**: ${by}. ${reasons[id] ?? "The reason is not written down yet (`bench/reasons.mjs`)."}`;
}

function isMissed({ value, limit, least }) {
  return least ? value < limit : value > limit;
}

/** Figures of a list; `of` gives one, or the sentence why there is none. */
function all(list, of) {
  const made = list.map(of);
  const figures = made.filter((one) => typeof one === "object" && one !== null);
  return figures.length > 0 ? { figures } : { unknown: made.find((one) => typeof one === "string") };
}

const RIVAL = "onnxruntime-web";

function bytes(network, variant, of, limit) {
  if (!network) return MISSING("network");
  const ours = network.results[variant];
  if (ours.skipped) return { unknown: ours.skipped };
  return { figures: [{ what: "", value: of(ours.bytes) / of(network.results[RIVAL].bytes), limit }] };
}

function times(network, when, limit) {
  if (!network) return MISSING("network");
  const { [RIVAL]: rival, full, ...best } = network.results;
  // The full engine is for what no slim one knows: shown, not the goal.
  const made = all(Object.entries(best), ([what, one]) => one.skipped ?? { what, value: one[when].median / rival[when].median, limit });
  return { ...made, note: full.skipped ? "" : `full engine ${number(full[when].median / rival[when].median)}` };
}

function medians({ page, outside }, engine, limit) {
  if (!page) return MISSING("page");
  const list = [...page.results, ...(outside?.results ?? [])];
  return all(list, ({ reference, median, skipped }) => {
    if (!median) return skipped;
    // Where there is no fast engine, the strict one must do.
    const ours = median[engine] ?? median.twinfer_run;
    return { what: reference.split(":")[0], value: ours.median / median.ort_run.median, limit };
  });
}

function freshness(fresh, which, limit) {
  if (!fresh) return MISSING("fresh");
  return all(fresh.results, ({ name, skipped, fresh: one, warm }) => skipped ?? { what: name, value: one[which] / warm[which], limit });
}

function throughputs(throughput) {
  if (!throughput) return MISSING("throughput");
  const best = (rates) => Math.max(...Object.values(rates).map(({ median }) => median));
  const { "FastAPI + onnxruntime": rival, ...ours } = throughput.results;
  const fresh = Object.entries(ours).filter(([name]) => name.includes("fresh"));
  return all(fresh, ([name, rates]) => rates.skipped ?? { what: name.replace(/^twinfer serve, |, fresh instances$/g, ""), value: best(rates) / best(rival), limit: 5, least: true });
}

function peaks({ native, page }) {
  const list = [...native.map((one) => ["native", one]), ...page.map((one) => ["page", one])];
  return all(list, ([place, { reference, file, peak, skipped }]) => skipped ?? { what: `${place} ${reference.split(":")[0]}`, value: peak / (2.5 * file + 4e6), limit: 1 });
}

function natively(native) {
  if (!native?.results.some(({ threads }) => threads)) return MISSING("native");
  const list = native.results.flatMap(({ reference, threads }) => Object.entries(threads).map(([count, one]) => ({ reference, count, ...one })));
  return all(list, ({ reference, count, twinfer, onnxruntime }) => ({ what: `${reference.split(":")[0]} (${count})`, value: twinfer.run.median / onnxruntime.run.median, limit: 1.2 }));
}

/** Three digits. */
function number(value) {
  return Number(value.toPrecision(3)).toString();
}
