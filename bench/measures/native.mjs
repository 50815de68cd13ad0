// In native processes: load, run and whole prediction of Twinfer, beside onnxruntime's CPU provider
// on the same tensors. Processes in turns. On one core (`taskset`, where it is there) and on all.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { plan, quick, skipped, work, write } from "../shared/plan.mjs";
import { samples } from "../shared/pages.mjs";
import { inTurns, summarise } from "../shared/statistics.mjs";

const ROUNDS = quick ? 1 : 5;
const cores = availableParallelism();
const rivalScript = fileURLToPath(new URL("../rivals/native.py", import.meta.url));
const pins = spawnSync("taskset", ["-c", "0", "true"]).status === 0;
const places = { [cores]: [] };
if (pins) places[1] = ["taskset", "-c", "0"];
else skipped("one core", "there is no taskset here");

const results = [];
for (const sample of samples()) {
  const threads = {};
  for (const [count, prefix] of Object.entries(places)) threads[count] = compare(sample, Number(count), prefix);
  const { reference, example } = sample;
  results.push({ reference, example, ...threads[cores].twinfer, threads });
  for (const [count, { twinfer, onnxruntime }] of Object.entries(threads)) {
    console.log(`${reference}, ${count} thread(s): run ${twinfer.run.median.toFixed(3)} ms (onnxruntime ${onnxruntime.run.median.toFixed(3)}), load ${twinfer.load.median.toFixed(1)} (${onnxruntime.load.median.toFixed(1)})`);
  }
}
write("native", { cores, results });

function compare({ reference, onnx, tensors }, count, prefix) {
  const file = (ending) => join(work, `native.${ending}`);
  writeFileSync(file("onnx"), onnx);
  writeFileSync(file("tensors.json"), JSON.stringify(tensors));
  const more = quick ? ["--quick"] : [];
  const contenders = {
    twinfer: () => {
      run([...prefix, plan.meter, "--registry", plan.registry, "--cases", plan.cases, "--only", reference, "--out", file("out.json"), ...more]);
      return JSON.parse(readFileSync(file("out.json"), "utf8")).results[0];
    },
    onnxruntime: () => JSON.parse(run([...prefix, plan.python, rivalScript, "--model", file("onnx"), "--tensors", file("tensors.json"), "--threads", String(count), ...more])),
  };
  const all = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, call] of inTurns(round, Object.entries(contenders))) all[name].push(call());
  }
  // The median process of each: a process that met a busy minute does not count.
  const middle = (list, what) => ({ ...list[0][what], ...pick(summarise(list.map((one) => one[what].median))) });
  const of = (list) => Object.fromEntries(["load", "run", "predict"].filter((what) => list[0][what]).map((what) => [what, middle(list, what)]));
  return Object.fromEntries(Object.entries(all).map(([name, list]) => [name, of(list)]));
}

function pick({ median, min, max }) {
  return { median, least: min, most: max };
}

function run([program, ...args]) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error ?? stderr}`);
  return stdout;
}
