// Servers that answer the same predictions: ours and those beside it, each in its best ordinary
// configuration, which `how` says. A contender starts with `start(ready)`, is asked `request`, and `read`
// gives its answer in the one form of `answers.mjs`; or `skip` says why it is not there.
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readers } from "./answers.mjs";
import { freePort, start } from "./host.mjs";
import { openPackage, sampleModel } from "./layout.mjs";
import { post } from "./load.mjs";
import { derived, plan, work } from "./plan.mjs";
import { wireOf } from "./samples.mjs";
import { noFreshInstances, predictRequest, serve } from "./twinfer.mjs";

const cores = availableParallelism();
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const rivals = here("../rivals");
const logs = join(work, "logs");
/** A rival that has not answered by then does not start here. */
const seconds = 120;
const json = (path, body) => post(path, "application/json", JSON.stringify(body));

/** What is asked for: the models, as a rival in Python knows them, and ours that have one loaded. */
export const models = [
  { reference: "tumour-risk:1.0.0", what: "a record of 30 numbers", kind: "table", fused: "component, fused (tumour-risk)" },
  { reference: "face-detector:1.0.0", what: "a JPEG of 720 x 478", kind: "faces", fused: "component, fused (face)" },
  { reference: "file-type:1.0.0", what: "bytes", kind: "file-type", fused: "component, fused (file-type)" },
];

/** All contenders for a model; `sample` is the golden example that they are asked for. */
export function contenders(model, sample) {
  const file = modelFile(model);
  const ours = { request: predictRequest(model.reference), read: readers.outputs[model.kind] };
  return {
    "Twinfer, full, warm": {
      how: `twinfer serve, the full component, an instance for each of ${cores} processors, kept`,
      start: (ready) => serve({ component: plan.component, name: `servers-full-${model.kind}`, ready }),
      ...ours,
    },
    "Twinfer, fused, fresh": { ...fused(model), ...ours },
    [`MLServer, ${cores} workers`]: mlserver(model, sample, file, cores),
    "MLServer, in its own process": mlserver(model, sample, file, 0),
    [`MLflow, ${cores} workers`]: mlflow(model, sample, file),
    [`FastAPI, ${cores} workers`]: fastapi(model, sample, file),
  };
}

/** The file that the package was packed from, with what lies beside it: every rival gets this one. */
function modelFile({ reference }) {
  const name = reference.split(":")[0];
  const folder = join(work, "servers", name);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "model.onnx");
  writeFileSync(file, sampleModel(plan.registry, reference).onnx);
  if (name === "file-type") for (const beside of ["config.min.json", "content_types_kb.min.json", "rules.py"]) cpSync(here(`../../models/${name}/${beside}`), join(folder, beside));
  return file;
}

function fused({ fused: name, kind }) {
  const how = "twinfer serve, a component fused with the model, a fresh instance for each request";
  const { path, missing } = derived(name);
  const skip = missing ?? noFreshInstances;
  if (skip) return { how, skip };
  return { how, start: (ready) => serve({ component: path, instances: "fresh", name: `servers-fresh-${kind}`, ready }) };
}

function fastapi({ reference, kind }, sample, file) {
  const columns = kind === "table" ? openPackage(plan.registry, reference).config.pipeline.input.columns.map(({ name }) => name) : [];
  const { type, body } = wireOf(sample);
  return {
    how: `uvicorn with ${cores} workers, uvloop and httptools, no access log; async functions; onnxruntime with one thread in each worker`,
    request: post(kind === "table" ? "/predict" : "/raw", type, body),
    read: readers.outputs[kind],
    start: (ready) =>
      start({
        program: plan.python,
        args: (port) => ["-m", "uvicorn", "app:app", "--app-dir", rivals, "--port", String(port), "--workers", String(cores),
          "--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"],
        ready,
        logs,
        seconds,
        name: `servers-fastapi-${kind}`,
        env: { MODEL: file, KIND: kind, COLUMNS: JSON.stringify(columns) },
      }),
  };
}

