// Reads packages out of a registry folder (an OCI image layout).
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withoutWeightInputs } from "./onnx.mjs";

const models = fileURLToPath(new URL("../../models/", import.meta.url));

/** The layers of a package: `layer(title)` gives the bytes of one. */
export function openPackage(registry, reference) {
  const blob = (digest) => readFileSync(join(registry, "blobs/sha256", digest.replace("sha256:", "")));
  const index = JSON.parse(readFileSync(join(registry, "index.json"), "utf8"));
  const entry = index.manifests.find((m) => m.annotations?.["org.opencontainers.image.ref.name"] === reference);
  if (!entry) throw new Error(`${registry} has no ${reference}`);
  const { layers } = JSON.parse(blob(entry.digest));
  const layer = (title) => blob(layers.find((l) => l.annotations["org.opencontainers.image.title"] === title).digest);
  return { layer, config: JSON.parse(layer("twinfer.json")), bytes: layers.reduce((sum, { size }) => sum + size, 0) };
}

/**
 * The model file that a sample package was packed from, in one piece without the package's shards,
 * as onnxruntime gets it: with the weights taken out of its inputs.
 */
export function sampleModel(registry, reference) {
  const { layer, config } = openPackage(registry, reference);
  const { inputs } = JSON.parse(layer("provenance.json"));
  const { name, digest } = inputs.find((input) => input.name.endsWith(".onnx"));
  const model = readFileSync(join(models, reference.split(":")[0], name));
  if (`sha256:${createHash("sha256").update(model).digest("hex")}` !== digest) {
    throw new Error(`models/ has another ${name} than ${reference} was packed from: pack it again`);
  }
  const outputs = config.signature.outputs.filter((output) => (output.kind ?? "tensor") === "tensor").map((output) => output.name);
  return { onnx: withoutWeightInputs(new Uint8Array(model)), outputs };
}
