// What the pages of the measurements are served with.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sampleModel } from "./layout.mjs";
import { samplesOf } from "./samples.mjs";
import { plan } from "./plan.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The sample models, each with its file for onnxruntime (`onnx`) and the outputs to ask it for. */
export function samples() {
  return samplesOf(plan.cases).map((sample) => ({ ...sample, ...sampleModel(plan.registry, sample.reference) }));
}

/** Routes of a page that measures these samples. */
export function routes(all) {
  return {
    "/": here("../page/"),
    "/statistics.mjs": () => readFileSync(here("statistics.mjs")),
    "/twinfer/": plan.web,
    "/ort/": here("../node_modules/onnxruntime-web/dist/"),
    "/registry/": plan.registry,
    ...Object.fromEntries(all.map(({ onnx, ...sample }) => [`/samples/${sample.reference}.json`, () => JSON.stringify(sample)])),
    ...Object.fromEntries(all.map(({ reference, onnx }) => [`/onnx/${reference}.onnx`, () => onnx])),
  };
}

/** What the address of a page says of a model: all but the elements of its inputs. */
export function described({ reference, outputs, tensors }) {
  return JSON.stringify({ reference, outputs, tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })) });
}

/** The engine file of the npm package. */
export const engineFile = () => join(plan.web, "twinfer_web_bg.wasm");