/** `workers`: inference processes, as many as cores as its documentation says; 0: none beside the server's own. */
function mlserver({ reference, kind }, sample, file, workers) {
  const how = `MLServer 1.7.1 with a runtime for onnxruntime, one thread each, ${workers ? `parallel_workers = ${workers} beside the server` : "parallel_workers = 0: no hand-over"}; debug off, uvloop and httptools`;
  if (!plan.rivals?.mlserver?.path) return { how, skip: plan.rivals?.mlserver?.missing ?? "the plan has no Python for it" };
  const name = reference.split(":")[0];
  const folder = join(work, "servers", `mlserver-${name}-${workers}`);
  mkdirSync(folder, { recursive: true });
  const model = { name, implementation: "mlserver_runtime.OnnxRuntime", parameters: { version: "1.0.0", extra: { kind, model: file } } };
  writeFileSync(join(folder, "model-settings.json"), JSON.stringify(model));
  writeFileSync(join(folder, "settings.json"), JSON.stringify({ debug: false, host: "127.0.0.1", parallel_workers: workers, metrics_dir: join(folder, "metrics") }));
  const python = plan.rivals.mlserver.path;
  return {
    how,
    request: json(`/v2/models/${name}/infer`, { inputs: [tensorOf(kind, sample)] }),
    read: readers.tensors[kind],
    start: async (ready) => {
      const [grpc, metrics] = [await freePort(), await freePort()];
      return start({
        program: join(dirname(python), "mlserver"),
        args: () => ["start", folder],
        ready,
        logs,
        seconds,
        name: `servers-mlserver-${workers}-${kind}`,
        env: (port) => ({ PYTHONPATH: rivals, MLSERVER_HTTP_PORT: String(port), MLSERVER_GRPC_PORT: String(grpc), MLSERVER_METRICS_PORT: String(metrics) }),
      });
    },
  };
}

function tensorOf(kind, sample) {
  if (kind === "table") {
    const [{ name, dtype, shape, data }] = sample.tensors;
    return { name, datatype: dtype, shape, data: floats(data.base64) };
  }
  return { name: "content", datatype: "BYTES", shape: [1], parameters: { content_type: "base64" }, data: [wireOf(sample).body.toString("base64")] };
}

/** Single precision as numbers of JSON, which has none for what is not finite. */
function floats(base64) {
  const bytes = Buffer.from(base64, "base64");
  return Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(at * 4));
}

function mlflow({ reference, kind }, sample, file) {
  const how = `mlflow models serve (uvicorn), ${cores} workers, --env-manager local, no access log; the flavour onnx for a table, a python_function for what is no tensor, without a signature; onnxruntime with one thread in each worker`;
  if (!plan.rivals?.mlflow?.path) return { how, skip: plan.rivals?.mlflow?.missing ?? "the plan has no Python for it" };
  const python = plan.rivals.mlflow.path;
  const folder = join(work, "servers", `mlflow-${reference.split(":")[0]}`);
  const saved = spawnSync(python, [join(rivals, "mlflow_model.py"), "--kind", kind, "--model", file, "--out", folder], { encoding: "utf8" });
  if (saved.status !== 0) return { how, skip: `its model cannot be saved: ${saved.stderr?.trim().split("\n").at(-1)}` };
  const body = kind === "table" ? { inputs: [tensorOf(kind, sample).data] } : { dataframe_split: { columns: ["data"], data: [tensorOf(kind, sample).data] } };
  return {
    how,
    request: json("/invocations", body),
    read: readers.predictions[kind],
    start: (ready) =>
      start({
        program: python,
        args: (port) => ["-m", "mlflow", "models", "serve", "-m", folder, "--env-manager", "local", "-h", "127.0.0.1", "-p", String(port), "-w", String(cores)],
        ready,
        logs,
        seconds,
        name: `servers-mlflow-${kind}`,
        // It starts `uvicorn` from the PATH, which takes its settings from the environment.
        env: { PATH: `${dirname(python)}:${process.env.PATH}`, UVICORN_ACCESS_LOG: "false", MLFLOW_DISABLE_TELEMETRY: "true" },
      }),
  };
}
