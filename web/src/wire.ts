/** What crosses between the caller and the thread that computes. */

import type { WireError } from "./errors.js";
import type { ErrorCode } from "./generated/errors.js";
import type { Descriptor, ModelConfig, Signature } from "./generated/types.js";
import type { Lookup, ModelEngine, Pixels, Place, Policy, TrustDecision } from "./types.js";

/** A tensor: little-endian bytes, or strings. */
export interface WireTensor {
  name: string;
  dtype: string;
  shape: Uint32Array;
  data: Uint8Array | readonly string[];
}

/** Maps: a list of objects as JSON, with the types of values and keys. */
export interface WireMaps {
  name: string;
  dtype: string;
  keys: string;
  maps: string;
}

/** A value of any kind by name: a tensor, maps, a sequence, or an optional. Inside of others the names do not count. */
export type WireValue = WireTensor | WireMaps | { name: string; sequence: WireValue[] } | { name: string; optional: WireValue | null };

/** An input of a pipeline. */
export type WireInput =
  | { kind: "picture"; bytes: Uint8Array }
  | { kind: "pixels"; pixels: Pixels }
  | { kind: "bitmap"; bitmap: ImageBitmap }
  | { kind: "bytes"; bytes: Uint8Array }
  | { kind: "audio"; bytes: Uint8Array }
  | { kind: "samples"; sampleRate: number; channels: number; samples: Float32Array }
  | { kind: "text"; texts: readonly string[] }
  | { kind: "record"; record: object }
  | { kind: "tensors"; tensors: WireValue[] };

/** What an engine is set up with. */
export interface Setup {
  /** The registries, the first and its mirrors. */
  registries: string[];
  reference: string;
  policy: Policy;
  /** A trust policy decides: then also a digest needs the index. */
  trusted: boolean;
  /** Nobody else asks for the index. */
  ask: boolean;
  /** Address of the full engine, for when another one lacks something. */
  full: string;
  /** Its digest, where it is known. */
  fullDigest?: string;
  keep: boolean | Place;
  quota?: number;
  /** What cannot be kept is an error. */
  mustKeep: boolean;
}

/** What an engine is started with. */
export interface Start {
  module: WebAssembly.Module;
  engine: ModelEngine;
  /** What the registry answered while the engine was chosen. */
  index?: IndexAnswer;
}

/** What a registry said of its index. */
export interface IndexAnswer {
  /** The validator that it was asked with. */
  asked?: string;
  /** Absent where it is what that validator came with. */
  index?: Uint8Array;
  validator?: string;
  /** Those that say how long it holds. */
  headers: Record<string, string>;
  error?: WireError;
}

/** A package that a fused engine has in it. */
export interface Inside {
  digest: string;
  /** How the reference was looked up. */
  source: Lookup;
  /** The engine is kept in the storage. */
  kept: boolean;
  /** What the trust policy says of the engine, and so of the package in it. */
  decision?: TrustDecision;
}

/** What a host says without being asked: another engine will take over, or has. */
export interface Notice {
  engine: ModelEngine;
  done: boolean;
}

/** What a load wants. */
export interface Wish extends Partial<Omit<WireTrust, "policy">> {
  policy: Policy;
  /** The trust policy as JSON text. */
  trust?: string;
  /** It is not yet what the tag is used with. */
  candidate?: boolean;
}

/** What happens in a load. */
export type LoadEvent =
  | { event: "progress"; layer: string; loaded: number; total: number; cached: boolean }
  | { event: "waiting"; layer: string }
  | { event: "retry"; code: ErrorCode; message: string; wait: number }
  | { event: "damaged"; layer: string; digest: string; code: ErrorCode; message: string }
  | { event: "not-kept"; code: ErrorCode; message: string }
  | { event: "held-back"; refused: string; digest: string }
  | { event: "unreachable"; code: ErrorCode; message: string }
  /** All is there: the model is read and optimised. */
  | { event: "load" };

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
  source: Lookup;
  decision?: WireDecision;
  /** Where it is kept; absent where it is not. */
  kept?: string;
}

/** What a bare ONNX file says of itself. */
export interface OnnxInfo {
  signature: Signature;
  /** As `domain:version`. */
  opsets: string[];
}

/** A prediction as JSON text, and the milliseconds in the engine. */
export interface WirePrediction {
  text: string;
  engine: number;
}

/** Methods of the host that are called by name. */
export type Method =
  | "begin"
  | "start"
  | "load"
  | "predict"
  | "preprocess"
  | "run"
  | "openOnnx"
  | "runOnnx"
  | "goldenJson"
  | "selfTest"
  | "cancel"
  | "revalidate"
  | "prefetch"
  | "activate"
  | "refuse"
  | "inspect";

export interface Request {
  id: number;
  method: Method;
  args: unknown;
}

export type Reply =
  | { id: number; result: unknown }
  | { id: number; error: WireError }
  | { id: number; event: unknown }
  | { notice: Notice };

/** Buffers in a result that are handed over rather than copied. */
export function buffersOf(result: unknown): ArrayBuffer[] {
  if (!Array.isArray(result)) return [];
  return (result as MaybeTensor[]).flatMap(buffersIn);
}

/** Anything of which a tensor may be a part. */
interface MaybeTensor {
  data?: unknown;
  sequence?: MaybeTensor[];
  optional?: MaybeTensor | null;
}

function buffersIn({ data, sequence, optional }: MaybeTensor): ArrayBuffer[] {
  if (sequence) return sequence.flatMap(buffersIn);
  if (optional) return buffersIn(optional);
  return data instanceof Uint8Array && data.buffer instanceof ArrayBuffer ? [data.buffer] : [];
}
