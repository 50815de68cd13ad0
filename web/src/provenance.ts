/** Who computed the outputs of `run`: they are the caller's own object, by name, with no room for it. */

import type { Provenance } from "./places.js";

const known = new WeakMap<object, Provenance>();

/** Notes it, and gives the outputs on. */
export function computed<T extends object>(outputs: T, provenance: Provenance): T {
  known.set(outputs, provenance);
  return outputs;
}

/**
 * Where the outputs of `model.run()` were computed, why there, and by which package. The answer of `predict` has the
 * same in `prediction`.
 */
export function provenanceOf(outputs: object): Provenance | undefined {
  return known.get(outputs);
}
