// What a component costs its host: the file, the compiled file, and the seconds that compiling takes,
// of the full, slim, fused, and fused and slim component of the face model.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { derived, plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";
import { serve } from "../shared/twinfer.mjs";

const ROUNDS = quick ? 1 : 3;
const contenders = Object.entries({
  full: { path: plan.component },
  slim: derived("component, slim (face)"),
  fused: derived("component, fused (face)"),
  "fused and slim": derived("component, fused and slim (face)"),
});

const results = {};
const times = {};
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, { path, missing }] of inTurns(round, contenders)) {
    if (missing) results[name] ??= skipped(name, missing);
    else await one(name, path);
  }
}
for (const [name, { cold, warm }] of Object.entries(times)) {
  // Both starts do the rest alike.
  results[name].compile_ms = summarise(cold).median - summarise(warm).median;
  const { file, compiled, compile_ms: ms } = results[name];
  console.log(`${name}: file ${(file / 1e6).toFixed(2)} MB, compiled ${(compiled / 1e6).toFixed(2)} MB, compiled in ${(ms / 1000).toFixed(1)} s`);
}
write("artifacts", { results });

async function one(name, component) {
  const cache = mkdtempSync(join(work, "compile-"));
  try {
    const starts = [];
    for (let n = 0; n < 2; n++) {
      const server = await serve({ component, name: "compile", cache });
      starts.push(server.startMs);
      await server.stop();
    }
    times[name] ??= { cold: [], warm: [] };
    times[name].cold.push(starts[0]);
    times[name].warm.push(starts[1]);
    results[name] = { file: statSync(component).size, compiled: bytesOf(cache) };
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

function bytesOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
}
