// The models that others made, as `models/outside.py` left them.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { withoutWeightInputs } from "./onnx.mjs";
import { plan } from "./plan.mjs";

/** Samples like those of `pages.mjs`, the registry that has them, and what is missing with the reason. */
export function outsideSamples() {
  const registry = join(plan.outside, "registry");
  const list = join(plan.outside, "samples.json");
  if (!existsSync(list)) {
    return { samples: [], registry, missing: [{ reference: "models of others", why: `${list} is missing: bench/models/outside.py makes it` }] };
  }
  const { samples, missing } = JSON.parse(readFileSync(list, "utf8"));
  const loaded = samples.map(({ onnx, ...sample }) => ({ ...sample, onnx: withoutWeightInputs(new Uint8Array(readFileSync(onnx))) }));
  return { samples: loaded, registry, missing };
}
