// The samples: for each model one golden example that runs the model, as its input and as the
// tensors that the native pipeline makes of it.
import { readFileSync } from "node:fs";

/** @param {string} file The list of cases that `twinfer-conformance cases` writes. */
export function samplesOf(file) {
  const { cases } = JSON.parse(readFileSync(file, "utf8"));
  const samples = new Map();
  for (const run of cases.filter((c) => c.kind === "run" && c.id.endsWith("/tensors"))) {
    const predict = cases.find((c) => c.kind === "predict" && `${c.id}/tensors` === run.id);
    if (!predict || samples.has(run.reference)) continue;
    const { reference, tensors } = run;
    // Models of texts are not measured: the rivals' tensors here are numbers.
    if (tensors.some(({ dtype }) => dtype === "BYTES")) continue;
    samples.set(reference, { reference, example: predict.id, input: predict.input, parameters: predict.parameters ?? {}, tensors });
  }
  if (samples.size === 0) throw new Error(`${file} has no example with an input and tensors`);
  return [...samples.values()].sort((a, b) => a.reference.localeCompare(b.reference));
}

/** The outputs that its reference gave for a sample. */
export function expectedOf(file, { example }) {
  const { cases } = JSON.parse(readFileSync(file, "utf8"));
  return cases.find(({ id, kind }) => id === example && kind === "predict").expect.answer.golden.outputs;
}

/** What goes over the wire to `predict`. */
export function wireOf({ input }) {
  if (input.picture) return { type: input.picture.media_type ?? "image/jpeg", body: Buffer.from(input.picture.base64, "base64") };
  if (input.audio) return { type: "audio/wav", body: Buffer.from(input.audio.base64, "base64") };
  if (input.bytes) return { type: "application/octet-stream", body: Buffer.from(input.bytes.base64, "base64") };
  return { type: "application/json", body: Buffer.from(JSON.stringify(input.record)) };
}
