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

/** onnxruntime-web with one thread. */
const ort = {
  async load(sample) {
    const runtime = await import("/ort/ort.wasm.bundle.min.mjs");
    runtime.env.wasm.numThreads = 1;
    runtime.env.wasm.wasmPaths = { wasm: new URL("/ort/ort-wasm-simd-threaded.wasm", location.href).href };
    const model = new Uint8Array(await (await fetch(`/onnx/${sample.reference}.onnx`)).arrayBuffer());
    const session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
    const feeds = Object.fromEntries(
      sample.tensors.map(({ name, dtype, shape, data }) => {
        const [type, Typed] = TYPED[dtype];
        return [name, new runtime.Tensor(type, new Typed(bytesOf(data.base64).buffer), shape)];
      }),
    );
    // Maps are not tensors, and onnxruntime-web refuses to give them: ask for the tensors.
    const wanted = sample.outputs.filter((output) => session.outputNames.includes(output));
    return { run: () => session.run(feeds, wanted) };
  },
};

/** Twinfer, in a worker or on the thread of the page. */
const twinfer = {
  async load(sample, thread) {
    const { loadModel } = await import("/twinfer/index.js");
    const model = await loadModel(`/registry/${sample.reference}`, { thread });
    const tensors = () =>
      Object.fromEntries(
        sample.tensors.map(({ name, dtype, shape, data }) => [name, { dtype, shape, data: new TYPED[dtype][1](bytesOf(data.base64).buffer) }]),
      );
    const ready = tensors();
    const [kind, value] = Object.entries(sample.input)[0];
    const input = { [model.config.pipeline.input.name]: kind === "record" ? value : bytesOf(value.base64) };
    return {
      run: () => model.run(ready),
      predict: () => model.predict(input, { parameters: sample.parameters }),
    };
  },
};

async function sampleOf(reference) {
  const samples = await (await fetch("/samples.json")).json();
  return samples.find((sample) => sample.reference === reference);
}

/** Milliseconds from the start of the navigation to the first answer. */
async function first(sample) {
  const engine = query.get("engine");
  const loaded = engine === "ort" ? await ort.load(sample) : await twinfer.load(sample, "worker");
  await loaded.run();
  return { first: performance.now() };
}

/** Milliseconds of each, in rounds that alternate. */
async function median(sample) {
  const here = await twinfer.load(sample, "main");
  const worker = await twinfer.load(sample, "worker");
  const rival = await ort.load(sample);
  const contenders = {
    ort_run: rival.run,
    twinfer_run: here.run,
    twinfer_predict: here.predict,
    twinfer_worker_predict: worker.predict,
  };
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  const rounds = Number(query.get("rounds"));
  for (let round = -1; round < rounds; round++) {
    for (const [name, call] of Object.entries(contenders)) {
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
  return Object.fromEntries(Object.entries(times).map(([name, values]) => [name, summarise(values)]));
}

const measure = { first, median }[query.get("measure")];
window.result = sampleOf(query.get("reference"))
  .then(measure)
  .then((result) => ({ result }))
  .catch((error) => ({ error: `${error?.code ?? error?.name}: ${error?.message ?? error}` }));
