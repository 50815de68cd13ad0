// Models that are none of the samples: those that others made, and tree ensembles, as `models/outside.py`
// and `models/trees.py` left them.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { withoutWeightInputs } from "./onnx.mjs";
import { plan } from "./plan.mjs";

/** Samples like those of `pages.mjs`, the registry that has them, and what is missing with the reason. */
export const outsideSamples = () => left(plan.outside, "models of others", "outside.py");

/** The same of the tree ensembles, each with its `ensemble` and `batch`. */
export const treeSamples = () => left(plan.trees, "tree ensembles", "trees.py");

function left(folder, what, script) {
  const registry = join(folder, "registry");
  const list = join(folder, "samples.json");
  if (!existsSync(list)) {
    return { samples: [], registry, missing: [{ reference: what, why: `${list} is missing: bench/models/${script} makes it` }] };
  }
  const { samples, missing } = JSON.parse(readFileSync(list, "utf8"));
  const loaded = samples.map(({ onnx, ...sample }) => ({ ...sample, file: onnx, onnx: withoutWeightInputs(new Uint8Array(readFileSync(onnx))) }));
  return { samples: loaded, registry, missing };
}
