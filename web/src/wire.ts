/** What crosses between the caller and the thread that computes. */

import type { WireError } from "./errors.js";
import type { Descriptor, ModelConfig, Signature } from "./generated/types.js";
import type { Need } from "./glue.js";
import type { Pixels, TrustDecision } from "./types.js";

/** A tensor: little-endian bytes, or strings. */
export interface WireTensor {
  name: string;
  dtype: string;
  shape: Uint32Array;
  data: Uint8Array | readonly string[];
}

/** An input of a pipeline. */
export type WireInput =
  | { kind: "picture"; bytes: Uint8Array }
  | { kind: "pixels"; pixels: Pixels }
  | { kind: "bitmap"; bitmap: ImageBitmap }
  | { kind: "bytes"; bytes: Uint8Array }
  | { kind: "record"; record: object }
  | { kind: "tensors"; tensors: WireTensor[] };

/** What a package still needs, and how many bytes it is in all, when that is known. */
export interface Needs {
  needs: Need[];
  total: number | undefined;
}

/** Content for the engine. */
export interface Supplied {
  digest: string;
  bytes: Uint8Array<ArrayBuffer>;
  /** It came from the cache, and need not be kept again. */
  cached: boolean;
}

/** A trust policy as JSON text, and what is known of time and past. */
export interface WireTrust {
  policy: string;
  /** Seconds since 1970. */
  now: number;
  lastCounter?: number;
}

/** What the policy decided, and the counter to remember. */
export interface WireDecision extends TrustDecision {
  counter?: number;
}

export interface ModelInfo {
  name: string;
  version: string;
  digest: string;
  signature: Signature;
  config: ModelConfig;
  layers: Descriptor[];
  decision?: WireDecision;
}

/** A prediction as JSON text, and the milliseconds in the engine. */
export interface WirePrediction {
  text: string;
  engine: number;
}

/** Methods of the host that are called by name. */
export type Method =
  | "start"
  | "open"
  | "supply"
  | "finish"
  | "predict"
  | "preprocess"
  | "run"
  | "goldenNeed"
  | "supplyGolden"
  | "goldenJson"
  | "selfTest"
  | "cancel";

export interface Request {
  id: number;
  method: Method;
  args: unknown;
}

export type Reply =
  | { id: number; result: unknown }
  | { id: number; error: WireError }
  | { id: number; progress: [done: number, total: number] };

/** Buffers in a result that are handed over rather than copied. */
export function buffersOf(result: unknown): ArrayBuffer[] {
  if (!Array.isArray(result)) return [];
  const tensors = result as { data?: unknown }[];
  return tensors.flatMap(({ data }) => (data instanceof Uint8Array && data.buffer instanceof ArrayBuffer ? [data.buffer] : []));
}
