// Measures in the page. What to measure is in the address; the result goes to `window.result`.
import { summarise } from "./statistics.mjs";

const query = new URLSearchParams(location.search);
const TYPED = {
  FP32: ["float32", Float32Array],
  FP64: ["float64", Float64Array],
  INT32: ["int32", Int32Array],
  INT64: ["int64", BigInt64Array],
  UINT8: ["uint8", Uint8Array],
  BOOL: ["bool", Uint8Array],
};

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** The elements of a tensor: those that it comes with, or some in the range of pixels. */
function elements({ dtype, shape, data }) {
  const Typed = TYPED[dtype][1];
  if (data) return new Typed(bytesOf(data.base64).buffer);
  const made = new Typed(shape.reduce((product, size) => product * size, 1));
  const isReal = Typed === Float32Array || Typed === Float64Array;
  for (let at = 0; at < made.length; at++) made[at] = isReal ? (at % 251) / 251 : dtype === "INT64" ? BigInt(at % 2) : at % 2;
  return made;
}

/** onnxruntime-web with one thread. */
const ort = {
  async load(sample) {
    const runtime = await import("/ort/ort.wasm.bundle.min.mjs");
    runtime.env.wasm.numThreads = 1;
    runtime.env.wasm.wasmPaths = { wasm: new URL("/ort/ort-wasm-simd-threaded.wasm", location.href).href };
    const model = new Uint8Array(await (await fetch(`/onnx/${sample.reference}.onnx`)).arrayBuffer());
    const session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    const feeds = Object.fromEntries(
      sample.tensors.map((tensor) => [tensor.name, new runtime.Tensor(TYPED[tensor.dtype][0], elements(tensor), tensor.shape)]),
    );
    // Maps are not tensors, and onnxruntime-web refuses to give them: ask for the tensors.
    const wanted = sample.outputs.filter((output) => session.outputNames.includes(output));
    return { run: () => session.run(feeds, wanted), engine: "onnxruntime-web" };
  },
};

/** Twinfer, in a worker or on the thread of the page; the address says from where. */
const twinfer = {
  async load(sample, options) {
    const { loadModel } = await import("/twinfer/index.js");
    const engine = query.get("only") ?? "auto";
    const model = await loadModel(`${query.get("registry") ?? "/registry"}/${sample.reference}`, { engine, ...options });
    const ready = Object.fromEntries(
      sample.tensors.map((tensor) => [tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data: elements(tensor) }]),
    );
    const input = () => {
      const [kind, value] = Object.entries(sample.input)[0];
      return { [model.config.pipeline.input.name]: kind === "record" ? value : bytesOf(value.base64) };
    };
    const given = sample.input && input();
    return {
      run: () => model.run(ready),
      ...(given && { predict: () => model.predict(given, { parameters: sample.parameters }) }),
      // Asked for after a run: another one may have taken over for it.
      get engine() {
        return model.engine.kind;
      },
    };
  },
};

async function sampleOf(reference) {
  return (await fetch(`/samples/${reference}.json`)).json();
}

/** Milliseconds from the start of the navigation to the first answer, and which engine gave it. */
async function first(sample) {
  const loaded = query.get("engine") === "ort" ? await ort.load(sample) : await twinfer.load(sample, { thread: "worker" });
  await loaded.run();
  const time = performance.now();
  return { first: time, engine: loaded.engine };
}

/** Milliseconds of each, in rounds that alternate. */
async function median(sample) {
  const here = await twinfer.load(sample, { thread: "main" });
  const rival = await ort.load(sample);
  const contenders = { ort_run: rival.run, twinfer_run: here.run };
  if (query.get("fast")) contenders.twinfer_fast_run = (await twinfer.load(sample, { thread: "main", precision: "fast" })).run;
  if (here.predict) {
    contenders.twinfer_predict = here.predict;
    contenders.twinfer_worker_predict = (await twinfer.load(sample, { thread: "worker" })).predict;
  }
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  const rounds = Number(query.get("rounds"));
  for (let round = -1; round < rounds; round++) {
    const turns = Object.entries(contenders);
    for (const [name, call] of round % 2 === 0 ? turns : turns.reverse()) {
      const end = performance.now() + Number(query.get("milliseconds"));
      let count = 0;
      const start = performance.now();
      // A single short call is below the resolution of the clock: time blocks of calls.
      do {
        await call();
        count++;
      } while (performance.now() < end);
      // The first round warms up: V8 compiles hot functions again while they run.
      if (round >= 0) times[name].push((performance.now() - start) / count);
    }
  }
  return { ...Object.fromEntries(Object.entries(times).map(([name, values]) => [name, summarise(values)])), engine: here.engine };
}

/** Milliseconds that a worker takes for a file: whether the emulated network holds there. */
async function worker() {
  const code = "onmessage = async ({ data }) => { const t = performance.now(); await (await fetch(data)).arrayBuffer(); postMessage(performance.now() - t); }";
  const one = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const milliseconds = new Promise((resolve) => (one.onmessage = ({ data }) => resolve(data)));
  one.postMessage(new URL(query.get("file"), location.href).href);
  return { milliseconds: await milliseconds };
}

/** Bytes of the engine's memory at its start, after a load, and after the first run. */
async function memory(sample) {
  const memories = [];
  let start = 0;
  const { instantiate } = WebAssembly;
  const watch = ({ exports }) => {
    for (const one of Object.values(exports)) {
      if (!(one instanceof WebAssembly.Memory)) continue;
      memories.push(one);
      start += one.buffer.byteLength;
    }
  };
  WebAssembly.instantiate = async (...given) => {
    const made = await instantiate(...given);
    watch(made.instance ?? made);
    return made;
  };
  const bytes = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
  const loaded = query.get("engine") === "ort" ? await ort.load(sample) : await twinfer.load(sample, { thread: "main" });
  const load = bytes();
  await loaded.run();
  if (memories.length === 0) throw new Error("no instance of an engine was seen");
  return { start, load, run: bytes(), engine: loaded.engine };
}

const measure = { first, median, worker, memory }[query.get("measure")];
// A model and the shapes of its inputs are in the address where only time is measured: no page fetches its
// visitor's input, and a megabyte of it would be most of what is measured.
const sample = query.has("model") ? Promise.resolve(JSON.parse(query.get("model"))) : query.has("reference") ? sampleOf(query.get("reference")) : Promise.resolve();
window.result = sample
  .then(measure)
  .then((result) => ({ result }))
  .catch((error) => ({ error: `${error?.code ?? error?.name}: ${error?.message ?? error}` }));
