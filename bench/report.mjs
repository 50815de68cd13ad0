// Makes docs/benchmarks.md from results/*.json. What was not measured yet has no section, and the
// table of the goals says so.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { rows } from "./goals.mjs";
import { table } from "./report/format.mjs";
import * as host from "./report/host.mjs";
import * as own from "./report/own.mjs";
import * as page from "./report/page.mjs";
import { servers } from "./report/servers.mjs";

const folder = new URL("results/", import.meta.url);
const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
const results = Object.fromEntries(names.map((name) => [name.slice(0, -".json".length), JSON.parse(readFileSync(new URL(name, folder), "utf8"))]));
const missing = ["machine", "sizes", "page", "component", "native"].filter((name) => !results[name]);
if (missing.length > 0) throw new Error(`bench/results has no ${missing.join(", ")}: cargo xtask bench measures them`);
const { commit, machine, profile, when } = results.machine;

// A measure that was run by itself, of a build of its own.
const others = Object.entries(results).filter(([, result]) => result.commit && result.commit !== commit);
const elsewhere = (result) => (typeof result.machine === "string" && result.machine !== machine ? `, on another machine (${result.machine})` : "");
const apart = others.map(([name, result]) => `\nMeasured by itself, ${result.when}, commit ${result.commit}${elsewhere(result)}: \`${name}\`.`);

const sections = [
  page.sizes,
  page.network,
  page.firsts,
  page.medians,
  page.trees,
  host.component,
  host.fresh,
  host.throughput,
  servers,
  host.artifacts,
  host.native,
  host.memory,
  own.registries,
  own.caches,
  own.quantised,
].map((section) => section(results));

const text = `# Benchmarks

<!-- Made by \`cargo xtask bench\` from bench/results/*.json. -->

All figures are from one run on one machine, ${when}: ${machine}. Build profile: ${profile},
commit ${commit}.${apart.join("")}
Chromium ${results.page.browser}; onnxruntime-web 1.30.0, \`onnxruntime-web/wasm\`, one thread.
Ratios are Twinfer divided by its rival: below 1 Twinfer is smaller or faster. Trust the ratios
more than the milliseconds. How it is measured: [bench/README.md](../bench/README.md).

## Goals

Ours divided by theirs, but for requests a second and where a unit is named.

${table(["measure", "goal", "measured", "met?"], rows(results), 4)}
${sections.join("")}
The examples: ${results.page.results.map(({ example }) => `\`${example}\``).join(", ")}.
`;
writeFileSync(new URL("../docs/benchmarks.md", import.meta.url), text);
