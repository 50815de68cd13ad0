/** What a device can do, and which failures are the device's. */

import { EngineStopped, EngineUnavailable, TwinferError } from "../errors.js";
import type { ServerReason } from "../places.js";

/** A module with one function, which has an instruction of SIMD in it: it is valid where engines are. */
// prettier-ignore
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

/** Why no engine runs here, if none does: known before one is fetched. */
export function unsupported(): TwinferError | undefined {
  if (typeof globalThis.WebAssembly !== "object") return new TwinferError("unsupported_device", "there is no WebAssembly here: it is switched off, or the browser is too old");
  if (WebAssembly.validate(SIMD)) return undefined;
  return new TwinferError("unsupported_device", "the WebAssembly here has no SIMD, which the engine is compiled for: the browser is too old");
}

/** What the device lacks, where a failure says that; nothing for failures that another device would have, too. */
export function lackOf(error: unknown): ServerReason | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof EngineUnavailable) return "engine_missing";
    if (!(at instanceof TwinferError)) return undefined;
    if (at.code === "out_of_memory" || at.code === "unsupported_device") return at.code;
    // The worker did not start, or what a small engine lacks could not be fetched.
    if (at.code === "engine_function_missing" || (at instanceof EngineStopped && at.code === "network")) return "engine_missing";
  }
  return undefined;
}
