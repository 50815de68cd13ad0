// Runs of the engine beside onnxruntime-web, one thread, in turns in one Node process: processor
// time (wall time is noise on a busy machine), medians and minima.
//
//   (cd bench/speed/engine && cp ../../../Cargo.lock . && cargo build --release --target wasm32-unknown-unknown)
//   node bench/speed/speed.mjs [--only face,file] [--ms 4000] [--no-ort] ENGINE.wasm [ENGINE2.wasm ...]
//
// Models of others are looked for in $TWINFER_SPEED_MODELS: nmp.onnx (PyPI basic-pitch 0.4.0),
// ch_PP-OCRv4_det_infer.onnx (rapidocr-onnxruntime 1.4.4), minilm.onnx; those not there are left out.
const cpu = () => { const u = process.cpuUsage(); return (u.user + u.system) / 1000; };
import { existsSync, readFileSync } from "node:fs";
import { withoutWeightInputs } from "../shared/onnx.mjs";
const M = new URL("../../models/", import.meta.url).pathname;
const X = `${process.env.TWINFER_SPEED_MODELS ?? "."}/`;
const MODELS = {
  face: [M + "face-detector/version-RFB-320.onnx", [["input", "f32", [1, 3, 240, 320]]]],
  file: [M + "file-type/model.onnx", [["bytes", "i32", [1, 2048], 257]]],
  tumour: [M + "tumour-risk/model.onnx", null],
  forest: [M + "tumour-risk-forest/model.onnx", null],
  mlp: [M + "tumour-risk-mlp/model.onnx", null],
  minilm: [X + "minilm.onnx", [["input_ids", "i64", [1, 32], 30000], ["attention_mask", "i64", [1, 32], "ones"], ["token_type_ids", "i64", [1, 32], "zeros"]]],
  pitch: [X + "nmp.onnx", [["serving_default_input_2:0", "f32", [1, 43844, 1]]]],
  det: [X + "ch_PP-OCRv4_det_infer.onnx", [["x", "f32", [1, 3, 320, 320]]]],
};
const args = process.argv.slice(2);
const opt = (n, d) => { const i = args.indexOf(n); if (i < 0) return d; const v = args[i + 1]; args.splice(i, 2); return v; };
const only = opt("--only", "")?.split(",").filter(Boolean);
const ms = Number(opt("--ms", 4000));
const noOrt = args.includes("--no-ort"); if (noOrt) args.splice(args.indexOf("--no-ort"), 1);
let seed = 7; const rnd = () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff);
const CT = { f32: Float32Array, i64: BigInt64Array, i32: Int32Array }, OT = { f32: "float32", i64: "int64", i32: "int32" }, PT = { f32: 0, i64: 1, i32: 2 };
function fill(dt, dims, max) {
  const n = dims.reduce((a, b) => a * b, 1);
  const f = max === "ones" ? () => 1 : max === "zeros" ? () => 0 : max ? () => Math.floor(rnd() * max) : () => rnd() * 2 - 1;
  return CT[dt].from({ length: n }, () => dt === "i64" ? BigInt(f()) : f());
}
async function engine(file) {
  let mem;
  const mod = await WebAssembly.compile(readFileSync(file));
  const imports = {};
  for (const i of WebAssembly.Module.imports(mod)) (imports[i.module] ??= {})[i.name] = i.name === "host_log" ? (p, n) => console.log(Buffer.from(mem.buffer, p, n).toString()) : () => { throw new Error(i.name); };
  const { exports: e } = await WebAssembly.instantiate(mod, imports);
  mem = e.memory; e._initialize();
  const put = (b) => { const u = new Uint8Array(b.buffer ?? b, b.byteOffset, b.byteLength); const p = e.alloc(u.length); new Uint8Array(mem.buffer).set(u, p); return p; };
  const info = () => Buffer.from(mem.buffer, e.info_ptr(), e.info_len()).toString();
  return {
    load(model) { if (e.load(put(model), model.length)) throw new Error(info()); return info(); },
    input(name, dt, dims, data) { const nb = Buffer.from(name); e.input(put(nb), nb.length, PT[dt], put(Uint32Array.from(dims)), dims.length, put(data), data.byteLength); },
    run() { if (e.run()) throw new Error(info()); },
    out() { return new Float32Array(mem.buffer.slice(e.out_ptr(), e.out_ptr() + e.out_len())); },
    prof: e.prof ? () => { e.prof(); return info(); } : null,
    pages: () => mem.buffer.byteLength / 1048576,
  };
}
const med = (a) => [...a].sort((x, y) => x - y)[a.length >> 1];
const ort = noOrt ? null : await import("../node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
if (ort) { ort.env.wasm.numThreads = 1; ort.env.logLevel = "error"; }
for (const [name, [file, spec0]] of Object.entries(MODELS)) {
  if ((only.length && !only.includes(name)) || !existsSync(file)) continue;
  const model = withoutWeightInputs(new Uint8Array(readFileSync(file)));
  const es = []; let spec = spec0, inputs;
  for (const f of args) {
    const e = await engine(f); const t = cpu(); const info = e.load(model); e.loadMs = cpu() - t; 
    spec ??= [[info.split("|")[0], "f32", [1, 30]]];
    inputs ??= spec.map(([n, dt, dims, max]) => [n, dt, dims, fill(dt, dims, max)]);
    for (const [n, dt, dims, d] of inputs) e.input(n, dt, dims, d);
    e.run(); es.push(e);
  }
  const runs = es.map((e) => () => e.run());
  inputs ??= spec.map(([n, dt, dims, max]) => [n, dt, dims, fill(dt, dims, max)]);
  let want;
  if (ort) {
    const s = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    const feeds = Object.fromEntries(inputs.map(([n, dt, dims, d]) => [n, new ort.Tensor(OT[dt], d, dims)]));
    want = await s.run(feeds); 
    runs.push(() => s.run(feeds));
    const w = s.outputNames.map((n) => want[n]).filter((t) => t.type === "float32").map((t) => [...t.data]).flat();
    es.forEach((e) => { let o = e.out(); if (o.length !== w.length) { o = o.slice(o.length - w.length); } let d = 0; for (let i = 0; i < w.length; i++) d = Math.max(d, Math.abs(o[i] - w[i]) / (1e-3 + Math.abs(w[i]))); e.diff = d; });
  }
  const times = runs.map(() => []);
  // blocks so that a block takes at least ~ 1 ms
  for (let i = 0; i < 5; i++) for (const r of runs) await r();
  inputs ??= spec; const t1 = cpu(); await runs[0](); const one = cpu() - t1; const block = Math.max(1, Math.ceil(1 / one));
  const end = performance.now() + ms;
  while (performance.now() < end || times[0].length < 7) for (let r = 0, rot = times[0].length; r < runs.length; r++) {
    const k = (r + rot) % runs.length;
    const t = cpu(); for (let i = 0; i < block; i++) { const p = runs[k](); if (p) await p; } times[k].push((cpu() - t) / block);
  }
  const last = times.at(-1);
  console.log(name.padEnd(8), times.map((t, i) => `${i < es.length ? args[i].split("/").pop() + (es[i].diff !== undefined ? ` (diff ${es[i].diff.toExponential(1)}, load ${es[i].loadMs.toFixed(0)})` : "") : "ort"} med ${med(t).toFixed(3)} min ${Math.min(...t).toFixed(3)}${ort && i < es.length ? ` ratio ${(med(t) / med(last)).toFixed(3)} min ${(Math.min(...t) / Math.min(...last)).toFixed(3)}` : ""}`).join("\n         "));
  if (es.at(-1)?.prof) console.log(es.at(-1).prof());
}
